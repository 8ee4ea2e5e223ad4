// See Chat.h. The variables are those of transformers' apply_chat_template.
#include "runtime/template/Chat.h"
#include "runtime/template/Template.h"
#include "runtime/tokenizer/Utf8.h"
#include <algorithm>

namespace llmc::runtime {

using jinja::Value;
using Entries = std::vector<std::pair<Value, Value>>;

static void set(Entries &entries, const Value &key, Value value) {
  auto same =
      std::find_if(entries.begin(), entries.end(), [&](const auto &e) { return isEqual(e.first, key); });
  if (same != entries.end())
    same->second = std::move(value);
  else
    entries.emplace_back(key, std::move(value));
}

/// Adds the members of a JSON object.
static absl::Status addMembers(std::string_view json, const std::string &what, Entries &entries) {
  auto object = jinja::fromJson(json, what);
  if (!object.ok())
    return object.status();
  if (!object->is(jinja::Kind::dict))
    return absl::InvalidArgumentError(what + ": expects a JSON object");
  for (const auto &entry : object->dict().entries)
    set(entries, entry.first, entry.second);
  return absl::OkStatus();
}

absl::StatusOr<std::string> renderChat(const Plan &plan, const std::string &artifact,
                                       const std::vector<ChatMessage> &messages, bool isAsking,
                                       std::string_view variables) {
  if (plan.tokenizer.chatTemplate.empty())
    return absl::NotFoundError(artifact +
                               ": has no chat template (the checkpoint's tokenizer_config.json and "
                               "chat_template.jinja hold none); give the whole text with -p instead");
  auto parsed = Template::parse(plan.tokenizer.chatTemplate, artifact + ": chat template");
  if (!parsed.ok())
    return parsed.status();
  std::vector<Value> list;
  for (const ChatMessage &message : messages) {
    for (std::string_view part : {message.first, message.second})
      if (size_t valid = validUtf8Bytes(part); valid != part.size())
        return absl::InvalidArgumentError("a message is not UTF-8 at byte " + std::to_string(valid));
    list.push_back(Value::dict({{Value::text("role"), Value::text(std::string(message.first))},
                                {Value::text("content"), Value::text(std::string(message.second))}}));
  }
  Entries entries = {{Value::text("messages"), Value::list(std::move(list))},
                     {Value::text("tools"), Value::none()},
                     {Value::text("documents"), Value::none()},
                     {Value::text("add_generation_prompt"), Value::boolean(isAsking)}};
  for (const KeyValue &entry : plan.metadata.entries)
    if (entry.key == kSpecialTokensKey)
      if (absl::Status s = addMembers(entry.value, artifact + ": " + kSpecialTokensKey, entries); !s.ok())
        return s;
  if (!variables.empty())
    if (absl::Status s = addMembers(variables, "template variables", entries); !s.ok())
      return s;
  TemplateOptions options;
  std::time_t now = std::time(nullptr);
  localtime_r(&now, &options.now);
  return (*parsed)->render(Value::dict(std::move(entries)), options);
}

} // namespace llmc::runtime
