// Chat templates: the part of Jinja that published chat templates use, with the settings of the transformers
// library.
#pragma once
#include "absl/status/statusor.h"
#include "runtime/template/Value.h"
#include <ctime>
#include <memory>
#include <string>
#include <string_view>

namespace llmc::runtime {

struct TemplateOptions {
  int64_t steps = 5'000'000;  ///< expressions, statements and items visited
  int64_t bytes = 64ll << 20; ///< of all strings and lists made on the way
  std::tm now = {};           ///< for strftime_now
};

/// Immutable after parsing, so usable from several threads.
class Template {
public:
  /// `what` names the template in errors. InvalidArgument: not Jinja; Unimplemented: a construct that is not
  /// supported. Both name line, column and construct.
  static absl::StatusOr<std::unique_ptr<Template>> parse(std::string_view text, const std::string &what);
  ~Template();

  /// `variables` is a dict: messages, add_generation_prompt, ...
  absl::StatusOr<std::string> render(const jinja::Value &variables, const TemplateOptions &options) const;

private:
  struct Tree;
  explicit Template(std::unique_ptr<Tree> tree);
  std::unique_ptr<Tree> tree_;
};

} // namespace llmc::runtime
