// Products of sm_90a: wgmma on operands in shared memory that the copy engine (TMA) brings. See Layout.h for where everything lies.
//
//   producer, one thread of the last warp      consumers, whole warpgroups
//     for every tile i of 64 k:                  for every tile i:
//       wait: its slot is empty                    wait: its slot is full
//       expect its bytes; copy a, copy b           4 wgmma of 16 k; all but these have ended: tile i - 1's slot is empty
//
// In a cluster the blocks' producers fetch b for each other, so a slot is empty when the consumers of all blocks say so.
//
// Where products are in a loop that is shared out (Layout.h), each has one tile an iteration, and the producer has a loop of its own.
//
// Slots and phases go on from one product of a kernel to the next, and from one workgroup to the next, so no barrier lies between them.
#include "codegen/cuda/TensorCore.h"
#include "codegen/cuda/TensorMaps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
namespace llmc {
namespace {

constexpr int64_t kStep = 16;               ///< k of a wgmma
constexpr int64_t kRowsA = 64;             ///< of a wgmma
constexpr int64_t kTileRowBytes = 2 * WarpgroupRing::kTile; ///< of a's tile: the span of its swizzle
constexpr int64_t kPanelRowBytes = 64;     ///< 32 columns: the span of b's
constexpr int64_t kWaitNanoseconds = 1000000; ///< of one try; the wait tries again

/// A matrix descriptor but for the address (PTX ISA, wgmma: all in units of 16 bytes). `leading`: bytes from 32 columns of b to the next; of
/// no meaning for a. `stride`: bytes from 8 rows of a, or 8 k of b, to the next.
constexpr int64_t descriptorOf(int64_t leading, int64_t stride, int64_t swizzle) {
  return int64_t(uint64_t(leading >> 4) << 16 | uint64_t(stride >> 4) << 32 | uint64_t(swizzle) << 62);
}
constexpr int64_t kSwizzle128 = 1, kSwizzle64 = 2; ///< in a descriptor
constexpr int64_t kDescriptorA = descriptorOf(16, 8 * kTileRowBytes, kSwizzle128);

/// The ring's slots, by the numbers of the tiles that go through it.
class Slots {
public:
  Slots(ThreadCode &t, const WarpgroupRing &ring, const BlockStorage::Ring &place) : ring(ring), place(place), t(t) {}

  /// A tile's slot, and the parity of the phases that its turn in it has.
  struct Turn {
    Value slot, parity;
  };
  Turn turnOf(Value number) {
    Value parity = arith::IndexCastUIOp::create(t.b, t.loc, t.b.getI32Type(), t.rem(t.div(number, ring.stages), 2));
    return {t.rem(number, ring.stages), parity};
  }
  /// Where the memory of the turn's slot begins, in bytes.
  Value offsetOf(const Turn &turn) { return t.mul(turn.slot, ring.stageBytes); }
  Value memoryAt(Value offset) { return t.pointer(place.memory, {offset}, Space::shared); }
  Value full(const Turn &turn) { return t.pointer(place.barriers, {t.mul(turn.slot, 8)}, Space::shared); }

  void waitUntilFull(const Turn &turn) { wait(full(turn), turn.parity); }
  /// The first turns find the phase "before the first" ended.
  void waitUntilEmpty(const Turn &turn) { wait(empty(turn), arith::XOrIOp::create(t.b, t.loc, turn.parity, t.i32(1))); }

  /// One warp tells that it reads the turn's tile no more: the own block, or, a lane for each, all blocks of the cluster.
  void release(const Turn &turn) {
    if (ring.blocks == 1)
      return onLane0([&] { NVVM::MBarrierArriveOp::create(t.b, t.loc, Type(), empty(turn), Value()); });
    t.where(t.less(t.lane, t.index(ring.blocks)), [&] {
      Value block = arith::IndexCastUIOp::create(t.b, t.loc, t.b.getI32Type(), t.lane);
      Type inCluster = LLVM::LLVMPointerType::get(t.b.getContext(), kClusterSpace);
      Value there = NVVM::MapaOp::create(t.b, t.loc, inCluster, empty(turn), block);
      NVVM::MBarrierArriveOp::create(t.b, t.loc, Type(), there, Value(), NVVM::MemScopeKind::CLUSTER);
    });
  }

  void onLane0(function_ref<void()> body) {
    t.where(arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::eq, t.lane, t.index(0)), body);
  }
  /// Tiles that have gone through before.
  Value position() { return memref::LoadOp::create(t.b, t.loc, place.position, t.index(0)); }
  void setPosition(Value number) { memref::StoreOp::create(t.b, t.loc, number, place.position, t.index(0)); }

  const WarpgroupRing &ring;
  const BlockStorage::Ring place;

private:
  Value empty(const Turn &turn) { return t.pointer(place.barriers, {t.add(t.mul(turn.slot, 8), 8 * ring.stages)}, Space::shared); }
  void wait(Value barrier, Value parity) {
    NVVM::MBarrierTryWaitParityOp::create(t.b, t.loc, barrier, parity, t.i32(kWaitNanoseconds));
  }
  ThreadCode &t;
};

/// Makes the branches of the consumers, which are the first `consumers` warps, and of the producer. The number of the warp by way of a shuffle:
/// so the assembler knows that a warp takes one branch as a whole, without which it lets every wgmma end before the next begins.
scf::IfOp branchByRole(ThreadCode &t, int64_t consumers, Value &warp) {
  Value own = arith::DivUIOp::create(t.b, t.loc, t.thread, t.i32(kWarp));
  warp = t.toIndex(NVVM::ShflOp::create(t.b, t.loc, own.getType(), t.i32(-1), own, t.i32(0), t.i32(kWarp - 1), NVVM::ShflKind::idx,
                                        UnitAttr()));
  return scf::IfOp::create(t.b, t.loc, t.less(warp, t.index(consumers)), /*withElseRegion=*/true);
}

/// b's argument as boxes of panels, or of rows of k.
std::optional<GlobalBox> boxOfB(const Product &p) {
  for (unsigned inner : {2, 3, 1}) // of weights [E, P, K, 32] and values [SLOTS, CTX, N], of keys [SLOTS, CTXB, N, 32], of a matrix
    if (auto box = inner == 1 && p.isPanels ? std::nullopt : GlobalBox::of(p.b, inner))
      return box;
  return std::nullopt;
}

class WarpgroupProduct {
public:
  WarpgroupProduct(ThreadCode &t, const Product &p, const Fragments &f, const Slots &slots, BlockStorage &storage)
      : t(t), p(p), f(f), slots(slots), b(*boxOfB(p)), aRegisters(storage.registersOf(p.a)), sums(storage.registersOf(p.out)),
        kTile(WarpgroupRing::tileOf(p)), tiles(llvm::divideCeil(p.k, kTile)), panels(llvm::divideCeil(p.columns, 32)) {
    const WarpgroupRing &ring = slots.ring;
    if (!scratchOf(p.a)) {
      a = *GlobalBox::of(p.a, 1);
      mapA = tensorMapOf(t, *a, {f.rows(), kTile}, Swizzle::bytes128);
    } else if (!aRegisters) {
      aMade = storage.slotsOf(p.op);
    }
    // A block of a cluster fetches its share of the panels; those that cannot be shared out evenly, the first fetches.
    share = panels % ring.blocks ? panels : panels / ring.blocks;
    mapB = p.isPanels ? tensorMapOf(t, b, {share, kTile, 32}, Swizzle::bytes64) : tensorMapOf(t, b, {kTile, 32}, Swizzle::bytes64);
  }

  /// All tiles, for who is consumer or producer of them.
  void emit() {
    Value first = slots.position();
    scf::IfOp branch = branchByRole(t, f.warpsM, warp);
    {
      OpBuilder::InsertionGuard guard(t.b);
      t.b.setInsertionPoint(branch.thenYield());
      consume(first);
      t.b.setInsertionPoint(branch.elseYield());
      slots.onLane0([&] {
        t.loop(t.index(0), t.index(tiles), 1, [&](Value i) { produce(t.add(first, i), t.mul(i, kTile)); });
      });
    }
    slots.setPosition(t.add(first, tiles));
  }

  /// The only tile, which is number `number` of the ring's, by who consumes it.
  void consumeOne(Value number, Value ownWarp) {
    warp = ownWarp;
    Slots::Turn turn = slots.turnOf(number);
    slots.waitUntilFull(turn);
    Value all = multiplyTile(turn, descriptorOfA(), descriptor(slots.memoryAt(t.index(bytesA())), descriptorB()), sumsAsStruct());
    NVVM::WgmmaWaitGroupSyncOp::create(t.b, t.loc, 0);
    slots.release(turn);
    storeSums(all);
  }

  /// Asks for the tile that is number `number` of the ring's, of k from `k` on.
  void produce(Value number, Value k) {
    Slots::Turn turn = slots.turnOf(number);
    slots.waitUntilEmpty(turn);
    Value barrier = slots.full(turn), at = slots.offsetOf(turn), zero = t.index(0), toB = t.add(at, bytesA());
    NVVM::MBarrierArriveExpectTxOp::create(t.b, t.loc, Type(), barrier, t.i32(bytesA() + panels * panelBytes()), NVVM::MemScopeKind::CTA,
                                           /*relaxed=*/false, Value());
    if (a)
      copyBox(t, mapA, *a, {zero, k}, slots.memoryAt(at), barrier);
    if (!p.isPanels) {
      for (int64_t panel = 0; panel < panels; ++panel)
        copyBox(t, mapB, b, {k, t.index(32 * panel)}, slots.memoryAt(t.add(toB, panel * panelBytes())), barrier);
      return;
    }
    if (slots.ring.blocks == 1)
      return copyBox(t, mapB, b, {zero, k, zero}, slots.memoryAt(toB), barrier);
    Value mine = t.mul(rank(), share), isMine = t.less(mine, t.index(panels));
    t.where(share < panels ? Value() : isMine, [&] {
      copyBox(t, mapB, b, {mine, k, zero}, slots.memoryAt(t.add(toB, t.mul(mine, panelBytes()))), barrier, slots.ring.blocks);
    });
  }

  /// Writes an a that the block has made to where wgmma reads it: see Layout.h. The threads share it out.
  void settleA(Value memory) {
    constexpr int64_t kChunk = 8; // elements of 16 bytes
    Type words = VectorType::get({4}, t.b.getI32Type());
    SmallVector<OpFoldResult> extents{t.b.getIndexAttr(f.rows()), t.b.getIndexAttr(p.k / kChunk)};
    t.overThreads(extents, [&](ArrayRef<Value> at) {
      Value row = at[0], slot = t.div(at[1], kTileRowBytes / 16), chunk = t.rem(at[1], kTileRowBytes / 16);
      Value place = arith::XOrIOp::create(t.b, t.loc, chunk, t.rem(row, 8));
      Value to = t.add(t.add(t.mul(slot, bytesOfSlotA()), t.mul(row, kTileRowBytes)), t.mul(place, 16));
      Value chunkOfA = LLVM::LoadOp::create(t.b, t.loc, words, t.pointer(p.a, {row, t.mul(at[1], kChunk)}, Space::shared), 16);
      LLVM::StoreOp::create(t.b, t.loc, chunkOfA, t.pointer(memory, {to}, Space::shared), 16);
    });
  }
  /// The bytes of an a that the block makes.
  int64_t bytesOfMadeA() { return llvm::divideCeil(p.k, WarpgroupRing::kTile) * bytesOfSlotA(); }

private:
  int64_t bytesOfSlotA() { return f.rows() * kTileRowBytes; }
  int64_t bytesA() { return a ? bytesOfSlotA() : 0; }
  int64_t panelBytes() { return kTile * kPanelRowBytes; }
  /// The stride is from 8 k to the next, the leading offset from 32 columns to the next.
  int64_t descriptorB() { return descriptorOf(panelBytes(), 8 * kPanelRowBytes, kSwizzle64); }

  /// The block's number in its cluster.
  Value rank() { return t.rem(t.toIndex(NVVM::BlockIdXOp::create(t.b, t.loc, t.b.getI32Type())), slots.ring.blocks); }

  void consume(Value first) {
    Value ofA = descriptorOfA(), ofB = descriptor(slots.memoryAt(t.index(bytesA())), descriptorB());
    auto loop = scf::ForOp::create(t.b, t.loc, t.index(0), t.index(tiles), t.index(1), ValueRange{sumsAsStruct()});
    {
      OpBuilder::InsertionGuard guard(t.b);
      t.b.setInsertionPointToStart(loop.getBody());
      Value i = loop.getInductionVar(), number = t.add(first, i);
      Slots::Turn turn = slots.turnOf(number);
      slots.waitUntilFull(turn);
      Value all = multiplyTile(turn, ofA, ofB, loop.getRegionIterArgs()[0]);
      NVVM::WgmmaWaitGroupSyncOp::create(t.b, t.loc, 1);
      Value isLater = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::ne, i, t.index(0));
      t.where(isLater, [&] { slots.release(slots.turnOf(arith::SubIOp::create(t.b, t.loc, number, t.index(1)))); });
      scf::YieldOp::create(t.b, t.loc, all);
    }
    NVVM::WgmmaWaitGroupSyncOp::create(t.b, t.loc, 0);
    slots.release(slots.turnOf(t.add(first, tiles - 1)));
    storeSums(loop.getResult(0));
  }

  Value number(int64_t v) { return LLVM::ConstantOp::create(t.b, t.loc, t.b.getI64Type(), t.b.getI64IntegerAttr(v)); }
  Value advanced(Value descriptor, int64_t bytes) { return LLVM::AddOp::create(t.b, t.loc, descriptor, number(bytes >> 4)); }

  Value multiplyTile(const Slots::Turn &turn, Value ofA, Value ofB, Value all) {
    Value slot = arith::IndexCastOp::create(t.b, t.loc, t.b.getI64Type(), turn.slot);
    Value away = LLVM::MulOp::create(t.b, t.loc, slot, number(slots.ring.stageBytes >> 4));
    Value atB = LLVM::AddOp::create(t.b, t.loc, ofB, away), atA = a ? LLVM::AddOp::create(t.b, t.loc, ofA, away) : ofA;
    SmallVector<OperandA> registers;
    for (int64_t k = 0; aRegisters && k < kTile; k += kStep)
      registers.push_back(fragmentOfA(t, aRegisters, k));
    NVVM::WgmmaFenceAlignedOp::create(t.b, t.loc);
    for (int64_t k = 0; k < kTile; k += kStep) {
      // 16 k are 32 bytes of a row of a, and 16 rows of b.
      Value stepB = advanced(atB, k * kPanelRowBytes);
      if (aRegisters) {
        all = multiplyWarpgroup(t, registers[k / kStep], stepB, all);
        continue;
      }
      Value stepA = advanced(atA, k / WarpgroupRing::kTile * bytesOfSlotA() + 2 * (k % WarpgroupRing::kTile));
      auto shape = NVVM::MMAShapeAttr::get(t.b.getContext(), kRowsA, 8 * f.fn, kStep);
      all = NVVM::WgmmaMmaAsyncOp::create(t.b, t.loc, all.getType(), all, stepA, stepB, shape, NVVM::WGMMATypes::bf16,
                                          NVVM::WGMMATypes::bf16, NVVM::WGMMATypes::f32, NVVM::WGMMAScaleOut::one,
                                          NVVM::WGMMAScaleIn::one, NVVM::WGMMAScaleIn::one, NVVM::MMALayout::row,
                                          NVVM::MMALayout::row, NVVM::MMAIntOverflowAttr());
    }
    NVVM::WgmmaGroupSyncAlignedOp::create(t.b, t.loc);
    return all;
  }

  /// Of the warpgroup's 64 rows, where they begin in the first slot, or in what the block has made; null for registers.
  Value descriptorOfA() {
    if (aRegisters)
      return Value();
    Value rows = t.mul(t.div(warp, 4), kRowsA * kTileRowBytes);
    return descriptor(aMade ? t.pointer(aMade, {rows}, Space::shared) : slots.memoryAt(rows), kDescriptorA);
  }

  /// `form` with the address.
  Value descriptor(Value pointer, int64_t form) {
    Value address = LLVM::PtrToIntOp::create(t.b, t.loc, t.b.getI64Type(), pointer);
    address = LLVM::AndOp::create(t.b, t.loc, address, number(0x3ffff)); // 18 bits, of which the lowest 4 are zero
    address = LLVM::LShrOp::create(t.b, t.loc, address, number(4));
    return LLVM::OrOp::create(t.b, t.loc, address, number(form));
  }

  Value sumsAsStruct() {
    Type type = LLVM::LLVMStructType::getLiteral(t.b.getContext(), SmallVector<Type>(f.registers(), t.b.getF32Type()));
    Value all = LLVM::UndefOp::create(t.b, t.loc, type);
    for (int64_t i = 0; i < f.registers(); ++i)
      all = LLVM::InsertValueOp::create(t.b, t.loc, all, memref::LoadOp::create(t.b, t.loc, sums, t.index(i)), i);
    return all;
  }
  void storeSums(Value all) {
    for (int64_t i = 0; i < f.registers(); ++i)
      memref::StoreOp::create(t.b, t.loc, LLVM::ExtractValueOp::create(t.b, t.loc, all, i), sums, t.index(i));
  }

  ThreadCode &t;
  const Product &p;
  const Fragments &f;
  Slots slots;
  std::optional<GlobalBox> a; ///< where a comes through the ring
  GlobalBox b;
  Value aRegisters, sums, aMade;
  int64_t kTile, tiles, panels, share;
  Value mapA, mapB, warp;
};

/// The number of the tile that product `place` of the loop's `count` has in iteration `i`.
Value tileOf(ThreadCode &t, scf::ForOp loop, Value first, Value i, int64_t place, int64_t count) {
  Value past = arith::SubIOp::create(t.b, t.loc, i, loop.getLowerBound());
  return t.add(t.add(first, t.mul(arith::DivUIOp::create(t.b, t.loc, past, loop.getStep()), count)), place);
}

/// Whether the extent of `view`'s dimension `dim` is `most`, or what is left of the argument: copies give zeros for the rest.
bool endsWithArgument(Value view, unsigned dim, int64_t most) {
  if (!cast<MemRefType>(view.getType()).isDynamicDim(dim))
    return true;
  auto part = view.getDefiningOp<memref::SubViewOp>();
  if (!part || !isa<BlockArgument>(part.getSource()))
    return false;
  llvm::SmallBitVector dropped = part.getDroppedDims();
  unsigned of = 0; // the dimension of the argument
  for (unsigned left = dim; dropped[of] || left; ++of)
    left -= !dropped[of];
  auto size = dyn_cast<Value>(part.getMixedSizes()[of]);
  auto least = size ? size.getDefiningOp<arith::MinSIOp>() : arith::MinSIOp();
  if (!least)
    return false;
  for (auto [known, other] : {std::pair(least.getLhs(), least.getRhs()), std::pair(least.getRhs(), least.getLhs())}) {
    auto rest = other.getDefiningOp<arith::SubIOp>();
    auto extent = rest ? rest.getLhs().getDefiningOp<memref::DimOp>() : memref::DimOp();
    if (getConstantIntValue(known) == most && extent && extent.getSource() == part.getSource() && extent.getConstantIndex() == int64_t(of) &&
        OpFoldResult(rest.getRhs()) == part.getMixedOffsets()[of])
      return true;
  }
  return false;
}

/// An a that the block makes: all of its k are at once in shared memory or registers, and b's in a slot.
bool canMultiplyMade(const Product &p) {
  constexpr int64_t kMostK = 256; // of a box
  if (p.k % kStep || p.k > kMostK)
    return false;
  auto b = boxOfB(p);
  if (p.isPanels)
    return b->extentFromLast(0) == 32 && getConstantIntValue(b->offsetFromLast(0)) == 0 && p.columns % 32 == 0 && endsWithArgument(p.b, 0, p.columns / 32);
  return endsWithArgument(p.b, 0, p.k) && !cast<MemRefType>(p.b.getType()).isDynamicDim(1);
}

} // namespace

bool canUseWarpgroups(const Product &p) {
  auto b = boxOfB(p);
  if (!b || p.isTransposed || p.rows % kRowsA || p.rows > 4 * kRowsA || p.columns > WarpgroupRing::kMaxColumns)
    return false;
  if (scratchOf(p.a))
    return canMultiplyMade(p);
  auto a = GlobalBox::of(p.a, 1);
  bool isOnePanel = cast<MemRefType>(p.b.getType()).getRank() == 2 && p.columns <= 32;
  if (p.isRagged || !a || b->inner != 2 || !(p.isPanels || isOnePanel) || b->extentFromLast(0) != 32 || getConstantIntValue(b->offsetFromLast(0)) != 0)
    return false;
  // Zeros stand in for the k that fill up the last tile only where the argument ends there.
  auto endsThere = [&](const GlobalBox &box, unsigned dim) {
    return box.extentFromLast(dim) == p.k && getConstantIntValue(box.offsetFromLast(dim)) == 0;
  };
  return p.k % WarpgroupRing::kTile == 0 || (endsThere(*a, 0) && endsThere(*b, 1));
}

WarpgroupRing WarpgroupRing::of(ArrayRef<Product> products) {
  constexpr int64_t kDeep = 8, kDeepBytes = 128 << 10; // of a loop that has the block's shared memory to itself but for an a
  int64_t tiles = 0;
  WarpgroupRing ring;
  bool isLoop = false;
  for (const Product &p : products) {
    tiles = std::max<int64_t>(tiles, llvm::divideCeil(p.k, tileOf(p)));
    int64_t bytesOfA = scratchOf(p.a) ? 0 : p.rows * kTileRowBytes;
    isLoop |= !bytesOfA;
    ring.stageBytes = std::max(ring.stageBytes, bytesOfA + int64_t(llvm::divideCeil(p.columns, 32)) * tileOf(p) * kPanelRowBytes);
  }
  ring.stageBytes = llvm::alignTo(ring.stageBytes, kAlignment);
  ring.stages = tiles > 2 ? 4 : 2;
  if (isLoop)
    for (ring.stages = kDeep; ring.stages > 2 && ring.stages * ring.stageBytes > kDeepBytes;)
      ring.stages /= 2;
  return ring;
}

BlockStorage::Ring BlockStorage::ring() {
  if (theRing)
    return *theRing;
  const WarpgroupRing &ring = *layouts.ring;
  Ring made;
  made.memory = t.allocateShared(ring.stages * ring.stageBytes, WarpgroupRing::kAlignment);
  made.barriers = t.allocateShared(16 * ring.stages);
  made.position = t.allocateRegisters(1, t.b.getIndexType());
  OpBuilder::InsertionGuard guard(t.b);
  t.b.setInsertionPointAfter(t.lane.getDefiningOp());
  memref::StoreOp::create(t.b, t.loc, t.index(0), made.position, t.index(0));
  t.where(arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::eq, t.thread, t.i32(0)), [&] {
    int64_t consumers = (t.threads / kWarp - 1) * ring.blocks;
    for (int64_t i = 0; i < 2 * ring.stages; ++i)
      NVVM::MBarrierInitOp::create(t.b, t.loc, t.pointer(made.barriers, {t.index(8 * i)}, Space::shared),
                                   t.i32(i < ring.stages ? 1 : consumers), Value());
    NVVM::FenceMbarrierInitOp::create(t.b, t.loc);
  });
  if (ring.blocks > 1) {
    NVVM::ClusterArriveOp::create(t.b, t.loc, t.b.getUnitAttr());
    NVVM::ClusterWaitOp::create(t.b, t.loc, t.b.getUnitAttr());
  } else {
    t.barrier();
  }
  theRing = made;
  return made;
}

void emitWarpgroupProduct(ThreadCode &t, const Product &product, const Layouts &layouts, BlockStorage &storage) {
  Slots slots(t, *layouts.ring, storage.ring());
  WarpgroupProduct code(t, product, layouts.fragmentsOf.find(product.op)->second, slots, storage);
  auto loop = dyn_cast_or_null<scf::ForOp>(layouts.loopOf(product.op));
  if (!loop)
    return code.emit();
  const BlockStorage::Shared &shared = storage.sharedLoop(loop);
  ArrayRef<Operation *> products = layouts.ahead.find(loop)->second;
  int64_t place = llvm::find(products, product.op) - products.begin();
  code.consumeOne(tileOf(t, loop, shared.first, loop.getInductionVar(), place, products.size()), shared.warp);
}

void shareLoop(ThreadCode &t, scf::ForOp loop, const Layouts &layouts, BlockStorage &storage) {
  ArrayRef<Operation *> products = layouts.ahead.find(loop)->second;
  t.b.setInsertionPoint(loop);
  t.loc = loop.getLoc();
  Slots slots(t, *layouts.ring, storage.ring());
  auto codeOf = [&](const Product &p) { return WarpgroupProduct(t, p, layouts.fragmentsOf.find(p.op)->second, slots, storage); };
  bool isMade = false;
  for (Operation *op : products) {
    const Product &p = layouts.products.find(op)->second;
    if (storage.registersOf(p.a))
      continue;
    if (!isMade && loop->getParentOfType<scf::ForOp>()) // it may have run before
      t.barrier();
    isMade = true;
    WarpgroupProduct code = codeOf(p);
    Value memory = t.allocateShared(code.bytesOfMadeA(), WarpgroupRing::kAlignment);
    storage.slotsOf(op) = memory;
    code.settleA(memory);
  }
  if (isMade) { // wgmma reads by another way than threads write
    NVVM::FenceProxyOp::create(t.b, t.loc, NVVM::ProxyKind::async_shared,
                               NVVM::SharedSpaceAttr::get(t.b.getContext(), NVVM::SharedSpace::shared_cta));
    t.barrier();
  }
  BlockStorage::Shared &shared = storage.sharedLoop(loop);
  shared.first = slots.position();
  scf::IfOp branch = branchByRole(t, layouts.threads / kWarp - 1, shared.warp);
  loop->moveBefore(branch.thenYield());
  t.b.setInsertionPoint(branch.elseYield());
  slots.onLane0([&] {
    auto own = scf::ForOp::create(t.b, t.loc, loop.getLowerBound(), loop.getUpperBound(), loop.getStep());
    OpBuilder::InsertionGuard guard(t.b);
    t.b.setInsertionPointToStart(own.getBody());
    for (auto [place, op] : llvm::enumerate(products)) {
      Product p = layouts.products.find(op)->second;
      IRMapping mapping;
      mapping.map(loop.getInductionVar(), own.getInductionVar());
      p.b = t.forIteration(p.b, loop, mapping);
      codeOf(p).produce(tileOf(t, loop, shared.first, own.getInductionVar(), place, products.size()), t.index(0));
    }
  });
  t.b.setInsertionPointAfter(branch);
  Value span = arith::SubIOp::create(t.b, t.loc, loop.getUpperBound(), loop.getLowerBound());
  Value trips = arith::CeilDivUIOp::create(t.b, t.loc, arith::MaxSIOp::create(t.b, t.loc, span, t.index(0)), loop.getStep());
  slots.setPosition(t.add(shared.first, t.mul(trips, products.size())));
}

} // namespace llmc
