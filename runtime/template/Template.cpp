// See Template.h.
#include "runtime/template/Template.h"
#include "runtime/template/Interpreter.h"

namespace llmc::runtime {

struct Template::Tree {
  jinja::Source source;
  jinja::Body body;
};

Template::Template(std::unique_ptr<Tree> tree) : tree_(std::move(tree)) {}
Template::~Template() = default;

absl::StatusOr<std::unique_ptr<Template>> Template::parse(std::string_view text, const std::string &what) {
  auto tree = std::make_unique<Tree>(Tree{jinja::Source(text, what), {}});
  auto body = jinja::parse(tree->source);
  if (!body.ok())
    return body.status();
  tree->body = std::move(*body);
  return std::unique_ptr<Template>(new Template(std::move(tree)));
}

absl::StatusOr<std::string> Template::render(const jinja::Value &variables,
                                             const TemplateOptions &options) const {
  if (!variables.is(jinja::Kind::dict))
    return absl::InvalidArgumentError("the variables of a template must be an object");
  return jinja::Interpreter(tree_->source, options).render(tree_->body, variables.dict());
}

} // namespace llmc::runtime
