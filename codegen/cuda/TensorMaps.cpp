// See TensorMaps.h.
#include "codegen/cuda/TensorMaps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
namespace llmc {

constexpr int64_t kRowBytes = 16; ///< rows begin at multiples of it (cuTensorMapEncodeTiled, globalStrides)

std::optional<GlobalBox> GlobalBox::of(Value view, unsigned inner) {
  SmallVector<memref::SubViewOp> parts; // the view's own last
  Value base = view;
  while (Operation *op = base.getDefiningOp()) {
    if (auto part = dyn_cast<memref::SubViewOp>(op)) {
      parts.insert(parts.begin(), part);
      base = part.getSource();
    } else if (auto cast = dyn_cast<memref::CastOp>(op)) {
      base = cast.getSource();
    } else {
      return std::nullopt;
    }
  }
  GlobalBox box;
  box.argument = dyn_cast<BlockArgument>(base);
  auto kernel = box.argument ? dyn_cast<func::FuncOp>(box.argument.getOwner()->getParentOp()) : func::FuncOp();
  if (!kernel || kernel.getArgAttr(box.argument.getArgNumber(), "llm.written"))
    return std::nullopt;
  auto type = cast<MemRefType>(base.getType());
  Builder b(kernel.getContext());
  box.offsets.assign(type.getRank(), b.getIndexAttr(0));
  SmallVector<unsigned> dims(llvm::to_vector(llvm::seq<unsigned>(0, type.getRank()))); // of the argument, by dimension of the view
  for (memref::SubViewOp part : parts) {
    SmallVector<unsigned> kept;
    llvm::SmallBitVector dropped = part.getDroppedDims();
    for (auto [i, offset] : llvm::enumerate(part.getMixedOffsets())) {
      if (getConstantIntValue(part.getMixedStrides()[i]) != 1)
        return std::nullopt;
      // Offsets of one dimension do not add up here: views of views are folded by the canonicaliser where they can be.
      if (getConstantIntValue(offset) != 0) {
        if (getConstantIntValue(box.offsets[dims[i]]) != 0)
          return std::nullopt;
        box.offsets[dims[i]] = offset;
      }
      if (!dropped[i])
        kept.push_back(dims[i]);
    }
    dims = kept;
  }
  box.inner = inner;
  unsigned rank = type.getRank();
  if (rank <= inner || dims.empty() || dims.size() > inner + 1)
    return std::nullopt;
  for (size_t fromLast = 0; fromLast < std::min<size_t>(inner, dims.size()); ++fromLast)
    if (dims[dims.size() - 1 - fromLast] != rank - 1 - fromLast)
      return std::nullopt;
  // A step of the view's first dimension is one of the leading dimensions taken as one, unless it has none.
  bool hasSteps = dims.size() > inner && cast<MemRefType>(view.getType()).getDimSize(0) != 1;
  for (unsigned dim = 0; dim < rank - inner; ++dim)
    if ((dim > 0 && type.isDynamicDim(dim)) || (hasSteps && dim > dims[0] && type.getDimSize(dim) != 1))
      return std::nullopt;
  if (type.isDynamicDim(rank - 1) || type.getDimSize(rank - 1) * ((type.getElementTypeBitWidth() + 7) / 8) % kRowBytes)
    return std::nullopt;
  return box;
}

std::optional<int64_t> GlobalBox::extentFromLast(unsigned i) const {
  auto type = cast<MemRefType>(argument.getType());
  unsigned dim = type.getRank() - 1 - i;
  return type.isDynamicDim(dim) ? std::nullopt : std::optional<int64_t>(type.getDimSize(dim));
}

/// [leading dimensions taken as one, the others ...] as integers and texts like llm.dims'.
static ArrayAttr shapeOf(func::FuncOp kernel, const GlobalBox &box) {
  auto type = cast<MemRefType>(box.argument.getType());
  Builder b(kernel.getContext());
  auto names = kernel.getArgAttrOfType<ArrayAttr>(box.argument.getArgNumber(), "llm.dims");
  /// `factor` times the dynamic dimension number `dim`.
  auto named = [&](int64_t factor, unsigned dim) -> Attribute {
    StringRef name = cast<StringAttr>(names[type.getDynamicDimIndex(dim)]).getValue();
    auto [given, symbol] = name.contains('*') ? name.split('*') : std::pair(StringRef("1"), name);
    int64_t more = 1;
    given.trim().getAsInteger(10, more);
    return b.getStringAttr(std::to_string(factor * more) + "*" + symbol.trim().str());
  };
  unsigned leading = type.getRank() - box.inner;
  int64_t factor = 1;
  std::optional<unsigned> dynamic;
  for (unsigned dim = 0; dim < leading; ++dim) {
    if (type.isDynamicDim(dim))
      dynamic = dim;
    else
      factor *= type.getDimSize(dim);
  }
  SmallVector<Attribute> shape{dynamic ? named(factor, *dynamic) : Attribute(b.getI64IntegerAttr(factor))};
  for (unsigned dim = leading; dim < type.getRank(); ++dim)
    shape.push_back(type.isDynamicDim(dim) ? named(1, dim) : Attribute(b.getI64IntegerAttr(type.getDimSize(dim))));
  return b.getArrayAttr(shape);
}

Value tensorMapOf(ThreadCode &t, const GlobalBox &box, ArrayRef<int64_t> last, Swizzle swizzle) {
  Builder b(t.b.getContext());
  SmallVector<int64_t> extents(box.inner + 1 - last.size(), 1);
  llvm::append_range(extents, last);
  DictionaryAttr wanted = b.getDictionaryAttr({
      b.getNamedAttr("parameter", b.getI64IntegerAttr(box.argument.getArgNumber())),
      b.getNamedAttr("shape", shapeOf(t.kernel, box)),
      b.getNamedAttr("box", b.getDenseI64ArrayAttr(extents)),
      b.getNamedAttr("swizzle", b.getI64IntegerAttr(int64_t(swizzle))),
  });
  for (BlockArgument arg : t.kernel.getArguments())
    if (t.kernel.getArgAttr(arg.getArgNumber(), kTensorMapAttr) == wanted)
      return arg;
  unsigned number = t.kernel.getNumArguments();
  auto attributes = b.getDictionaryAttr(b.getNamedAttr(kTensorMapAttr, wanted));
  if (failed(t.kernel.insertArgument(number, LLVM::LLVMPointerType::get(b.getContext()), attributes, t.loc)))
    llvm_unreachable("an argument that is a pointer can be added to any kernel");
  return t.kernel.getArgument(number);
}

void copyBox(ThreadCode &t, Value map, const GlobalBox &box, ArrayRef<Value> at, Value to, Value barrier, int64_t blocks) {
  auto type = cast<MemRefType>(box.argument.getType());
  unsigned leading = type.getRank() - box.inner;
  Value first = t.value(box.offsets[0]);
  for (unsigned dim = 1; dim < leading; ++dim)
    first = t.add(t.mul(first, type.getDimSize(dim)), t.value(box.offsets[dim]));
  SmallVector<Value> coordinates{first};
  for (unsigned i = leading; i < type.getRank(); ++i)
    coordinates.push_back(t.value(box.offsets[i]));
  for (auto [c, more] : llvm::zip(MutableArrayRef<Value>(coordinates).take_back(at.size()), at))
    c = t.add(c, more);
  std::reverse(coordinates.begin(), coordinates.end()); // the contiguous one first
  for (Value &c : coordinates)
    c = arith::IndexCastOp::create(t.b, t.loc, t.b.getI32Type(), c);
  // The instruction of PTX 8.0 names shared memory of the cluster, of which a block's own is a part.
  Value target = LLVM::AddrSpaceCastOp::create(t.b, t.loc, LLVM::LLVMPointerType::get(t.b.getContext(), kClusterSpace), to);
  Value mask = blocks > 1 ? arith::ConstantIntOp::create(t.b, t.loc, (1 << blocks) - 1, 16).getResult() : Value();
  NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp::create(t.b, t.loc, target, map, coordinates, barrier, ValueRange(), mask, Value(),
                                                         NVVM::TMALoadMode::TILE, /*isCTAOnly=*/false, NVVM::CTAGroupKindAttr(),
                                                         Value());
}

} // namespace llmc
