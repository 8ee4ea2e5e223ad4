// What the code of one thread is made of: its place in the block, loops over its share of points, bodies of generics, addresses.
#pragma once
#include "codegen/cuda/Layout.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace llmc {

/// A generic and its loops' extents.
struct GenericLoops {
  GenericLoops(mlir::OpBuilder &b, mlir::linalg::GenericOp op);
  llvm::SmallVector<mlir::OpFoldResult> parallelExtents() const {
    llvm::SmallVector<mlir::OpFoldResult> result;
    for (unsigned d : parallels)
      result.push_back(extents[d]);
    return result;
  }
  mlir::linalg::GenericOp op;
  mlir::Location loc;
  llvm::SmallVector<mlir::utils::IteratorType> kinds;
  llvm::SmallVector<mlir::OpFoldResult> extents;
  llvm::SmallVector<unsigned> parallels, reductions; ///< parallels: in the order of the first output's addresses
};

/// Memory as the code of a pointer sees it.
enum class Space : unsigned { generic = 0, global = 1, shared = 3 };

class ThreadCode {
public:
  using Value = mlir::Value;
  ThreadCode(mlir::func::FuncOp kernel, int64_t threads);

  Value i32(int64_t v) { return mlir::arith::ConstantIntOp::create(b, loc, v, 32); }
  Value index(int64_t v) { return mlir::arith::ConstantIndexOp::create(b, loc, v); }
  Value value(mlir::OpFoldResult v) { return mlir::getValueOrCreateConstantIndexOp(b, loc, v); }
  Value toIndex(Value v) { return mlir::arith::IndexCastUIOp::create(b, loc, b.getIndexType(), v); }
  // Index arithmetic.
  Value add(Value x, Value y) { return mlir::arith::AddIOp::create(b, loc, x, y); }
  Value add(Value x, int64_t y) { return y ? add(x, index(y)) : x; }
  Value mul(Value x, int64_t y) { return y == 1 ? x : mlir::arith::MulIOp::create(b, loc, x, index(y)).getResult(); }
  Value div(Value x, int64_t y) { return y == 1 ? x : mlir::arith::DivUIOp::create(b, loc, x, index(y)).getResult(); }
  Value rem(Value x, int64_t y) { return mlir::arith::RemUIOp::create(b, loc, x, index(y)); }
  Value less(Value x, Value y) { return mlir::arith::CmpIOp::create(b, loc, mlir::arith::CmpIPredicate::ult, x, y); }
  Value both(Value x, Value y) { return x && y ? mlir::arith::AndIOp::create(b, loc, x, y).getResult() : x ? x : y; }
  /// `body` where `condition` holds (null: always).
  void where(Value condition, llvm::function_ref<void()> body);
  /// for (i = from; i < to; i += step) body(i)
  void loop(Value from, Value to, int64_t step, llvm::function_ref<void(Value)> body);
  void barrier();
  /// `v`, which pure ops in the body of `loop` make, for another iteration: that which `mapping` has in the place of the loop's.
  Value forIteration(Value v, mlir::scf::ForOp loop, mlir::IRMapping &mapping);

  /// The address of an element.
  Value pointer(Value buffer, mlir::ValueRange at, Space space);
  /// Scratch of the block that must be in shared memory, or an array of the thread's that must become registers: it is read and
  /// written at constant positions only.
  mlir::memref::AllocaOp allocateShared(int64_t bytes, int64_t alignment = 128);
  Value allocateRegisters(int64_t count, mlir::Type element);

  /// The point with number `number` of the box of `extents`; row-major.
  llvm::SmallVector<Value> pointOf(Value number, llvm::ArrayRef<mlir::OpFoldResult> extents);
  /// Calls `body` at the points of `extents` that belong to worker `first`, `first` + `step`, ...; row-major, with 32-bit arithmetic
  /// where the extents are static.
  void overPoints(Value first, int64_t step, llvm::ArrayRef<mlir::OpFoldResult> extents,
                  llvm::function_ref<void(llvm::ArrayRef<Value>)> body);
  void overThreads(llvm::ArrayRef<mlir::OpFoldResult> extents, llvm::function_ref<void(llvm::ArrayRef<Value>)> body) {
    overPoints(thread, threads, extents, body);
  }

  /// Indices of `operand` at loop position `at`.
  llvm::SmallVector<Value> indices(GenericLoops &g, mlir::OpOperand &operand, llvm::ArrayRef<Value> at);
  /// The body of the generic at loop position `at` with the outputs' elements `outs`; inputs are loaded, by `load` where it gives a
  /// value. Returns what the body yields.
  llvm::SmallVector<Value> cloneBody(GenericLoops &g, llvm::ArrayRef<Value> at, mlir::ValueRange outs,
                                     llvm::function_ref<Value(mlir::OpOperand &)> load = {});
  /// `x` and `y` joined by the op that a reduction is made of.
  Value combine(mlir::Operation *combiner, Value x, Value y);

  mlir::OpBuilder b;
  mlir::Location loc; ///< of the op being spread
  mlir::func::FuncOp kernel;
  int64_t threads;
  Value thread; ///< number of this thread in its block, i32
  Value warp, lane; ///< index

private:
  Value fuseMultiplyAdd(mlir::Operation *op, mlir::ValueRange accumulators);
};

/// The op that combines partial results of output `i`, when there is one with a neutral element.
mlir::Operation *combinerOf(mlir::linalg::GenericOp op, unsigned i);

/// What the ops of a kernel share: the registers that stand for scratch, and shared memory that products use in turn.
class BlockStorage {
public:
  BlockStorage(ThreadCode &t, const Layouts &layouts) : t(t), layouts(layouts) {}
  /// The thread's registers for the scratch behind `buffer`, or null.
  mlir::Value registersOf(mlir::Value buffer);
  /// A view of the shared pool, `offset` bytes into it. Its content is free between the barriers that a product ends with.
  mlir::Value pooled(llvm::ArrayRef<int64_t> shape, mlir::Type element, int64_t offset = 0);
  /// Gives the pool its size; after the last use of `pooled`.
  void finish();

  /// The ring of a kernel's products on warpgroups (layouts.ring says how large): memory for its slots, two barriers for each (the full
  /// ones first, then the empty ones), and a register that counts the tiles that went through it.
  struct Ring {
    mlir::Value memory, barriers, position;
  };
  Ring ring();

  /// Shared memory for an operand of a product in a loop: of b two slots where the loop brings it ahead by cp.async, of a what wgmma reads in
  /// every iteration. Null before there is any.
  mlir::Value &slotsOf(mlir::Operation *product) { return slots[product]; }

  /// Of a loop shared out between consumers and producer: the number of its first tile of the ring, and that of the thread's warp.
  struct Shared {
    mlir::Value first, warp;
  };
  Shared &sharedLoop(mlir::Operation *loop) { return sharedLoops[loop]; }

private:
  ThreadCode &t;
  const Layouts &layouts;
  llvm::DenseMap<mlir::Operation *, mlir::Value> known, slots;
  llvm::DenseMap<mlir::Operation *, Shared> sharedLoops;
  std::optional<Ring> theRing;
  mlir::memref::AllocaOp pool;
  int64_t poolBytes = 0;
};

// Ops in the forms of Layout.h.
void emitTiledProduct(ThreadCode &t, const Product &product, const Layouts &layouts, BlockStorage &storage);
void emitWarpgroupProduct(ThreadCode &t, const Product &product, const Layouts &layouts, BlockStorage &storage);
/// Shares a loop with products on warpgroups out: the consumers run it, the producer one that asks for the operands. Before its ops are spread.
void shareLoop(ThreadCode &t, mlir::scf::ForOp loop, const Layouts &layouts, BlockStorage &storage);
void emitStreamedProduct(ThreadCode &t, const Product &product, BlockStorage &storage);
void emitOnFragments(ThreadCode &t, mlir::linalg::GenericOp op, const Layouts &layouts, BlockStorage &storage);
void emitOnFragments(ThreadCode &t, mlir::memref::CopyOp op, const Layouts &layouts, BlockStorage &storage);

} // namespace llmc
