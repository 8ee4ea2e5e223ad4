// RUN: llmc-opt %s --distribute-tiles --lower-blocks --split-input-file | FileCheck %s
// RUN: llmc-opt %s --distribute-tiles --lower-blocks=shared-bytes=128 --split-input-file | FileCheck %s --check-prefix=SMALL
// RUN: llmc-opt %s --distribute-tiles --lower-blocks=declare-buffers=true --split-input-file | FileCheck %s --check-prefix=SIM

// The grid is 1 * ceil((8*T - 0) / 2) * 3, as terms (op, value): constant 0, symbol 1, sub 3, mul 4, ceilDiv 6.
// CHECK-LABEL: func.func @walks_over_workgroups(
// CHECK-SAME: %[[O:.*]]: !llvm.ptr {llvm.align = 64 : i64, llvm.noalias}, %[[T:[^:]*]]: i64, {{.*}}, %[[SCRATCH:[^:]*]]: !llvm.ptr, %[[WORKGROUPS:[^:]*]]: i64)
// CHECK-SAME: llm.grid = array<i64: 0, 1, 1, 0, 0, 8, 4, 0, 0, 0, 3, 0, 0, 2, 6, 0, 4, 0, 0, 3, 0, 0, 3, 0, 0, 1, 6, 0, 4, 0>, llm.scratch_bytes = 0 : i64, llm.shared_bytes = 384 : i64
// CHECK: %[[SHARED:.*]] = llvm.mlir.addressof @walks_over_workgroups_shared : !llvm.ptr<3>
// CHECK: llvm.addrspacecast %[[SHARED]]
// CHECK: %[[BLOCK:.*]] = nvvm.read.ptx.sreg.ctaid.x
// CHECK: nvvm.read.ptx.sreg.nctaid.x
// CHECK: scf.for %[[W:.*]] = %{{.*}} to %{{.*}} step %{{.*}} {
// CHECK:   arith.remui %[[W]]
// CHECK:   arith.divui %[[W]]
// CHECK-COUNT-2: nvvm.barrier0
// CHECK: return
// CHECK: llvm.mlir.global external @walks_over_workgroups_shared() {addr_space = 3 : i32{{.*}}} : !llvm.array<0 x i8>

// The smaller buffer keeps its place in shared memory.
// SMALL-LABEL: func.func @walks_over_workgroups(
// SMALL-SAME: llm.scratch_bytes = 256 : i64, llm.shared_bytes = 128 : i64
// SMALL: nvvm.read.ptx.sreg.ctaid.x
// SMALL: llvm.mul

// SIM: func.func private @llmc.buffer(!llvm.ptr, i64, i32)
// SIM-LABEL: func.func @walks_over_workgroups(
// SIM: call @llmc.buffer(%arg0
func.func @walks_over_workgroups(%o: memref<?x64xf32> {llm.written, llm.dims = ["8*T"]}) attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %n = memref.dim %o, %c0 : memref<?x64xf32>
  %big = memref.alloca() : memref<64xf32>
  %small = memref.alloca() : memref<4xf32>
  scf.forall (%i, %j) = (0, 0) to (%n, 3) step (2, 1) {
    %row = memref.subview %o[%i, 0] [1, 64] [1, 1] : memref<?x64xf32> to memref<64xf32, strided<[1], offset: ?>>
    %v = memref.load %small[%c0] : memref<4xf32>
    memref.store %v, %big[%j] : memref<64xf32>
    memref.copy %big, %row : memref<64xf32> to memref<64xf32, strided<[1], offset: ?>>
  }
  return
}

// -----

// Bands of four rows' tiles by all columns; the last has those that are left.
// CHECK-LABEL: func.func @takes_rows_together(
// CHECK: scf.for %[[W:.*]] = %{{.*}} to %{{.*}} step
// CHECK: %[[COLUMNS:.*]] = arith.ceildivui
// CHECK: %[[ROWS:.*]] = arith.ceildivui
// CHECK: %[[BAND:.*]] = arith.muli %{{.*}}, %[[COLUMNS]]
// CHECK: %[[NUMBER:.*]] = arith.divui %[[W]], %[[BAND]]
// CHECK: %[[FIRST:.*]] = arith.muli %[[NUMBER]], %
// CHECK: %[[LEFT:.*]] = arith.subi %[[ROWS]], %[[FIRST]]
// CHECK: %[[HAVE:.*]] = arith.minui %[[LEFT]], %
// CHECK: %[[WITHIN:.*]] = arith.remui %[[W]], %[[BAND]]
// CHECK: %[[C:.*]] = arith.divui %[[WITHIN]], %[[HAVE]]
// CHECK: %[[R:.*]] = arith.remui %[[WITHIN]], %[[HAVE]]
// CHECK: arith.addi %[[FIRST]], %[[R]]
// CHECK: arith.muli %[[C]], %
func.func @takes_rows_together(%o: memref<?x64xf32> {llm.written, llm.dims = ["T"]}) attributes {llm.kernel, llm.rows_together = 4 : i64} {
  %c0 = arith.constant 0 : index
  %n = memref.dim %o, %c0 : memref<?x64xf32>
  %value = arith.constant 1.0 : f32
  scf.forall (%c, %r) in (64, %n) {
    memref.store %value, %o[%r, %c] : memref<?x64xf32>
  }
  return
}

// -----

// Two blocks are a cluster: rows are made up to an even number, and no block ends before the other.
// CHECK-LABEL: func.func @is_of_clusters(
// CHECK-SAME: llm.cluster = 2 : i64, llm.grid = array<i64: 0, 1, 0, 64, 0, 0, 3, 0, 0, 1, 6, 0, 4, 0, 1, 0, 0, 1, 4, 0, 0, 0, 3, 0, 0, 1, 6, 0, 0, 2, 6, 0, 0, 2, 4, 0, 4, 0>
// CHECK: scf.for
// CHECK-COUNT-2: arith.ceildivui
// CHECK: %[[PAIRS:.*]] = arith.ceildivui %{{.*}}, %[[TWO:.*]] : index
// CHECK: arith.muli %[[PAIRS]], %[[TWO]]
// CHECK: nvvm.cluster.arrive {aligned}
// CHECK-NEXT: nvvm.cluster.wait {aligned}
// CHECK-NEXT: return
func.func @is_of_clusters(%o: memref<?x64xf32> {llm.written, llm.dims = ["T"]}) attributes {llm.kernel, llm.rows_together = 4 : i64, llm.cluster = 2 : i64} {
  %c0 = arith.constant 0 : index
  %n = memref.dim %o, %c0 : memref<?x64xf32>
  %value = arith.constant 1.0 : f32
  scf.forall (%c, %r) in (64, %n) {
    memref.store %value, %o[%r, %c] : memref<?x64xf32>
  }
  return
}
