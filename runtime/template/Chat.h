// A conversation as the text that the model was trained on: the plan's chat template with the variables that
// it expects.
#pragma once
#include "absl/status/statusor.h"
#include "runtime/Plan.h"
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llmc::runtime {

/// A message of a conversation: who speaks ("system", "user", "assistant", ...) and what.
using ChatMessage = std::pair<std::string_view, std::string_view>;

/// `isAsking`: the text ends where the assistant's turn begins. `variables` is a JSON object of more
/// variables for the template ("tools", "enable_thinking", ...), or empty. `artifact` names the model in
/// errors. NotFound: there is no template; Unimplemented: it is not supported; InvalidArgument: it refuses
/// the conversation.
absl::StatusOr<std::string> renderChat(const Plan &plan, const std::string &artifact,
                                       const std::vector<ChatMessage> &messages, bool isAsking,
                                       std::string_view variables);

} // namespace llmc::runtime
