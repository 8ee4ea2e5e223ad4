// How values of a tile program lie over the threads of a block. Read this first: the rest of codegen/cuda follows from it.
//
// A tile program computes on small tensors; after bufferization they are buffers of the workgroup. A buffer lives in one of three
// places, and a generic op is spread over the threads in the way that its buffers ask for:
//
//   global     arguments of the kernel
//   shared     scratch: any thread may touch any element, with a barrier between dependent ops (PlaceBarriers.h)
//   registers  scratch of which every element is made and used by the same thread: no barrier, no memory traffic
//
// Three ops insist on a layout; everything else takes what its neighbours have (AssignLayouts.cpp):
//
// 1. A tiled product (EmitTiled.cpp): out[m, n] += sum_k a[m, k] b[k, n] on bf16 operands with 16 or more rows. The accumulators are
//    fragments of mma.sync.m16n8k16 in registers. A block's warps form a grid of warpsM x warpsN, a warp has FM x FN fragments of
//    16 x 8 elements, and of a fragment the thread with lane = 4 g + t has four:
//
//            n ──►  0 1   2 3   4 5   6 7                    warp (wm, wn) of a block, FM = 2, FN = 3
//       m    g=0   │t=0 │ t=1 │ t=2 │ t=3 │ elements 0, 1     ┌────┬────┬────┐
//       │    g=1   │    │     │     │     │                   │0,0 │0,1 │0,2 │ 16 rows
//       ▼    ..                                               ├────┼────┼────┤
//            g=0+8 │t=0 │ ..              elements 2, 3       │1,0 │1,1 │1,2 │ 16 rows
//                                                             └────┴────┴────┘ 8 columns each
//
//       m = 16 (FM wm + fm) + g + 8 (e / 2)        n = 8 (FN wn + fn) + 2 t + e % 2        register 4 (FN fm + fn) + e
//
//    Elementwise ops on such a buffer run on the fragments (EmitFragments.cpp): the epilogue of a linear never leaves registers until
//    it stores. A vector over m (the running maximum of a softmax) has one element per row of fragments, 2 FM a thread, the same in
//    the four lanes of a row. Fragments whose rows a kernel reduces have warpsN = 1: a row then lies in four lanes, and two shuffles
//    reduce it. So have the others of that kernel, and everything stays in registers, unless their rows are too wide for that: a latent's
//    512 columns for 32 heads lie over all warps, and probabilities and the rows' factors pass to them through shared memory. Then products
//    whose rows nobody reduces lie over all warps too.
//
//    Operands come to the fragments by ldmatrix from shared memory. What lies in global memory is staged: cp.async copies tiles of 32 k
//    into a ring of buffers ahead of their use, zeros standing in for what lies outside (rows beyond the last, k beyond K):
//
//       a [M][32 + 8]   k innermost: ldmatrix gives rows of 8 k             b [32][N + 8]   n innermost: ldmatrix.trans turns them
//
//    Where a loop has products whose b is small enough to be in shared memory as a whole, it is the loop that looks ahead: an iteration begins
//    with the copies for the next one. So do attention and the scan of the delta rule.
//
//    (more k a tile where rows and columns are few; b given as [n, k] keeps its order, and ldmatrix need not turn it). The 8 elements of padding put the 8 rows that one ldmatrix reads into different
//    banks. Operands that the kernel makes in shared memory are read where they are, from rows padded in the same way. An a operand that is in registers already
//    (the probabilities of attention, the state of the delta rule) needs no conversion but rounding: two neighbouring accumulator fragments are one a operand.
//
//    Where there is wgmma (sm_90a) and every tiled product of a kernel is of 64 or more rows, with operands in global memory that the copy
//    engine (TMA, TensorMaps.h) can fetch, they run on warpgroups (EmitWarpgroup.cpp). Four warps share a 64-row accumulator; it is the
//    fragments above with FM = 1 and warpsN = 1, warp wm having rows 16 wm .., so that everything after the product is as before. One more
//    warp, the producer, computes nothing: one thread of it asks for the operands, tile by tile of 64 k, in a ring of slots.
//
//       slot     a [rows][64 k]   128 bytes a row, k innermost            b [panels][64 k][32 n]   64 bytes a row, n innermost
//                8 rows: 1024 bytes, 16-byte chunk c of row r             8 k: 512 bytes, chunk c of row k is in place
//                is in place c ^ r % 8                                    c ^ (k / 2) % 4
//
//       b is what lies in the weights' panels, chunks aside: a box of 8 panels is one copy of 32 KiB. In a wgmma's descriptor its stride is
//       512 bytes, from 8 k to the next, and its leading offset a panel's 64 * 64, from 32 columns to the next. (Copies without tensor maps
//       leave chunks where they are; wgmma reads that only where 8 columns of 8 k are contiguous, which they are not in panels.)
//
//       full[slot]   counts the bytes of the copies; who waits for it may multiply
//       empty[slot]  counts the warps that have waited for the wgmma that read it; the producer waits for it before the next copies
//
//    Where tiles are wider than 128 columns and the grid is columns by rows (llm.rows_together), two blocks with tiles one below the other are a
//    cluster: b is the same for both. Each producer fetches half of a slot's panels for both blocks (multicast), and a for its own:
//
//       block 0   a0 [128][64]   b, first half  ──► both        of each k a block reads 128 + 128 values for 128 x 256 products,
//       block 1   a1 [128][64]   b, second half ──► both        not 128 + 256
//
//       full[slot]   is the block's own: it counts a and both halves, by whomever they were fetched
//       empty[slot]  counts the warps of both blocks: what a producer writes is read in both
//
//    Rows are then made up to an even number of tiles; the last may have none. A block neither begins before both have their barriers nor ends
//    before both have read.
//
//    What lies outside of the argument (k beyond K, rows beyond T) arrives as zeros; rows of the tile that are other rows of the argument
//    are computed and not stored.
//
//    Attention has two such products in a loop, of which the first makes the second's a. Then the loop is there twice, once for the consumers
//    and once for the producer, and what is between the products is on the consumers' fragments. Only b goes through the ring, whole:
//
//       a made before the loop    [k / 64][rows][64 k]: a's slots side by side, written by the block's threads, with a fence to wgmma's proxy
//       a in registers            the accumulators of 16 columns are a's fragment of 16 k, as for mma.sync
//       slot                      b [n / 32][k][32 n], b being panels, or rows of k of which a copy takes 32 columns
//
//       producer   K0 V0 K1 V1 K2 V2 ...              as far ahead as the ring has slots
//       consumer   S = Q K0 ─► P in registers ─► O += P V0,  S = Q K1 ─► ...       64 rows each; one multiplies while the other exponentiates
//
// 2. A streamed product (EmitStreamed.cpp): the same with at most 16 rows. It reads every weight once and is bound by that, so weights
//    go from global memory straight into registers, 16 bytes a thread, as the 16-row operand of mma.sync; the rows of the call are
//    its 8-column operand. k is split over the warps, whose sums are added in the order of the warps, through shared memory.
//
//       panels [p][k][32] of bf16, one step of 16 k, two panels:  lane 4 g + t loads for i = 0 .. 3
//                                                                 16 bytes at k = 4 t + i, columns 8 (g % 4) .. of panel g / 4
//       so lanes of equal t read 64 contiguous bytes of each panel, the warp 16 rows of 64 bytes of two panels in four loads
//
//    A kernel without products that reduces a buffer's rows more than once, changing it in between (the state of a step of the delta rule), has
//    it in registers in the same way, for the sake of the reductions.
//
// 3. A row reduction (DistributeTiles.cpp "rows"): a reduction along the contiguous dimension of a buffer in memory; a warp per row.
//
// Everything else is "elements": thread i computes elements i, i + threads, ...; so is a product whose operands no tensor core takes.
// The order of every sum is fixed by the op's shape and form, never by how many rows are there.
#pragma once
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/ADT/MapVector.h"

namespace llmc {

constexpr int64_t kWarp = 32;
constexpr int64_t kStreamedRows = 16; ///< of a streamed product, at most

/// Accumulator fragments of a block: the picture above.
struct Fragments {
  int64_t warpsM = 1, warpsN = 1; ///< the grid of warps
  int64_t fm = 1, fn = 1;         ///< fragments of a warp
  int64_t rows() const { return 16 * warpsM * fm; }
  int64_t columns() const { return 8 * warpsN * fn; }
  int64_t registers() const { return 4 * fm * fn; }
  int64_t index(int64_t m, int64_t n, int64_t e) const { return 4 * (fn * m + n) + e; }
  bool operator==(const Fragments &o) const {
    return warpsM == o.warpsM && warpsN == o.warpsN && fm == o.fm && fn == o.fn;
  }

  /// For a tile of at least `rows` x `columns` over `warps` warps, rows whole within a warp or not.
  static Fragments of(int64_t rows, int64_t columns, int64_t warps, bool wholeRows);
};

/// The allocation that `buffer` is a view of, if it is scratch.
mlir::memref::AllocaOp scratchOf(mlir::Value buffer);

/// out[m, n] += sum_k a[m, k] b[k, n], b given as [k, n], as [n, k] or as panels [n / 32, k, n % 32]; bf16 operands, f32 sums.
struct Product {
  mlir::linalg::GenericOp op;
  mlir::Value a, b, out;
  int64_t rows, columns, k; ///< at most so many
  bool isPanels, isTransposed; ///< b is panels; is [n, k]
  bool isRagged;               ///< only the kernel knows how many columns or k there are
  /// Elements of a's and of b's innermost dimension that one aligned access may take at once (a power of two, at most 8).
  int64_t aWidth, bWidth;

  /// The extents of b in memory.
  int64_t nDimension() const { return isTransposed ? 0 : 1; }
  int64_t kDimension() const { return isTransposed ? 1 : 0; }

  /// What `op` is, if it is a product with operands that tensor cores take.
  static std::optional<Product> match(mlir::linalg::GenericOp op);
};

/// Shared memory through which the operands of a kernel's products on warpgroups pass.
struct WarpgroupRing {
  static constexpr int64_t kTile = 64;         ///< k of a slot that has tiles of a, too
  static constexpr int64_t kMaxColumns = 256;  ///< of one wgmma
  static constexpr int64_t kAlignment = 1024;  ///< where the pattern of the widest swizzle repeats
  int64_t stages = 0, stageBytes = 0;
  int64_t blocks = 1; ///< of a cluster that fetch b together
  static WarpgroupRing of(llvm::ArrayRef<Product> products);
  /// k of a slot: all of them where only b comes through the ring.
  static int64_t tileOf(const Product &p) { return scratchOf(p.a) ? p.k : kTile; }
};

/// Whether the copy engine can bring the operands of `p` as wgmma wants them, of an a that is scratch those of b.
bool canUseWarpgroups(const Product &p);

/// A power of two up to 8 that divides every address of `view`'s innermost rows, in elements.
int64_t alignedElements(mlir::Value view);

/// Where the buffers of one kernel live and how its ops run.
struct Layouts {
  enum class Form { elements, rows, tiled, streamed, fragments, warpgroup };
  int64_t threads = kWarp;
  llvm::DenseMap<mlir::Operation *, Form> forms;            ///< of generics and copies; absent: elements or rows
  llvm::DenseMap<mlir::Operation *, Fragments> fragmentsOf; ///< of tiled products and of ops that run on fragments
  llvm::DenseMap<mlir::Operation *, Product> products;
  struct Register {
    Fragments fragments;
    bool isVector; ///< over the rows only
  };
  llvm::DenseMap<mlir::Operation *, Register> registers; ///< allocations that live in registers
  std::optional<WarpgroupRing> ring; ///< where products run on warpgroups
  /// Products whose b operand the loop around them brings an iteration or more ahead, in the order in which they are there.
  llvm::MapVector<mlir::Operation *, llvm::SmallVector<mlir::Operation *>> ahead;
  /// The loop that brings the operand of a product.
  mlir::Operation *loopOf(mlir::Operation *product) const {
    for (const auto &[loop, products] : ahead)
      if (llvm::is_contained(products, product))
        return loop;
    return nullptr;
  }
  /// Whether `op` is in a loop that only consumers run: see 1. about warpgroups.
  bool isAmongConsumers(mlir::Operation *op) const {
    return ring && llvm::any_of(ahead, [&](const auto &entry) { return entry.first->isProperAncestor(op); });
  }

  bool inRegisters(mlir::Value buffer) const {
    auto scratch = scratchOf(buffer);
    return scratch && registers.contains(scratch);
  }
};

/// Whether a tiled product has no operand to bring from global memory: it has no barriers of its own then.
bool isWithinBlock(const Product &p);
/// Shared memory of a tile of b of `k`, in elements, rows padded.
int64_t elementsOfB(const Product &p, const Fragments &f, int64_t k);
constexpr int64_t kPadding = 8; ///< elements after the rows of a tile in shared memory
constexpr int64_t kMaxTileBytes = 24 << 10; ///< of a stage of a tiled product: 32 k of 128 x 128, more k of smaller tiles

/// Gives scratch that products read by ldmatrix rows of a length that puts eight of them into different banks, zeros up to whole steps of
/// k, and the mark that it must be in shared memory.
void padOperands(Layouts &layouts);

/// Lets scratch of one type that is not in use at the same time be one buffer, in kernels that have much of it.
void shareScratch(mlir::func::FuncOp kernel, Layouts &layouts);

/// What the threads of a block have to compute with.
enum class Cores { none, warps, warpgroups }; ///< mma.sync; wgmma and the copy engine too

/// Chooses the layouts of `kernel`, whose blocks have at most `maxThreads` threads that compute.
Layouts assignLayouts(mlir::func::FuncOp kernel, int64_t maxThreads, Cores cores);

} // namespace llmc
