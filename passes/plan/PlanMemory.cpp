// plan-memory: places the transients of each program in one arena.
#include "dialect/plan/Extent.h"
#include "passes/Passes.h"

using namespace mlir;
namespace llmc {
#define GEN_PASS_DEF_PLANMEMORY
#include "passes/Passes.h.inc"
namespace {

struct PlanMemory : impl::PlanMemoryBase<PlanMemory> {
  using PlanMemoryBase::PlanMemoryBase;
  static constexpr int64_t kAlign = 64;
  static constexpr int64_t kPiece = 64;      ///< calls that are cut are cut at multiples of it
  static constexpr int64_t kMaxBlock = 1024; ///< masks that a call may fill
  /// Longest canvas that is seen as a whole: as long as those that such models were trained with, at most.
  static constexpr int64_t kMaxCanvas = 4096;

  struct Range {
    plan::BufferOp buffer;
    int64_t first, last, bytes, offset;
  };

  /// Bytes at the largest call, with that many rows.
  int64_t bytesOf(plan::BufferOp buffer, int64_t rows) {
    auto type = cast<RankedTensorType>(buffer.getType());
    int64_t count = 1, next = 0;
    for (int64_t size : type.getShape()) {
      if (size != ShapedType::kDynamic) {
        count *= size;
        continue;
      }
      // The verifier holds a transient to T and S.
      plan::Extent extent = *plan::parseExtent(cast<StringAttr>((*buffer.getDims())[next++]).getValue());
      count *= extent.factor * (extent.name() == "S" ? maxSequences : rows);
    }
    return llvm::alignTo(count * llvm::divideCeil(type.getElementTypeBitWidth(), 8), kAlign);
  }

  void runOnOperation() override {
    OpBuilder b(&getContext());
    llvm::StringMap<plan::BufferOp> buffers;
    for (auto buffer : getOperation().getOps<plan::BufferOp>())
      buffers[buffer.getSymName()] = buffer;
    // Where attention sees whole sequences, they come in one call, which bounds how long they may be; of its rows only those of
    // the block reach the head.
    int64_t rows = maxTokens;
    if (auto context = getOperation()->getAttrOfType<IntegerAttr>("llm.context");
        context && getOperation()->hasAttr("llm.whole_sequences")) {
      int64_t canvas = std::min(context.getInt(), kMaxCanvas);
      getOperation()->setAttr("llm.context", b.getI64IntegerAttr(canvas));
      rows = std::max<int64_t>(rows, llvm::alignTo(canvas, kPiece));
    }
    for (auto program : getOperation().getOps<plan::ProgramOp>()) {
      SmallVector<int64_t> most(program.getSpans() ? program.getSpans()->size() : 1, rows);
      constexpr size_t kBlock = 2; // the span of the tokens that a call makes
      if (most.size() > kBlock)
        most[kBlock] = std::min(rows, std::max<int64_t>(maxTokens, kMaxBlock));
      llvm::MapVector<StringRef, Range> ranges;
      int64_t next = 0;
      auto name = [&](StringRef buffer, int64_t at, int64_t rows) {
        plan::BufferOp op = buffers.lookup(buffer);
        if (op.getKind() != "transient")
          return;
        auto &range = ranges.insert({op.getSymName(), {op, at, at, bytesOf(op, rows), 0}}).first->second;
        range.last = at;
      };
      auto dispatch = [&](plan::DispatchOp op) {
        for (auto buffer : op.getBuffers().getAsValueRange<FlatSymbolRefAttr>())
          name(buffer, next, most[op.getSpan()]);
        ++next;
      };
      for (Operation &op : program.getBody().front()) {
        auto loop = dyn_cast<plan::LoopOp>(op);
        if (!loop) {
          dispatch(cast<plan::DispatchOp>(op));
          continue;
        }
        int64_t first = next;
        for (auto inner : loop.getBody().front().getOps<plan::DispatchOp>())
          dispatch(inner);
        // What is there before the loop and read in it is read in every trip.
        for (auto &[buffer, range] : ranges)
          if (range.first < first && range.last >= first)
            range.last = next - 1;
        name(loop.getCondition(), next - 1, rows);
      }
      int64_t total = 0;
      SmallVector<Range *> placed;
      for (auto &[name, range] : ranges) {
        SmallVector<Range *> beside;
        for (Range *other : placed)
          if (other->first <= range.last && range.first <= other->last)
            beside.push_back(other);
        llvm::sort(beside, [](Range *x, Range *y) { return x->offset < y->offset; });
        for (Range *other : beside) {
          if (range.offset + range.bytes <= other->offset)
            break;
          range.offset = std::max(range.offset, other->offset + other->bytes);
        }
        placed.push_back(&range);
        range.buffer.setOffsetAttr(b.getI64IntegerAttr(range.offset));
        total = std::max(total, range.offset + range.bytes);
      }
      program.setArenaBytesAttr(b.getI64IntegerAttr(total));
      if (program.getSpans())
        program.setMaxRows(most);
    }
    getOperation()->setAttr("llm.max_tokens", b.getI64IntegerAttr(rows));
    getOperation()->setAttr("llm.max_sequences", b.getI64IntegerAttr(maxSequences));
  }
};

} // namespace
} // namespace llmc
