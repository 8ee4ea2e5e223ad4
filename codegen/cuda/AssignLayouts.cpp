// Which buffers live in registers and how each op runs: products say what they want, their neighbours follow, and what cannot follow
// goes to shared memory. See Layout.h.
#include "codegen/cuda/Layout.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;
namespace llmc {

/// Rows up to which a product is bound by reading its weights.
static constexpr int64_t kStreamedRows = 16;
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
  auto scratch = scratchOf(p.out);
  if (!isNarrow(p.a) || !isNarrow(p.b) || !cast<MemRefType>(p.out.getType()).getElementType().isF32() ||
      ShapedType::isDynamic(ranges[1]) || ShapedType::isDynamic(ranges[2]))
    return std::nullopt;
  p.columns = ranges[1];
  p.k = ranges[2];
  if (!ShapedType::isDynamic(ranges[0]))
    p.rows = ranges[0];
  else if (scratch && scratch.getType().getRank() == 2)
    p.rows = scratch.getType().getDimSize(0);
  else
    return std::nullopt;
  p.aWidth = std::gcd(alignedElements(p.a), p.k);
  p.bWidth = std::gcd(alignedElements(p.b), p.isTransposed ? p.k : p.columns);
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
    wholeRows = !reduced.empty();
    // The rows of one product become the operand of another beside it; else they are reduced and that is all.
    isChain = wholeRows && llvm::any_of(all, [&](const Product &p) {
                return llvm::any_of(all, [&](const Product &q) { return p.op != q.op && p.op->getBlock() == q.op->getBlock(); });
              });
    for (const Product &p : all) {
      bool isFew = p.rows <= kStreamedRows && !isChain;
      if (isFew && !scratchOf(p.b) && p.bWidth == 8 && p.aWidth >= 4 && p.columns % 32 == 0 &&
          !p.isTransposed && (p.isPanels || p.columns == 32)) {
        layouts.forms[p.op] = Form::streamed;
        layouts.products[p.op] = p;
      } else if (!isFew && p.bWidth >= 2 && scratchOf(p.out) && isPrefix(p.out) && !scratchOf(p.b) &&
                 (scratchOf(p.a) ? isPadable(p.a) : p.aWidth >= 2)) {
        tiled.push_back(p);
      }
    }
  }

  /// A reduction of rows of scratch that a product may have made: the softmax of attention, which keeps few rows in registers too, or numbers
  /// over logits.
  static bool reducesRows(linalg::GenericOp op, ArrayRef<Product> products) {
    if (op.getNumLoops() != 2 || op.getNumReductionLoops() != 1 || op.getNumDpsInputs() != 1)
      return false;
    auto in = scratchOf(op.getDpsInputs()[0]);
    return in && llvm::any_of(products, [&](const Product &p) {
             auto out = scratchOf(p.out);
             return out && out.getType() == in.getType();
           });
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
    if (form == Form::warpgroup && !areAll) {
      layouts.registers.clear();
      tiled = wanted;
      return false;
    }
    settle(form);
    return areAll;
  }

  /// Products on warpgroups keep the producer's warp out of what they do, so all of a kernel's are of one kind, with rows in common.
  bool wantsWarpgroups() {
    return hasWarpgroups && !isChain && layouts.products.empty() && llvm::all_of(tiled, [&](const Product &p) {
             return canUseWarpgroups(p) && p.rows == tiled[0].rows && p.rows <= 16 * maxWarps && onWarpgroups(p).registers() <= kMaxRegisters;
           });
  }
  static Fragments onWarpgroups(const Product &p) { return {p.rows / 16, 1, 1, int64_t(llvm::divideCeil(p.columns, 8))}; }

  void seedWarpgroups() {
    for (const Product &p : tiled)
      layouts.registers[scratchOf(p.out)] = {onWarpgroups(p), false};
    layouts.ring = WarpgroupRing::of(tiled);
    layouts.threads = (tiled[0].rows / 16 + 1) * kWarp;
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
    for (const Product &p : tiled) // nor where warps that wider products wanted would have no rows
      if (!reduced.contains(scratchOf(p.out).getType()) && 2 * p.rows <= 16 * warps)
        cut.insert(p.op);
    layouts.threads = warps * kWarp;
    auto fragmentsOf = [&](const Product &p) { return Fragments::of(p.rows, p.columns, warps, !cut.contains(p.op)); };
    llvm::erase_if(tiled, [&](const Product &p) { return fragmentsOf(p).registers() > kMaxRegisters; });
    for (const Product &p : tiled)
      layouts.registers[scratchOf(p.out)] = {fragmentsOf(p), false};
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
    if (isReduction && (op.getNumDpsInputs() != 1 || op.getNumDpsInits() != 1 ||
                        !cast<MemRefType>(op.getDpsInits()[0].getType()).getElementType().isF32()))
      return false;
    for (OpOperand &init : op.getDpsInitsMutable()) {
      AffineMap map = op.getMatchingIndexingMap(&init);
      if (!(isReduction || loops == 1 ? isMap(map, {0}) : isMap(map, {0, 1})))
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

  /// Whether the fragments reach as far as `op` does: a vector in registers may meet wider rows in memory.
  bool covers(const Fragments &f, linalg::GenericOp op) {
    int64_t most[] = {f.rows(), f.columns()};
    for (auto [range, end] : llvm::zip(op.getStaticLoopRanges(), most))
      if (!ShapedType::isDynamic(range) && range > end)
        return false;
    // Where only the kernel knows how many columns there are, a matrix in registers bounds them.
    return op.getNumLoops() < 2 || !ShapedType::isDynamic(op.getStaticLoopRanges()[1]) ||
           llvm::any_of(op->getOperands(), [&](Value v) {
             const Register *r = registerOf(v);
             return r && !r->isVector;
           });
  }

  /// Whether `user` can have its operand `use`, a view of `scratch`, in registers.
  bool allows(Operation *user, OpOperand &use, const Register &r) {
    auto agrees = [&](Value v) {
      const Register *other = registerOf(v);
      // Of a matrix and a vector of other rows, the vector goes to memory.
      return !other || other->fragments == r.fragments || (other->isVector && !r.isVector);
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
        !covers(r.fragments, generic))
      return false;
    if (generic.getNumReductionLoops() && (r.fragments.warpsN != 1 || !registerOf(generic.getDpsInputs()[0])))
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
      for (Value v : op->getOperands())
        if (const Register *r = registerOf(v)) {
          layouts.forms[op] = Form::fragments;
          layouts.fragmentsOf[op] = r->fragments;
        }
    });
    if (layouts.registers.empty())
      layouts.threads = kWarp;
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

void padOperands(Layouts &layouts) {
  constexpr int64_t kBank = 8; // elements of 16 bytes: rows lie an odd number of them apart
  for (auto &[op, product] : layouts.products) {
    product = *Product::match(product.op); // another product of the same operand may have replaced it
    auto scratch = scratchOf(product.a);
    if (layouts.forms.lookup(op) != Layouts::Form::tiled || !scratch || layouts.inRegisters(product.a) ||
        scratch->hasAttr("llm.shared"))
      continue;
    OpBuilder b(scratch);
    SmallVector<int64_t> shape(scratch.getType().getShape());
    shape.back() = llvm::alignTo(shape.back(), 16) + kBank; // whole steps of k
    auto padded = memref::AllocaOp::create(b, scratch.getLoc(), MemRefType::get(shape, scratch.getType().getElementType()),
                                           scratch.getAlignmentAttr());
    padded->setAttr("llm.shared", b.getUnitAttr());
    SmallVector<OpFoldResult> zeros(shape.size(), b.getIndexAttr(0)), ones(shape.size(), b.getIndexAttr(1)), sizes;
    for (int64_t size : scratch.getType().getShape())
      sizes.push_back(b.getIndexAttr(size));
    Value view = memref::SubViewOp::create(b, scratch.getLoc(), padded, zeros, sizes, ones);
    replaceBuffer(scratch, view);
    scratch.erase();
  }
  for (auto &[op, product] : layouts.products)
    product = *Product::match(product.op);
}

Layouts assignLayouts(func::FuncOp kernel, int64_t maxThreads, Cores cores) {
  return cores == Cores::none ? Layouts() : Assignment(kernel, maxThreads, cores == Cores::warpgroups).run();
}

} // namespace llmc
