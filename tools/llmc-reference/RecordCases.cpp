// See RecordCases.h.
#include "tools/llmc-reference/RecordCases.h"
#include "tools/llmc-reference/Compiled.h"
#include <memory>
#include <set>

using namespace mlir;
namespace llmc::reference {

static runtime::ElementType storageOf(Element e) {
  using runtime::ElementType;
  switch (e) {
  case Element::F64:
    return ElementType::f64;
  case Element::F32:
    return ElementType::f32;
  case Element::BF16:
    return ElementType::bf16;
  case Element::F16:
    return ElementType::f16;
  case Element::I64:
  case Element::Index:
    return ElementType::i64;
  case Element::I32:
    return ElementType::i32;
  case Element::I16:
    return ElementType::i16;
  case Element::I8:
    return ElementType::i8;
  case Element::I1:
    return ElementType::i1;
  }
  llvm_unreachable("an element of another kind");
}

static std::vector<uint8_t> bytesOf(const Tensor &t) {
  Buffer buffer(t);
  return std::vector<uint8_t>(buffer.data(), buffer.data() + buffer.bytes());
}

/// What a kernel should leave: reals as float32.
static std::vector<uint8_t> wantedOf(const Tensor &t) {
  if (!isReal(t.element))
    return bytesOf(t);
  Tensor wide = t;
  wide.element = Element::F32;
  return bytesOf(wide);
}

namespace {
struct Recording {
  std::set<std::string> seen;
  int current = -1; ///< the case that is being evaluated
};
} // namespace

void recordCases(Options &options, const std::string &label, std::vector<KernelCase> &cases) {
  auto recording = std::make_shared<Recording>();
  options.beforeLaunch = [recording, label, &cases](func::FuncOp kernel, std::vector<Value> &arguments) {
    for (Value &v : arguments)
      if (v.isTensor() && isReal(v.tensor().element))
        for (Cell &c : v.writable().cells)
          c.real = roundTo(v.tensor().element, c.real);
    recording->current = -1;
    // Without rows nothing is launched.
    bool isEmpty = llvm::any_of(arguments, [](const Value &v) { return v.isTensor() && v.tensor().size() == 0; });
    if (isEmpty || !recording->seen.insert(kernel.getName().str()).second)
      return;
    recording->current = static_cast<int>(cases.size());
    cases.push_back({kernel.getName().str(), label, {}});
    for (auto [i, v] : llvm::enumerate(arguments)) {
      const Tensor &t = v.tensor();
      cases.back().buffers.push_back({storageOf(t.element), bool(kernel.getArgAttr(i, "llm.written")),
                                      bool(kernel.getArgAttr(i, "llm.other_rows")),
                                      std::vector<int64_t>(t.shape.begin(), t.shape.end()), bytesOf(t), {}});
    }
  };
  options.afterLaunch = [recording, &cases](func::FuncOp, ArrayRef<Value> results) {
    if (recording->current < 0)
      return;
    size_t next = 0;
    for (CaseBuffer &buffer : cases[recording->current].buffers)
      if (buffer.isWritten)
        buffer.after = wantedOf(results[next++].tensor());
  };
}

} // namespace llmc::reference
