// Products of sm_90a: wgmma on operands in shared memory that the copy engine (TMA) brings. See Layout.h for where everything lies.
//
//   producer, one thread of the last warp      consumers, whole warpgroups
//     for every tile i of 64 k:                  for every tile i:
//       wait: its slot is empty                    wait: its slot is full
//       expect its bytes; copy a, copy b           4 wgmma of 16 k; all but these have ended: tile i - 1's slot is empty
//
// In a cluster the blocks' producers fetch b for each other, so a slot is empty when the consumers of all blocks say so.
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

constexpr int64_t kTile = WarpgroupRing::kTile, kStep = 16;
constexpr int64_t kRowsA = 64;             ///< of a wgmma
constexpr int64_t kTileRowBytes = 2 * kTile; ///< of a's tile: the span of its swizzle
constexpr int64_t kPanelRowBytes = 64;     ///< 32 columns: the span of b's
constexpr int64_t kWaitNanoseconds = 1000000; ///< of one try; the wait tries again

/// A matrix descriptor but for the address (PTX ISA, wgmma: all in units of 16 bytes). `leading`: bytes from 32 columns of b to the next; of
/// no meaning for a. `stride`: bytes from 8 rows of a, or 8 k of b, to the next.
constexpr int64_t descriptorOf(int64_t leading, int64_t stride, int64_t swizzle) {
  return (leading >> 4) << 16 | (stride >> 4) << 32 | swizzle << 62;
}
constexpr int64_t kSwizzle128 = 1, kSwizzle64 = 2; ///< in a descriptor
constexpr int64_t kDescriptorA = descriptorOf(16, 8 * kTileRowBytes, kSwizzle128);
constexpr int64_t kDescriptorB = int64_t(uint64_t(descriptorOf(kTile * kPanelRowBytes, 8 * kPanelRowBytes, 0)) | uint64_t(kSwizzle64) << 62);

class WarpgroupProduct {
public:
  WarpgroupProduct(ThreadCode &t, const Product &p, const Fragments &f, const WarpgroupRing &ring, BlockStorage &storage)
      : t(t), f(f), ring(ring), a(*GlobalBox::of(p.a, 1)), b(*GlobalBox::of(p.b, 2)), sums(storage.registersOf(p.out)),
        tiles(llvm::divideCeil(p.k, kTile)), panels(llvm::divideCeil(p.columns, 32)), place(storage.ring()) {
    mapA = tensorMapOf(t, a, {f.rows(), kTile}, Swizzle::bytes128);
    // A block of a cluster fetches its share of the panels; those that cannot be shared out evenly, the first fetches.
    share = panels % ring.blocks ? panels : panels / ring.blocks;
    mapB = tensorMapOf(t, b, {share, kTile, 32}, Swizzle::bytes64);
  }

  void emit() {
    first = memref::LoadOp::create(t.b, t.loc, place.position, t.index(0));
    // The number of the warp by way of a shuffle: so the assembler knows that a warp takes one branch as a whole, without which it lets
    // every wgmma end before the next begins.
    Value own = arith::DivUIOp::create(t.b, t.loc, t.thread, t.i32(kWarp));
    warp = t.toIndex(NVVM::ShflOp::create(t.b, t.loc, own.getType(), t.i32(-1), own, t.i32(0), t.i32(kWarp - 1), NVVM::ShflKind::idx,
                                          UnitAttr()));
    Value isConsumer = t.less(warp, t.index(f.warpsM));
    auto branch = scf::IfOp::create(t.b, t.loc, isConsumer, /*withElseRegion=*/true);
    {
      OpBuilder::InsertionGuard guard(t.b);
      t.b.setInsertionPoint(branch.thenYield());
      consume();
      t.b.setInsertionPoint(branch.elseYield());
      produce();
    }
    memref::StoreOp::create(t.b, t.loc, t.add(first, tiles), place.position, t.index(0));
  }

private:
  /// Of tile i of this product: its slot, and the parity of the phases that its turn in it has.
  struct Turn {
    Value slot, parity;
  };
  Turn turnOf(Value i) {
    Value number = t.add(first, i);
    Value parity = arith::IndexCastUIOp::create(t.b, t.loc, t.b.getI32Type(), t.rem(t.div(number, ring.stages), 2));
    return {t.rem(number, ring.stages), parity};
  }
  Value full(Value slot) { return t.pointer(place.barriers, {t.mul(slot, 8)}, Space::shared); }
  Value empty(Value slot) { return t.pointer(place.barriers, {t.add(t.mul(slot, 8), 8 * ring.stages)}, Space::shared); }
  void wait(Value barrier, Value parity) {
    NVVM::MBarrierTryWaitParityOp::create(t.b, t.loc, barrier, parity, t.i32(kWaitNanoseconds));
  }
  void onLane0(function_ref<void()> body) {
    t.where(arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::eq, t.lane, t.index(0)), body);
  }
  int64_t bytesA() { return f.rows() * kTileRowBytes; }
  int64_t bytesB() { return panels * kTile * kPanelRowBytes; }

  void produce() {
    onLane0([&] {
      t.loop(t.index(0), t.index(tiles), 1, [&](Value i) {
        Turn turn = turnOf(i);
        // The first turns find the phase "before the first" ended.
        wait(empty(turn.slot), arith::XOrIOp::create(t.b, t.loc, turn.parity, t.i32(1)));
        Value barrier = full(turn.slot), k = t.mul(i, kTile), at = t.mul(turn.slot, ring.stageBytes), zero = t.index(0);
        Value toB = t.add(at, bytesA());
        NVVM::MBarrierArriveExpectTxOp::create(t.b, t.loc, Type(), barrier, t.i32(bytesA() + bytesB()), NVVM::MemScopeKind::CTA,
                                               /*relaxed=*/false, Value());
        copyBox(t, mapA, a, {zero, k}, t.pointer(place.memory, {at}, Space::shared), barrier);
        if (ring.blocks == 1)
          return copyBox(t, mapB, b, {zero, k, zero}, t.pointer(place.memory, {toB}, Space::shared), barrier);
        Value mine = t.mul(rank(), share), isMine = t.less(mine, t.index(panels));
        t.where(share < panels ? Value() : isMine, [&] {
          Value to = t.add(toB, t.mul(mine, kTile * kPanelRowBytes));
          copyBox(t, mapB, b, {mine, k, zero}, t.pointer(place.memory, {to}, Space::shared), barrier, ring.blocks);
        });
      });
    });
  }

  /// The block's number in its cluster.
  Value rank() { return t.rem(t.toIndex(NVVM::BlockIdXOp::create(t.b, t.loc, t.b.getI32Type())), ring.blocks); }

  void consume() {
    Value warpgroup = t.div(warp, 4);
    Value descriptorA = descriptor(t.mul(warpgroup, kRowsA * kTileRowBytes), kDescriptorA);
    Value descriptorB = descriptor(t.index(bytesA()), kDescriptorB);
    auto loop = scf::ForOp::create(t.b, t.loc, t.index(0), t.index(tiles), t.index(1), ValueRange{sumsAsStruct()});
    {
      OpBuilder::InsertionGuard guard(t.b);
      t.b.setInsertionPointToStart(loop.getBody());
      Value i = loop.getInductionVar(), all = loop.getRegionIterArgs()[0];
      Turn turn = turnOf(i);
      wait(full(turn.slot), turn.parity);
      all = multiplyTile(turn, descriptorA, descriptorB, all);
      NVVM::WgmmaWaitGroupSyncOp::create(t.b, t.loc, 1);
      Value isLater = arith::CmpIOp::create(t.b, t.loc, arith::CmpIPredicate::ne, i, t.index(0));
      t.where(isLater, [&] { release(arith::SubIOp::create(t.b, t.loc, i, t.index(1))); });
      scf::YieldOp::create(t.b, t.loc, all);
    }
    NVVM::WgmmaWaitGroupSyncOp::create(t.b, t.loc, 0);
    release(t.index(tiles - 1));
    for (int64_t i = 0; i < f.registers(); ++i)
      memref::StoreOp::create(t.b, t.loc, LLVM::ExtractValueOp::create(t.b, t.loc, loop.getResult(0), i), sums, t.index(i));
  }

  /// One warp tells that it reads tile i no more: the own block, or, a lane for each, all blocks of the cluster.
  void release(Value i) {
    Turn turn = turnOf(i);
    if (ring.blocks == 1)
      return onLane0([&] { NVVM::MBarrierArriveOp::create(t.b, t.loc, Type(), empty(turn.slot), Value()); });
    t.where(t.less(t.lane, t.index(ring.blocks)), [&] {
      Value block = arith::IndexCastUIOp::create(t.b, t.loc, t.b.getI32Type(), t.lane);
      Type inCluster = LLVM::LLVMPointerType::get(t.b.getContext(), kClusterSpace);
      Value there = NVVM::MapaOp::create(t.b, t.loc, inCluster, empty(turn.slot), block);
      NVVM::MBarrierArriveOp::create(t.b, t.loc, Type(), there, Value(), NVVM::MemScopeKind::CLUSTER);
    });
  }

  Value multiplyTile(const Turn &turn, Value descriptorA, Value descriptorB, Value all) {
    Type i64 = t.b.getI64Type();
    auto number = [&](int64_t v) -> Value { return LLVM::ConstantOp::create(t.b, t.loc, i64, t.b.getI64IntegerAttr(v)); };
    Value slot = arith::IndexCastOp::create(t.b, t.loc, i64, turn.slot);
    Value away = LLVM::MulOp::create(t.b, t.loc, slot, number(ring.stageBytes >> 4));
    Value atA = LLVM::AddOp::create(t.b, t.loc, descriptorA, away), atB = LLVM::AddOp::create(t.b, t.loc, descriptorB, away);
    NVVM::WgmmaFenceAlignedOp::create(t.b, t.loc);
    auto shape = NVVM::MMAShapeAttr::get(t.b.getContext(), 64, 8 * f.fn, kStep);
    for (int64_t k = 0; k < kTile; k += kStep) {
      // 16 k are 32 bytes of a row of a, and 16 rows of b.
      Value stepA = LLVM::AddOp::create(t.b, t.loc, atA, number(2 * k >> 4));
      Value stepB = LLVM::AddOp::create(t.b, t.loc, atB, number(k * kPanelRowBytes >> 4));
      all = NVVM::WgmmaMmaAsyncOp::create(t.b, t.loc, all.getType(), all, stepA, stepB, shape, NVVM::WGMMATypes::bf16,
                                          NVVM::WGMMATypes::bf16, NVVM::WGMMATypes::f32, NVVM::WGMMAScaleOut::one,
                                          NVVM::WGMMAScaleIn::one, NVVM::WGMMAScaleIn::one, NVVM::MMALayout::row,
                                          NVVM::MMALayout::row, NVVM::MMAIntOverflowAttr());
    }
    NVVM::WgmmaGroupSyncAlignedOp::create(t.b, t.loc);
    return all;
  }

  /// `form` with the address `offset` bytes into the ring.
  Value descriptor(Value offset, int64_t form) {
    Type i64 = t.b.getI64Type();
    auto number = [&](int64_t v) -> Value { return LLVM::ConstantOp::create(t.b, t.loc, i64, t.b.getI64IntegerAttr(v)); };
    Value address = LLVM::PtrToIntOp::create(t.b, t.loc, i64, t.pointer(place.memory, {offset}, Space::shared));
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

  ThreadCode &t;
  const Fragments &f;
  const WarpgroupRing &ring;
  GlobalBox a, b;
  Value sums;
  int64_t tiles, panels, share;
  BlockStorage::Ring place;
  Value mapA, mapB, first, warp;
};

} // namespace

bool canUseWarpgroups(const Product &p) {
  auto a = GlobalBox::of(p.a, 1), b = GlobalBox::of(p.b, 2);
  bool isOnePanel = cast<MemRefType>(p.b.getType()).getRank() == 2 && p.columns <= 32 && !p.isTransposed;
  if (!a || !b || !(p.isPanels || isOnePanel) || p.rows % kRowsA || p.rows > 4 * kRowsA || p.columns > WarpgroupRing::kMaxColumns || b->extentFromLast(0) != 32 || getConstantIntValue(b->offsetFromLast(0)) != 0)
    return false;
  // Zeros stand in for the k that fill up the last tile only where the argument ends there.
  auto endsThere = [&](const GlobalBox &box, unsigned dim) {
    return box.extentFromLast(dim) == p.k && getConstantIntValue(box.offsetFromLast(dim)) == 0;
  };
  return p.k % kTile == 0 || (endsThere(*a, 0) && endsThere(*b, 1));
}

WarpgroupRing WarpgroupRing::of(ArrayRef<Product> products) {
  int64_t tiles = 0;
  WarpgroupRing ring;
  for (const Product &p : products) {
    tiles = std::max<int64_t>(tiles, llvm::divideCeil(p.k, kTile));
    int64_t bytes = p.rows * kTileRowBytes + llvm::divideCeil(p.columns, 32) * kTile * kPanelRowBytes;
    ring.stageBytes = std::max(ring.stageBytes, bytes);
  }
  ring.stages = tiles > 2 ? 4 : 2;
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
  WarpgroupProduct(t, product, layouts.fragmentsOf.find(product.op)->second, *layouts.ring, storage).emit();
}

} // namespace llmc
