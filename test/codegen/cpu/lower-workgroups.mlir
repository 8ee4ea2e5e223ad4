// RUN: llmc-opt %s --lower-workgroups --canonicalize --cse --split-input-file | FileCheck %s

// CHECK-LABEL: func.func private @two_dims.body(
// CHECK-SAME: !llvm.ptr {llvm.noalias}, %{{.*}}: i64, %{{.*}}: i64
// CHECK: arith.remui %{{.*}}, %c6
// CHECK: arith.divui %{{.*}}, %c6
// CHECK: memref.store
// 4 * T rows in steps of 8, times 6.
// CHECK-LABEL: func.func @two_dims.grid(%{{.*}}: !llvm.ptr) -> i64
// CHECK: llvm.load %arg0
// CHECK: llvm.mul
// CHECK: arith.ceildivui
// CHECK: arith.muli {{.*}}, %c6
// CHECK-LABEL: func.func @two_dims(%{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: i64)
// CHECK: call @two_dims.body
func.func @two_dims(%o: memref<?x6xf32> {llm.dims = ["4*T"], llm.written}) attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %x = arith.constant 1.0 : f32
  %rows = memref.dim %o, %c0 : memref<?x6xf32>
  scf.forall (%i, %j) = (0, 0) to (%rows, 6) step (8, 1) {
    memref.store %x, %o[%i, %j] : memref<?x6xf32>
  }
  return
}

// -----

// CHECK-LABEL: func.func @no_forall.grid
// CHECK: return %{{.*}} : i64
func.func @no_forall(%o: memref<6xf32> {llm.written}) attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %x = arith.constant 1.0 : f32
  memref.store %x, %o[%c0] : memref<6xf32>
  return
}
