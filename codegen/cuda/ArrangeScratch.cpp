// Scratch as products read it, and scratch that shares its memory, once the layouts of a kernel are known. See Layout.h.
#include "codegen/cuda/Layout.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
namespace llmc {

/// Gives the users of `old` the value `fresh` of another layout, views of it included.
static void replaceBuffer(Value old, Value fresh) {
  for (OpOperand &use : llvm::make_early_inc_range(old.getUses())) {
    auto part = dyn_cast<memref::SubViewOp>(use.getOwner());
    if (!part) {
      use.set(fresh);
      continue;
    }
    OpBuilder b(part);
    auto type = memref::SubViewOp::inferRankReducedResultType(part.getType().getShape(), cast<MemRefType>(fresh.getType()),
                                                              part.getMixedOffsets(), part.getMixedSizes(),
                                                              part.getMixedStrides());
    Value view = memref::SubViewOp::create(b, part.getLoc(), cast<MemRefType>(type), fresh, part.getMixedOffsets(),
                                           part.getMixedSizes(), part.getMixedStrides());
    replaceBuffer(part, view);
    part.erase();
  }
}

/// Zeros for the elements of `padded` beyond `shape`, up to whole steps of 16 in both dimensions, at the start of each workgroup.
static void clearPadding(memref::AllocaOp padded, ArrayRef<int64_t> shape) {
  auto kernel = padded->getParentOfType<func::FuncOp>();
  OpBuilder b(padded);
  b.setInsertionPointAfter(padded);
  kernel.walk([&](scf::ForallOp forall) { b.setInsertionPointToStart(forall.getBody()); });
  Location loc = padded.getLoc();
  int64_t rows = padded.getType().getDimSize(0), columns = llvm::alignTo(shape[1], 16);
  auto clear = [&](int64_t row, int64_t column) {
    int64_t sizes[] = {rows - row, columns - column};
    if (!sizes[0] || !sizes[1])
      return;
    SmallVector<OpFoldResult> offsets{b.getIndexAttr(row), b.getIndexAttr(column)}, ones(2, b.getIndexAttr(1)),
        extents{b.getIndexAttr(sizes[0]), b.getIndexAttr(sizes[1])};
    Value part = memref::SubViewOp::create(b, loc, padded, offsets, extents, ones);
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(padded.getType().getElementType()));
    SmallVector<AffineMap> maps{AffineMap::get(2, 0, b.getContext()), b.getMultiDimIdentityMap(2)};
    SmallVector<utils::IteratorType> kinds(2, utils::IteratorType::parallel);
    linalg::GenericOp::create(b, loc, ValueRange{zero}, ValueRange{part}, maps, kinds,
                              [](OpBuilder &nested, Location l, ValueRange args) { linalg::YieldOp::create(nested, l, args[0]); });
  };
  clear(0, shape[1]);
  clear(shape[0], 0);
}

void padOperands(Layouts &layouts) {
  constexpr int64_t kBank = 8, kStep = 16; // elements of 16 bytes: rows lie an odd number of them apart
  for (auto &[op, product] : layouts.products)
    for (bool isB : {false, true}) {
      product = *Product::match(product.op); // another product of the same operand may have replaced it
      Value operand = isB ? product.b : product.a;
      auto scratch = scratchOf(operand);
      if (scratch && layouts.forms.lookup(op) == Layouts::Form::warpgroup && !layouts.inRegisters(operand))
        scratch->setAttr("llm.shared", UnitAttr::get(scratch->getContext())); // its copy for wgmma is from there
      if (layouts.forms.lookup(op) != Layouts::Form::tiled || !scratch || layouts.inRegisters(operand) || scratch->hasAttr("llm.shared"))
        continue;
      OpBuilder b(scratch);
      // Whether its rows are k, which only its use as b says, another product may know.
      SmallVector<int64_t> whole(scratch.getType().getShape()), shape{int64_t(llvm::alignTo(whole[0], kStep)), int64_t(llvm::alignTo(whole[1], kStep)) + kBank};
      auto padded = memref::AllocaOp::create(b, scratch.getLoc(), MemRefType::get(shape, scratch.getType().getElementType()),
                                             scratch.getAlignmentAttr());
      padded->setAttr("llm.shared", b.getUnitAttr());
      SmallVector<OpFoldResult> zeros(2, b.getIndexAttr(0)), ones(2, b.getIndexAttr(1)), sizes;
      for (int64_t size : whole)
        sizes.push_back(b.getIndexAttr(size));
      Value view = memref::SubViewOp::create(b, scratch.getLoc(), padded, zeros, sizes, ones);
      replaceBuffer(scratch, view);
      scratch.erase();
      clearPadding(padded, whole);
    }
  for (auto &[op, product] : layouts.products)
    product = *Product::match(product.op);
}

/// The first and the last op of `body` under which `scratch` is used; nothing where it is used elsewhere.
static std::optional<std::pair<unsigned, unsigned>> lifeOf(memref::AllocaOp scratch, Block *body, const llvm::DenseMap<Operation *, unsigned> &numbers) {
  std::pair<unsigned, unsigned> life{~0u, 0};
  SmallVector<Value> views{scratch};
  while (!views.empty())
    for (Operation *user : views.pop_back_val().getUsers()) {
      if (isa<ViewLikeOpInterface>(user)) {
        llvm::append_range(views, user->getResults());
        continue;
      }
      Operation *top = body->findAncestorOpInBlock(*user);
      if (!top || !isa<linalg::GenericOp, memref::CopyOp, memref::LoadOp, memref::StoreOp, memref::DimOp>(user))
        return std::nullopt;
      life = {std::min(life.first, numbers.lookup(top)), std::max(life.second, numbers.lookup(top))};
    }
  return life;
}

void shareScratch(func::FuncOp kernel, Layouts &layouts) {
  constexpr int64_t kMuch = 64 << 10; // bytes; less of it leaves room for other blocks beside this one
  SmallVector<memref::AllocaOp> all;
  int64_t bytes = 0;
  kernel.walk([&](memref::AllocaOp scratch) {
    if (layouts.registers.contains(scratch))
      return;
    all.push_back(scratch);
    bytes += scratch.getType().getNumElements() * scratch.getType().getElementTypeBitWidth() / 8;
  });
  auto forall = kernel.getBody().front().getOps<scf::ForallOp>();
  if (bytes <= kMuch || forall.empty())
    return;
  Block *body = (*forall.begin()).getBody();
  llvm::DenseMap<Operation *, unsigned> numbers;
  for (Operation &op : *body)
    numbers[&op] = numbers.size();
  // In the order of their first use; each takes the place of one that has had its last.
  struct Life {
    memref::AllocaOp scratch;
    unsigned first, last;
    size_t number; ///< in the kernel
  };
  SmallVector<Life> lives, homes;
  for (memref::AllocaOp scratch : all)
    if (auto life = lifeOf(scratch, body, numbers))
      lives.push_back({scratch, life->first, life->second, lives.size()});
  llvm::sort(lives, [](const Life &x, const Life &y) { return std::tuple(x.first, x.last, x.number) < std::tuple(y.first, y.last, y.number); });
  for (Life &life : lives) {
    auto home = llvm::find_if(homes, [&](Life &h) {
      return h.last < life.first && h.scratch.getType() == life.scratch.getType() &&
             h.scratch->getAttrDictionary() == life.scratch->getAttrDictionary();
    });
    if (home == homes.end()) {
      homes.push_back(life);
      continue;
    }
    home->last = life.last;
    home->scratch->moveBefore(&kernel.getBody().front(), kernel.getBody().front().begin()); // before all views
    life.scratch.replaceAllUsesWith(home->scratch.getResult());
    life.scratch.erase();
  }
  for (auto &[op, product] : layouts.products)
    product = *Product::match(product.op);
}

} // namespace llmc
