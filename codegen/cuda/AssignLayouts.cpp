// Which buffers live in registers and how each op runs: products say what they want, their neighbours follow, and what cannot follow
// goes to shared memory. See Layout.h.
#include "codegen/cuda/ThreadCode.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;
namespace llmc {

/// Rows up to which a product is bound by reading its weights.
/// Elements of accumulators that a warp holds at most: 64 registers a thread, which leaves room for operands and addresses.
static constexpr int64_t kWarpElements = 2048;
/// Registers of one product's accumulators at most; wider ones stay in memory.
static constexpr int64_t kMaxRegisters = 128;

Fragments Fragments::of(int64_t rows, int64_t columns, int64_t warps, bool wholeRows) {
  Fragments best;
  int64_t bestCost = -1;
  for (int64_t m = 1; m <= warps; m *= 2) {
    if (warps % m || (wholeRows && m != warps))
      continue;
    Fragments f;
    f.warpsM = m;
    f.warpsN = warps / m;
    f.fm = llvm::divideCeil(rows, 16 * f.warpsM);
    f.fn = llvm::divideCeil(columns, 8 * f.warpsN);
    // What ldmatrix reads for a step of k; padding counts through the registers.
    int64_t cost = 16 * f.fm + 8 * f.fn + f.registers();
    if (bestCost < 0 || cost < bestCost) {
      best = f;
      bestCost = cost;
    }
  }
  return best;
}

memref::AllocaOp scratchOf(Value buffer) {
  while (Operation *op = buffer.getDefiningOp()) {
    if (auto scratch = dyn_cast<memref::AllocaOp>(op))
      return scratch;
    auto view = dyn_cast<ViewLikeOpInterface>(op);
    if (!view)
      break;
    buffer = view.getViewSource();
  }
  return {};
}

/// A number that divides `v`.
static int64_t divisorOf(OpFoldResult v, int depth = 8) {
  if (auto known = getConstantIntValue(v))
    return std::abs(*known); // 0: divided by everything
  Operation *op = cast<Value>(v).getDefiningOp();
  auto of = [&](unsigned i) { return divisorOf(op->getOperand(i), depth - 1); };
  if (op && depth && isa<arith::MulIOp>(op))
    return of(0) * of(1);
  if (op && depth && isa<arith::AddIOp, arith::SubIOp>(op))
    return std::gcd(of(0), of(1));
  if (auto arg = dyn_cast<BlockArgument>(cast<Value>(v)))
    if (auto loop = dyn_cast<scf::ForOp>(arg.getOwner()->getParentOp()); loop && depth && arg == loop.getInductionVar())
      return std::gcd(divisorOf(loop.getLowerBound(), depth - 1), divisorOf(loop.getStep(), depth - 1));
  return 1;
}

int64_t alignedElements(Value view) {
  int64_t divisor = 8;
  /// The strides of `type`, or of those that are dynamic a number that divides them.
  auto addStrides = [&](MemRefType type) {
    SmallVector<int64_t> strides;
    int64_t offset;
    if (failed(type.getStridesAndOffset(strides, offset)) || strides.empty() || strides.back() != 1) {
      divisor = 1;
      return strides;
    }
    // Of a dense buffer (a cache of so many slots and positions), the static dimensions within.
    int64_t within = 1;
    for (int64_t d = type.getRank() - 1; d >= 0; --d) {
      if (ShapedType::isDynamic(strides[d]))
        strides[d] = type.getLayout().isIdentity() ? within : 1;
      within *= type.isDynamicDim(d) ? 1 : type.getDimSize(d);
    }
    for (int64_t stride : ArrayRef<int64_t>(strides).drop_back())
      divisor = std::gcd(divisor, stride);
    return strides;
  };
  addStrides(cast<MemRefType>(view.getType()));
  while (Operation *op = view.getDefiningOp()) {
    if (auto part = dyn_cast<memref::SubViewOp>(op)) {
      SmallVector<int64_t> strides = addStrides(part.getSourceType());
      for (auto [offset, stride] : llvm::zip(part.getMixedOffsets(), strides))
        divisor = std::gcd(divisor, divisorOf(offset) * stride);
      view = part.getSource();
    } else if (isa<memref::AllocaOp>(op)) {
      return divisor;
    } else if (auto cast = dyn_cast<memref::CastOp>(op)) {
      view = cast.getSource();
    } else {
      return 1;
    }
  }
  return isa<BlockArgument>(view) ? divisor : 1;
}

static bool isMap(AffineMap map, ArrayRef<unsigned> dims) {
  if (map.getNumResults() != dims.size())
    return false;
  for (auto [expr, dim] : llvm::zip(map.getResults(), dims))
    if (expr != getAffineDimExpr(dim, map.getContext()))
      return false;
  return true;
}

/// acc + ext(a) * ext(b), in any order.
static bool isMultiplyAdd(linalg::GenericOp op) {
  Block *body = op.getBody();
  auto add = body->getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>();
  if (!add)
    return false;
  for (auto [acc, other] : {std::pair(add.getLhs(), add.getRhs()), std::pair(add.getRhs(), add.getLhs())}) {
    auto product = other.getDefiningOp<arith::MulFOp>();
    if (acc != body->getArgument(2) || !product)
      continue;
    auto argument = [&](Value v) -> unsigned {
      auto wide = v.getDefiningOp<arith::ExtFOp>();
      auto arg = wide ? dyn_cast<BlockArgument>(wide.getIn()) : BlockArgument();
      return arg ? arg.getArgNumber() : 2;
    };
    return argument(product.getLhs()) + argument(product.getRhs()) == 1;
  }
  return false;
}

/// What extent `dim` of `view`, a part of scratch that begins where that begins, cannot exceed.
static std::optional<int64_t> boundOf(Value view, unsigned dim) {
  std::optional<int64_t> bound;
  auto meet = [&](Value v) {
    auto type = cast<MemRefType>(v.getType());
    if (!type.isDynamicDim(dim))
      bound = std::min(bound.value_or(type.getDimSize(dim)), type.getDimSize(dim));
  };
  for (meet(view); auto part = view.getDefiningOp<memref::SubViewOp>(); meet(view)) {
    if (part.getType().getRank() != part.getSourceType().getRank())
      return std::nullopt;
    view = part.getSource();
  }
  return view.getDefiningOp<memref::AllocaOp>() ? bound : std::nullopt;
}

int64_t elementsOfB(const Product &p, const Fragments &f, int64_t k) {
  return p.isTransposed ? f.columns() * (k + kPadding) : k * (f.columns() + kPadding);
}

bool isWithinBlock(const Product &p) { return scratchOf(p.a) && scratchOf(p.b); }

std::optional<Product> Product::match(linalg::GenericOp op) {
  if (op.getNumLoops() != 3 || op.getNumDpsInputs() != 2 || op.getNumDpsInits() != 1 || !isMultiplyAdd(op))
    return std::nullopt;
  auto kinds = op.getIteratorTypesArray();
  if (kinds[0] != utils::IteratorType::parallel || kinds[1] != utils::IteratorType::parallel ||
      kinds[2] != utils::IteratorType::reduction)
    return std::nullopt;
  Product p;
  p.op = op;
  p.a = op.getDpsInputs()[0];
  p.b = op.getDpsInputs()[1];
  p.out = op.getDpsInits()[0];
  auto maps = op.getIndexingMapsArray();
  MLIRContext *context = op.getContext();
  AffineExpr n = getAffineDimExpr(1, context), k = getAffineDimExpr(2, context);
  p.isPanels = maps[1] == AffineMap::get(3, 0, {n.floorDiv(32), k, n % 32}, context);
  p.isTransposed = isMap(maps[1], {1, 2});
  if (!isMap(maps[0], {0, 2}) || !isMap(maps[2], {0, 1}) || !(p.isPanels || p.isTransposed || isMap(maps[1], {2, 1})))
    return std::nullopt;
  auto isNarrow = [](Value v) { return cast<MemRefType>(v.getType()).getElementType().isBF16(); };
  auto ranges = op.getStaticLoopRanges();
  if (!isNarrow(p.a) || !isNarrow(p.b) || !cast<MemRefType>(p.out.getType()).getElementType().isF32())
    return std::nullopt;
  auto extent = [&](unsigned loop, Value buffer, unsigned dim) {
    return ShapedType::isDynamic(ranges[loop]) ? boundOf(buffer, dim) : std::optional(ranges[loop]);
  };
  auto rows = extent(0, p.out, 0), columns = extent(1, p.out, 1), depth = extent(2, p.a, 1);
  p.isRagged = ShapedType::isDynamic(ranges[1]) || ShapedType::isDynamic(ranges[2]);
  if (!rows || !columns || !depth)
    return std::nullopt;
  p.rows = *rows;
  p.columns = *columns;
  p.k = *depth;
  p.aWidth = std::gcd(alignedElements(p.a), p.k);
  p.bWidth = std::gcd(alignedElements(p.b), p.isTransposed ? p.k : p.columns);
  if (ShapedType::isDynamic(ranges[p.isTransposed ? 2 : 1]) && !p.isPanels) // panels are there or not as a whole
    p.bWidth = 1;
  if (ShapedType::isDynamic(ranges[2]) && !scratchOf(p.a))
    p.aWidth = 1;
  return p;
}

namespace {

/// Whether `view` begins where its scratch begins and keeps its dimensions: element (m, n) is element (m, n) of the scratch.
bool isPrefix(Value view) {
  while (Operation *op = view.getDefiningOp()) {
    if (isa<memref::AllocaOp>(op))
      return true;
    auto part = dyn_cast<memref::SubViewOp>(op);
    if (!part || part.getType().getRank() != part.getSourceType().getRank() || !part.hasUnitStride() ||
        !llvm::all_of(part.getMixedOffsets(), [](OpFoldResult o) { return isConstantIntValue(o, 0); }))
      return false;
    view = part.getSource();
  }
  return false;
}

/// Whether `buffer` begins where its scratch begins, and all users of that take it in another layout.
bool isPadable(Value buffer) {
  if (!isPrefix(buffer))
    return false;
  SmallVector<Value> views{scratchOf(buffer)};
  while (!views.empty())
    for (Operation *user : views.pop_back_val().getUsers()) {
      if (isa<memref::SubViewOp>(user))
        views.push_back(user->getResult(0));
      else if (!isa<linalg::GenericOp, memref::CopyOp, memref::LoadOp, memref::StoreOp, memref::DimOp>(user))
        return false;
    }
  return true;
}

class Assignment {
public:
  Assignment(func::FuncOp kernel, int64_t maxThreads, bool hasWarpgroups)
      : kernel(kernel), maxWarps(maxThreads / kWarp), hasWarpgroups(hasWarpgroups) {}

  Layouts run() {
    findProducts();
    if (!tiled.empty() && !(wantsWarpgroups() && settleOn(Form::warpgroup)))
      settleOn(Form::tiled);
    if (tiled.empty() && layouts.products.empty())
      holdRows();
    return std::move(layouts);
  }

private:
  using Form = Layouts::Form;
  using Register = Layouts::Register;

  void findProducts() {
    SmallVector<Product> all;
    kernel.walk([&](linalg::GenericOp op) {
      if (auto p = Product::match(op))
        all.push_back(*p);
    });
    kernel.walk([&](linalg::GenericOp op) {
      if (reducesRows(op, all))
        reduced.insert(scratchOf(op.getDpsInputs()[0]).getType());
    });
    // The rows of one product become the operand of another, in registers or beside it in its block; else they are reduced and that is all.
    const bool goOn = llvm::any_of(all, [&](const Product &p) { return goesOn(p, all); });
    wholeRows = !reduced.empty() || goOn;
    isChain = goOn || (!reduced.empty() && llvm::any_of(all, [&](const Product &p) {
                return llvm::any_of(all, [&](const Product &q) { return p.op != q.op && p.op->getBlock() == q.op->getBlock(); });
              }));
    for (const Product &p : all) {
      bool isFew = p.rows <= kStreamedRows && !isChain;
      if (isFew && !p.isRagged && !scratchOf(p.b) && p.bWidth == 8 && p.aWidth >= 4 && p.columns % 32 == 0 &&
          !p.isTransposed && (p.isPanels || p.columns == 32)) {
        layouts.forms[p.op] = Form::streamed;
        layouts.products[p.op] = p;
      } else if (!isFew && scratchOf(p.out) && isPrefix(p.out) && (scratchOf(p.b) ? isPadable(p.b) : p.bWidth >= 2) &&
                 (scratchOf(p.a) ? isPadable(p.a) : p.aWidth >= 2)) {
        tiled.push_back(p);
      }
    }
  }

  /// A reduction of rows of scratch that a product may have made: the softmax of attention, which keeps few rows in registers too, or numbers
  /// over logits. What a block reduces on the way to operands that it makes is no such thing.
  static bool reducesRows(linalg::GenericOp op, ArrayRef<Product> products) {
    if (op.getNumLoops() != 2 || op.getNumReductionLoops() != 1 || op.getNumDpsInputs() != 1)
      return false;
    auto in = scratchOf(op.getDpsInputs()[0]);
    return in && llvm::any_of(products, [&](const Product &p) {
             auto out = scratchOf(p.out);
             return out && out.getType() == in.getType() && !isWithinBlock(p);
           });
  }

  /// Whether the rows of `p`'s a operand are those that another product made, rounded: accumulators become an operand, in the threads that
  /// have them if they have whole rows.
  static bool goesOn(const Product &p, ArrayRef<Product> products) {
    auto a = scratchOf(p.a);
    auto isMade = [&](Value v) {
      auto scratch = scratchOf(v);
      return scratch && scratch.getType().getShape() == a.getType().getShape() &&
             llvm::any_of(products, [&](const Product &other) { return scratchOf(other.out) == scratch; });
    };
    if (!a)
      return false;
    SmallVector<Value> views{a};
    while (!views.empty())
      for (OpOperand &use : views.pop_back_val().getUses()) {
        if (isa<memref::SubViewOp>(use.getOwner()))
          views.push_back(use.getOwner()->getResult(0));
        auto op = dyn_cast<linalg::GenericOp>(use.getOwner());
        if (op && op.isDpsInit(&use) && !op.getNumReductionLoops() && canRunOnFragments(op) &&
            llvm::any_of(op.getDpsInputOperands(), [&](OpOperand *in) {
              return isa<MemRefType>(in->get().getType()) && isVectorUse(op, *in) == std::optional(false) && isMade(in->get());
            }))
          return true;
      }
    return false;
  }

  /// Gives products the form `form` and the rest what follows. Returns whether all products have it; if not all can run on warpgroups,
  /// nothing has changed.
  bool settleOn(Form form) {
    SmallVector<Product> wanted = tiled;
    form == Form::warpgroup ? seedWarpgroups() : seed();
    while (spread())
      ;
    while (demote())
      ;
    bool areAll = llvm::all_of(tiled, [&](const Product &p) { return registerOf(p.out); });
    if (form == Form::warpgroup && (!areAll || !(isChain ? pipelineLoops() : true))) {
      layouts.registers.clear();
      layouts.ahead.clear();
      tiled = wanted;
      return false;
    }
    settle(form);
    return areAll;
  }

  /// Products on warpgroups keep the producer's warp out of what they do, so all of a kernel's are of one kind, with rows in common.
  bool wantsWarpgroups() {
    return hasWarpgroups && layouts.products.empty() && llvm::all_of(tiled, [&](const Product &p) {
             return canUseWarpgroups(p) && bool(scratchOf(p.a)) == isChain && p.rows == tiled[0].rows && p.rows <= 16 * maxWarps &&
                    onWarpgroups(p).registers() <= kMaxRegisters;
           });
  }

  /// Products whose rows go on to another run where a loop is shared out between its consumers and the producer: every product is in one, with
  /// an a in registers or made before the loop, and nothing else in it is in memory that threads share. Returns whether that is so.
  bool pipelineLoops() {
    for (const Product &p : tiled) {
      auto loop = dyn_cast<scf::ForOp>(p.op->getParentOp());
      if (!loop || !isOfIteration(p.b, loop) || (!layouts.ahead.contains(loop) && !canBePipelined(loop)))
        return false;
      layouts.ahead[loop].push_back(p.op);
    }
    return true;
  }

  bool canBePipelined(scf::ForOp loop) {
    auto isOperandA = [&](Operation *op, Value v) {
      return llvm::any_of(tiled, [&](const Product &p) { return p.op == op && p.op->getParentOp() == loop && p.a == v; });
    };
    // What a thread keeps, what nobody writes, and an a that this loop does not write, which it would do by an op that is refused here.
    auto isFree = [&](Operation *op, Value v) {
      auto type = dyn_cast<MemRefType>(v.getType());
      return !type || registerOf(v) || (scratchOf(v) ? isOperandA(op, v) : isReadOnly(v));
    };
    bool isGood = true;
    loop->walk([&](Operation *op) {
      if (isa<linalg::GenericOp, memref::CopyOp, memref::LoadOp>(op))
        isGood &= llvm::all_of(op->getOperands(), [&](Value v) { return isFree(op, v); });
      else if (isa<memref::StoreOp>(op))
        isGood = false;
      // An op without registers would be shared out among all threads.
      if (isa<linalg::GenericOp, memref::CopyOp>(op))
        isGood &= llvm::any_of(op->getOperands(), [&](Value v) { return registerOf(v); });
    });
    return isGood;
  }

  static bool isReadOnly(Value view) {
    while (auto op = view.getDefiningOp<ViewLikeOpInterface>())
      view = op.getViewSource();
    auto arg = dyn_cast<BlockArgument>(view);
    auto function = arg ? dyn_cast<func::FuncOp>(arg.getOwner()->getParentOp()) : func::FuncOp();
    return function && !function.getArgAttr(arg.getArgNumber(), "llm.written");
  }
  static Fragments onWarpgroups(const Product &p) { return {p.rows / 16, 1, 1, int64_t(llvm::divideCeil(p.columns, 8))}; }

  void seedWarpgroups() {
    for (const Product &p : tiled)
      layouts.registers[scratchOf(p.out)] = {onWarpgroups(p), false};
    layouts.ring = WarpgroupRing::of(tiled);
    layouts.ring->blocks = blocksOfCluster();
    layouts.threads = (tiled[0].rows / 16 + 1) * kWarp;
  }

  /// Neighbouring workgroups have b in common where the kernel says that its grid is columns by rows. That pays where b is most of what is read.
  int64_t blocksOfCluster() {
    constexpr int64_t kColumns = 128, kBlocks = 2; // two blocks: an odd number of tiles of rows costs one more
    auto together = kernel->getAttrOfType<IntegerAttr>("llm.rows_together");
    auto grid = kernel.getBody().front().getOps<scf::ForallOp>();
    bool isByRows = together && together.getInt() % kBlocks == 0 && !grid.empty() && (*grid.begin()).getRank() == 2;
    bool isWide = llvm::any_of(tiled, [&](const Product &p) { return p.columns > kColumns; });
    return isByRows && isWide ? kBlocks : 1;
  }

  void seed() {
    layouts.ring.reset();
    int64_t warps = wholeRows ? 1 : 4;
    for (const Product &p : tiled)
      while (wholeRows && warps < maxWarps && 16 * warps < p.rows)
        warps *= 2;
    // Whose rows need not be whole, or cannot be: too wide for the warps that have them.
    llvm::SmallDenseSet<Operation *> cut;
    for (const Product &p : tiled)
      if (!wholeRows || (!reduced.contains(scratchOf(p.out).getType()) &&
                         Fragments::of(p.rows, p.columns, warps, /*wholeRows=*/true).registers() > kMaxRegisters))
        cut.insert(p.op);
    for (const Product &p : tiled)
      while (cut.contains(p.op) && warps < maxWarps && p.rows * p.columns > warps * kWarpElements)
        warps *= 2;
    // Operands that the block makes are work for its threads, four elements each at a time.
    int64_t made = 0;
    for (const Product &p : tiled)
      if (!wholeRows && isWithinBlock(p))
        made = std::max(made, scratchOf(p.b).getType().getNumElements());
    while (warps < maxWarps && warps * kWarp * 4 < made)
      warps *= 2;
    for (const Product &p : tiled) // nor where warps that wider products wanted would have no rows
      if (!reduced.contains(scratchOf(p.out).getType()) && 2 * p.rows <= 16 * warps)
        cut.insert(p.op);
    layouts.threads = warps * kWarp;
    auto fragmentsOf = [&](const Product &p) { return Fragments::of(p.rows, p.columns, warps, !cut.contains(p.op)); };
    llvm::erase_if(tiled, [&](const Product &p) { return fragmentsOf(p).registers() > kMaxRegisters; });
    for (const Product &p : tiled)
      layouts.registers[scratchOf(p.out)] = {fragmentsOf(p), false};
  }

  /// Without products: what a kernel reduces along its rows more than once (a state that a step reads and updates) stays in registers.
  void holdRows() {
    llvm::MapVector<Operation *, int> reductions;
    kernel.walk([&](linalg::GenericOp op) {
      if (op.getNumReductionLoops() && canRunOnFragments(op))
        for (OpOperand *in : op.getDpsInputOperands())
          if (auto scratch = isa<MemRefType>(in->get().getType()) ? scratchOf(in->get()) : memref::AllocaOp();
              scratch && isVectorUse(op, *in) == std::optional(false))
            ++reductions[scratch];
    });
    for (auto [op, count] : reductions) {
      auto type = cast<memref::AllocaOp>(op).getType();
      int64_t warps = 1;
      while (warps < maxWarps && 16 * warps < type.getDimSize(0))
        warps *= 2;
      Fragments f = Fragments::of(type.getDimSize(0), type.getRank() == 2 ? type.getDimSize(1) : 1, warps, /*wholeRows=*/true);
      if (count < 2 || type.getRank() != 2 || !type.getElementType().isF32() || type.getDimSize(0) < kStreamedRows ||
          f.registers() > kMaxRegisters)
        continue;
      layouts.registers[op] = {f, false};
      layouts.threads = std::max(layouts.threads, warps * kWarp);
    }
    while (spread())
      ;
    while (demote())
      ;
    settle(Form::tiled);
  }

  /// The register layout of an operand of `op` as `op` uses it, or null.
  const Register *registerOf(Value buffer) {
    auto scratch = isa<MemRefType>(buffer.getType()) ? scratchOf(buffer) : memref::AllocaOp();
    auto found = scratch ? layouts.registers.find(scratch) : layouts.registers.end();
    return found == layouts.registers.end() ? nullptr : &found->second;
  }

  /// Elementwise over (m, n) or (m), or a reduction over n: what can run on fragments.
  static bool canRunOnFragments(linalg::GenericOp op) {
    unsigned loops = op.getNumLoops();
    if (loops == 0 || loops > 2 || op->getNumRegions() != 1)
      return false;
    bool hasRegions = false;
    op.getBody()->walk([&](Operation *inner) { hasRegions |= inner->getNumRegions() > 0; });
    if (hasRegions)
      return false;
    auto kinds = op.getIteratorTypesArray();
    bool isReduction = loops == 2 && kinds[1] == utils::IteratorType::reduction;
    if (kinds[0] != utils::IteratorType::parallel)
      return false;
    if (isReduction && (op.getNumDpsInits() != 1 || !combinerOf(op, 0) ||
                        !cast<MemRefType>(op.getDpsInits()[0].getType()).getElementType().isF32()))
      return false;
    for (OpOperand &init : op.getDpsInitsMutable()) {
      AffineMap map = op.getMatchingIndexingMap(&init);
      // What goes to memory may be the other way round.
      if (!(isReduction || loops == 1 ? isMap(map, {0}) : isMap(map, {0, 1}) || isMap(map, {1, 0})))
        return false;
    }
    return true;
  }

  /// How `op` would use operand `v` from registers: as a matrix, a vector, or not at all.
  static std::optional<bool> isVectorUse(linalg::GenericOp op, OpOperand &v) {
    AffineMap map = op.getMatchingIndexingMap(&v);
    if (op.getNumLoops() == 2 && isMap(map, {0, 1}))
      return false;
    if (isMap(map, {0}))
      return true;
    return std::nullopt;
  }

  /// Gives register layouts to scratch that meets register operands in an op. Returns whether anything changed.
  bool spread() {
    bool changed = false;
    auto offer = [&](Value buffer, Fragments f, bool isVector) {
      auto scratch = isa<MemRefType>(buffer.getType()) ? scratchOf(buffer) : memref::AllocaOp();
      if (!scratch || layouts.registers.contains(scratch) || !isPrefix(buffer))
        return;
      auto type = scratch.getType();
      if (type.getRank() != (isVector ? 1 : 2) || type.getDimSize(0) > f.rows() ||
          (!isVector && type.getDimSize(1) > f.columns()))
        return;
      layouts.registers[scratch] = {f, isVector};
      changed = true;
    };
    kernel.walk([&](Operation *op) {
      if (auto copy = dyn_cast<memref::CopyOp>(op)) {
        for (auto [from, to] : {std::pair(copy.getSource(), copy.getTarget()), std::pair(copy.getTarget(), copy.getSource())})
          if (const Register *r = registerOf(from)) {
            Register known = *r;
            offer(to, known.fragments, known.isVector);
          }
        return;
      }
      auto generic = dyn_cast<linalg::GenericOp>(op);
      if (!generic || !canRunOnFragments(generic))
        return;
      std::optional<Fragments> f;
      for (Value v : generic->getOperands())
        if (const Register *r = registerOf(v); r && !f)
          f = r->fragments;
      if (f)
        for (OpOperand &v : generic->getOpOperands())
          if (auto isVector = isVectorUse(generic, v))
            offer(v.get(), *f, *isVector);
    });
    return changed;
  }

  /// Whether threads have the same rows of both, whole: then a vector of one is one of the other.
  static bool haveSameRows(const Fragments &x, const Fragments &y) {
    return x.warpsM == y.warpsM && x.fm == y.fm && x.warpsN == 1 && y.warpsN == 1;
  }

  /// Whether the fragments on which `op` runs if `r` is in registers reach as far as it does: those of a matrix, or, a vector may meet wider
  /// rows in memory, the vector's.
  bool covers(const Register &r, linalg::GenericOp op) {
    Fragments f = r.fragments;
    bool isMatrixThere = !r.isVector;
    for (Value v : op->getOperands())
      if (const Register *other = registerOf(v); other && !other->isVector && !isMatrixThere) {
        isMatrixThere = true;
        f = other->fragments;
      }
    int64_t most[] = {f.rows(), f.columns()};
    for (auto [range, end] : llvm::zip(op.getStaticLoopRanges(), most))
      if (!ShapedType::isDynamic(range) && range > end)
        return false;
    // Where only the kernel knows how many columns there are, a matrix in registers bounds them.
    return op.getNumLoops() < 2 || !ShapedType::isDynamic(op.getStaticLoopRanges()[1]) || isMatrixThere;
  }

  /// Whether `user` can have its operand `use`, a view of `scratch`, in registers.
  bool allows(Operation *user, OpOperand &use, const Register &r) {
    auto agrees = [&](Value v) {
      const Register *other = registerOf(v);
      // Of a matrix and a vector of other rows, the vector goes to memory.
      return !other || other->fragments == r.fragments || (other->isVector && !r.isVector) ||
             (r.isVector && haveSameRows(other->fragments, r.fragments));
    };
    if (isa<memref::DimOp>(user))
      return true;
    if (auto copy = dyn_cast<memref::CopyOp>(user))
      return agrees(copy.getSource()) && agrees(copy.getTarget());
    auto generic = dyn_cast<linalg::GenericOp>(user);
    if (!generic)
      return false;
    if (auto p = Product::match(generic)) {
      bool isTiled = llvm::any_of(tiled, [&](const Product &t) { return t.op == generic; });
      if (!isTiled || use.get() == p->b)
        return false;
      const Register *out = registerOf(p->out);
      if (use.get() == p->out)
        return out == &r || (out && out->fragments == r.fragments);
      // Accumulators become the a operand of the same rows.
      return !r.isVector && out && r.fragments.warpsN == 1 && out->fragments.warpsM == r.fragments.warpsM &&
             out->fragments.fm == r.fragments.fm && p->k % 16 == 0 && p->k <= r.fragments.columns();
    }
    if (!canRunOnFragments(generic) || isVectorUse(generic, use) != std::optional<bool>(r.isVector) ||
        !covers(r, generic))
      return false;
    if (generic.getNumReductionLoops() &&
        (r.fragments.warpsN != 1 || llvm::none_of(generic.getDpsInputs(), [&](Value v) { return registerOf(v) && !registerOf(v)->isVector; })))
      return false;
    return llvm::all_of(generic->getOperands(), agrees);
  }

  /// Sends scratch to shared memory that some user cannot have in registers. Returns whether there was any.
  bool demote() {
    SmallVector<Operation *> bad;
    for (auto &[scratch, r] : layouts.registers) {
      SmallVector<Value> views{scratch->getResult(0)};
      bool isGood = true;
      while (isGood && !views.empty())
        for (OpOperand &use : views.pop_back_val().getUses()) {
          Operation *user = use.getOwner();
          if (isa<memref::SubViewOp>(user)) {
            isGood &= isPrefix(user->getResult(0));
            views.push_back(user->getResult(0));
          } else {
            isGood &= allows(user, use, r);
          }
        }
      if (!isGood)
        bad.push_back(scratch);
    }
    for (Operation *scratch : bad)
      layouts.registers.erase(scratch);
    return !bad.empty();
  }

  void settle(Form form) {
    for (const Product &p : tiled)
      if (const Register *r = registerOf(p.out)) {
        layouts.forms[p.op] = form;
        layouts.products[p.op] = p;
        layouts.fragmentsOf[p.op] = r->fragments;
      }
    kernel.walk([&](Operation *op) {
      if (!isa<linalg::GenericOp, memref::CopyOp>(op) || layouts.forms.contains(op))
        return;
      bool isMatrixThere = false; // whose columns count
      for (Value v : op->getOperands())
        if (const Register *r = registerOf(v); r && !isMatrixThere) {
          layouts.forms[op] = Form::fragments;
          layouts.fragmentsOf[op] = r->fragments;
          isMatrixThere = !r->isVector;
        }
    });
    if (form == Form::tiled)
      lookAhead();
    if (layouts.registers.empty())
      layouts.threads = kWarp;
  }

  /// Whether `v` can be computed for another iteration of `loop`.
  static bool isOfIteration(Value v, scf::ForOp loop) {
    if (v == loop.getInductionVar() || !loop->isAncestor(v.getParentBlock()->getParentOp()))
      return true;
    Operation *op = v.getDefiningOp();
    return op && op->getParentOp() == loop && isMemoryEffectFree(op) && op->getNumRegions() == 0 &&
           llvm::all_of(op->getOperands(), [&](Value operand) { return isOfIteration(operand, loop); });
  }

  /// Finds the loops that bring their products' operands an iteration ahead.
  void lookAhead() {
    constexpr int64_t kBytes = 96 << 10; // of a loop's two slots: another block or two fit beside it
    llvm::DenseMap<Operation *, int64_t> bytes;
    for (const Product &p : tiled) {
      auto loop = dyn_cast<scf::ForOp>(p.op->getParentOp());
      if (layouts.forms.lookup(p.op) != Form::tiled || !loop || !scratchOf(p.a) || scratchOf(p.b) || !isOfIteration(p.b, loop))
        continue;
      int64_t tile = 2 * elementsOfB(p, layouts.fragmentsOf.find(p.op)->second, llvm::alignTo(p.k, 16));
      if (tile > kMaxTileBytes || bytes[loop] + 2 * tile > kBytes)
        continue;
      bytes[loop] += 2 * tile;
      layouts.ahead[loop].push_back(p.op);
    }
  }

  func::FuncOp kernel;
  int64_t maxWarps;
  bool hasWarpgroups;
  SmallVector<Product> tiled;
  llvm::SmallDenseSet<Type> reduced; ///< types of scratch whose rows the kernel reduces
  bool wholeRows = false, isChain = false;
  Layouts layouts;
};

} // namespace

Layouts assignLayouts(func::FuncOp kernel, int64_t maxThreads, Cores cores) {
  return cores == Cores::none ? Layouts() : Assignment(kernel, maxThreads, cores == Cores::warpgroups).run();
}

} // namespace llmc
