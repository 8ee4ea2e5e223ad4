// Checks of compiled functions. See CheckCompiled.h.
#include "tools/llmc-reference/CheckCompiled.h"
#include "dialect/llm/LlmDialect.h"
#include "tools/llmc-reference/Compare.h"
#include <cstring>

using namespace mlir;
namespace llmc::reference {

static std::vector<Passed> passedOf(ArrayRef<Value> values) {
  std::vector<Passed> all;
  for (const Value &v : values)
    all.emplace_back(v);
  return all;
}

/// The first byte that differs, or -1.
static int64_t firstDifference(const uint8_t *a, const uint8_t *b, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i)
    if (a[i] != b[i])
      return (int64_t)i;
  return -1;
}

LogicalResult checkCall(Compiled &compiled, const CheckedCall &call, ArrayRef<Value> wanted,
                        double tolerance) {
  func::FuncOp f = call.function;
  std::vector<Passed> rising = passedOf(call.arguments), falling = passedOf(call.arguments);
  auto results = compiled.run(f.getName(), rising);
  auto again = compiled.run(f.getName(), falling, Compiled::Order::Falling);
  if (failed(results) || failed(again))
    return f.emitError() << call.label << "cannot be run";
  std::vector<Value> got;
  for (const Passed &p : *results)
    got.push_back(p.first->tensor());
  bool isRight = succeeded(compare(wanted, got, tolerance, f.getLoc(), call.label));
  auto same = [&](ArrayRef<Passed> a, ArrayRef<Passed> b, StringRef what) {
    for (size_t i = 0; i < a.size(); ++i) {
      int64_t at =
          a[i].first ? firstDifference(a[i].first->data(), b[i].first->data(), a[i].first->bytes()) : -1;
      if (at < 0)
        continue;
      f.emitError() << call.label << what << " " << i << " element "
                    << at / (int64_t)a[i].first->elementBytes() << " depends on the order of workgroups";
      isRight = false;
    }
  };
  same(*results, *again, "result");
  same(rising, falling, "state in argument");
  return success(isRight);
}

namespace {

/// Part of a call: rows `first .. first + length` of sequence `s`, with `past` tokens before them.
struct Part {
  int64_t s, first, length, past;
};

struct RowsAlone {
  Compiled &compiled;
  const CheckedCall &call;
  func::FuncOp f = call.function;
  std::vector<Passed> whole = {},
                      results = {}; // the call with all sequences: its arguments afterwards, its results

  InFlightDiagnostic error() { return f.emitError() << call.label; }
  int64_t tokens() const { return positionsOf(call.table).dim(0); }
  int64_t sequences() const { return call.table.dim(0); }
  std::string name(const Part &p) const {
    return "rows " + std::to_string(p.first) + " .. " + std::to_string(p.first + p.length) + " of sequence " +
           std::to_string(p.s);
  }

  static std::shared_ptr<Buffer> slice(const Buffer &b, int64_t first, int64_t count) {
    SmallVector<int64_t, 4> shape(b.shape);
    size_t rowBytes = b.bytes() / shape[0];
    shape[0] = count;
    auto part = std::make_shared<Buffer>(b.element, shape);
    std::memcpy(part->data(), b.data() + first * rowBytes, count * rowBytes);
    return part;
  }

  /// The arguments of a call with this part only; what is no row is taken from `states`.
  FailureOr<std::vector<Passed>> argumentsOf(const Part &p, ArrayRef<Passed> states) {
    std::vector<Passed> arguments;
    for (unsigned i = 0; i < f.getNumArguments(); ++i) {
      const Value &v = call.arguments[i];
      std::string counts = firstDimension(f, i);
      if (v.isSequences()) {
        Tensor table(Element::I32, {1, 4});
        table.integer(0) = call.table.intAt(p.s, 0);
        table.integer(2) = p.length;
        table.integer(3) = p.past;
        arguments.emplace_back(Value::sequences(positionsOf(table), table));
      } else if (counts == "T") {
        arguments.push_back(slice(*states[i].first, p.first, p.length));
      } else if (counts == "S") {
        arguments.push_back(slice(*states[i].first, p.s, 1));
      } else if (counts.empty() || counts == "SLOTS") {
        arguments.push_back(states[i].first->copy());
      } else {
        return error() << "--rows-alone knows no part of argument " << i << ", which has " << counts
                       << " rows";
      }
    }
    return arguments;
  }

  bool isState(const Passed &result, ArrayRef<Passed> arguments) const {
    return llvm::any_of(arguments, [&](const Passed &a) { return a.first == result.first; });
  }

  /// Rows of the results; `isLast`: also those that a sequence has one of.
  LogicalResult checkResults(const Part &p, ArrayRef<Passed> arguments, ArrayRef<Passed> got, bool isLast,
                             StringRef how) {
    for (size_t i = 0; i < got.size(); ++i) {
      auto type = cast<RankedTensorType>(f.getResultTypes()[i]);
      if (isState(got[i], arguments) || !type.isDynamicDim(0))
        continue;
      const Buffer &all = *results[i].first, &part = *got[i].first;
      bool isPerSequence = all.shape[0] == sequences() && part.shape[0] == 1 && sequences() != tokens();
      if (!isPerSequence && (all.shape[0] != tokens() || part.shape[0] != p.length))
        return error() << "--rows-alone knows no part of result " << i;
      if (isPerSequence && !isLast)
        continue;
      size_t rowBytes = all.bytes() / all.shape[0];
      int64_t at =
          firstDifference(all.data() + (isPerSequence ? p.s : p.first) * rowBytes, part.data(), part.bytes());
      if (at >= 0)
        return error() << "result " << i << ", row " << at / (int64_t)rowBytes << " of " << name(p) << " "
                       << how << " differs from that of the whole call in column "
                       << at % (int64_t)rowBytes / (int64_t)part.elementBytes();
    }
    return success();
  }

  /// The sequence's slot is what the whole call left there, the others are untouched.
  LogicalResult checkStates(int64_t s, ArrayRef<Passed> after, StringRef how) {
    for (unsigned i = 0; i < f.getNumArguments(); ++i) {
      if (firstDimension(f, i) != "SLOTS")
        continue;
      const Buffer &got = *after[i].first;
      Buffer untouched(call.arguments[i].tensor());
      size_t slotBytes = got.bytes() / got.shape[0];
      for (int64_t slot = 0; slot < got.shape[0]; ++slot) {
        const Buffer &wanted = slot == call.table.intAt(s, 0) ? *whole[i].first : untouched;
        int64_t at =
            firstDifference(wanted.data() + slot * slotBytes, got.data() + slot * slotBytes, slotBytes);
        if (at >= 0)
          return error() << "slot " << slot << " of the state in argument " << i << " differs after sequence "
                         << s << " " << how << ", first at element " << at / (int64_t)got.elementBytes();
      }
    }
    return success();
  }

  LogicalResult checkCut(const Part &p, int64_t at) {
    std::string how = "cut at " + std::to_string(at);
    Part parts[2] = {{p.s, p.first, at, p.past}, {p.s, p.first + at, p.length - at, p.past + at}};
    std::vector<Passed> states = passedOf(call.arguments), now;
    for (int half : {0, 1}) {
      auto arguments = argumentsOf(parts[half], states);
      if (failed(arguments))
        return failure();
      now = *arguments;
      auto got = compiled.run(f.getName(), now);
      if (failed(got) || failed(checkResults(parts[half], now, *got, half == 1, how)))
        return failure();
      for (unsigned i = 0; i < now.size(); ++i)
        if (firstDimension(f, i) == "SLOTS")
          states[i] = now[i];
    }
    return checkStates(p.s, now, how);
  }

  LogicalResult run() {
    whole = passedOf(call.arguments);
    auto all = compiled.run(f.getName(), whole);
    if (failed(all))
      return failure();
    results = *all;
    bool hasChunks = false;
    f->getParentOfType<ModuleOp>().walk([&](llm::DeltaRuleOp op) { hasChunks |= op.getForm() == "chunk"; });
    int64_t cuts = 0;
    for (int64_t s = 0; s < sequences(); ++s) {
      Part p{s, call.table.intAt(s, 1), call.table.intAt(s, 2), call.table.intAt(s, 3)};
      auto arguments = argumentsOf(p, passedOf(call.arguments));
      if (failed(arguments))
        return failure();
      auto alone = compiled.run(f.getName(), *arguments);
      if (failed(alone) || failed(checkResults(p, *arguments, *alone, true, "alone")) ||
          failed(checkStates(s, *arguments, "alone")))
        return failure();
      SmallVector<int64_t> at;
      if (p.length > 64)
        at.push_back(64);
      if (!hasChunks && p.length > 2)
        at.push_back(p.length / 3);
      for (int64_t cut : at)
        if (failed(checkCut(p, cut)))
          return failure();
      cuts += at.size();
    }
    llvm::outs() << call.label << "same bits: " << sequences() << " sequences alone, " << cuts
                 << " cut in two\n";
    return success();
  }
};

} // namespace

LogicalResult checkRowsAlone(Compiled &compiled, const CheckedCall &call) {
  return RowsAlone{compiled, call}.run();
}

} // namespace llmc::reference
