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

  struct Range {
    plan::BufferOp buffer;
    int64_t first, last, bytes, offset;
  };

  /// Bytes at the largest call.
  int64_t bytesOf(plan::BufferOp buffer) {
    auto type = cast<RankedTensorType>(buffer.getType());
    int64_t count = 1, next = 0;
    for (int64_t size : type.getShape()) {
      if (size != ShapedType::kDynamic) {
        count *= size;
        continue;
      }
      // The verifier holds a transient to T and S.
      plan::Extent extent = *plan::parseExtent(cast<StringAttr>((*buffer.getDims())[next++]).getValue());
      count *= extent.factor * (extent.name() == "S" ? maxSequences : maxTokens);
    }
    return llvm::alignTo(count * llvm::divideCeil(type.getElementTypeBitWidth(), 8), kAlign);
  }

  void runOnOperation() override {
    OpBuilder b(&getContext());
    llvm::StringMap<plan::BufferOp> buffers;
    for (auto buffer : getOperation().getOps<plan::BufferOp>())
      buffers[buffer.getSymName()] = buffer;
    for (auto program : getOperation().getOps<plan::ProgramOp>()) {
      llvm::MapVector<StringRef, Range> ranges;
      for (auto [i, op] : llvm::enumerate(program.getBody().front()))
        for (auto name : cast<plan::DispatchOp>(op).getBuffers().getAsValueRange<FlatSymbolRefAttr>()) {
          plan::BufferOp buffer = buffers.lookup(name);
          if (buffer.getKind() != "transient")
            continue;
          auto &range =
              ranges.insert({buffer.getSymName(), {buffer, (int64_t)i, (int64_t)i, bytesOf(buffer), 0}})
                  .first->second;
          range.last = i;
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
    }
    getOperation()->setAttr("llm.max_tokens", b.getI64IntegerAttr(maxTokens));
    getOperation()->setAttr("llm.max_sequences", b.getI64IntegerAttr(maxSequences));
  }
};

} // namespace
} // namespace llmc
