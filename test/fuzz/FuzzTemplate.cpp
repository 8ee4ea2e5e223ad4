// libFuzzer target of chat templates: whatever the text is, parsing and rendering end soon, with a text that
// is UTF-8 or an error. test/golden/chat has templates to start from.
#include "runtime/template/Template.h"
#include "runtime/tokenizer/Utf8.h"
#include <cstdlib>

using namespace llmc::runtime;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const jinja::Value variables = *jinja::fromJson(
      R"({"messages": [{"role": "system", "content": " s "}, {"role": "user", "content": "a<think>b\n\u00e9"},
          {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"x": [1, 2.5]}}}]},
          {"role": "tool", "content": "r"}], "tools": [{"type": "function", "items": {}}], "add_generation_prompt": true,
          "bos_token": "<s>", "n": 3, "s": "a b  c", "d": {"k": 1}})",
      "variables");
  auto parsed = Template::parse({reinterpret_cast<const char *>(data), size}, "t");
  if (!parsed.ok())
    return 0;
  TemplateOptions options;
  options.steps = 100'000;
  options.bytes = 1 << 20;
  auto text = (*parsed)->render(variables, options);
  if (text.ok() && validUtf8Bytes(*text) != text->size())
    std::abort();
  return 0;
}
