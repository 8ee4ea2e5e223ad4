// RUN: llmc-opt %s --distribute-tiles --split-input-file | FileCheck %s
// RUN: llmc-opt %s --distribute-tiles=barriers=false --split-input-file | FileCheck %s --check-prefix=NONE
// NONE-NOT: nvvm.barrier0

// Neighbouring threads take neighbouring columns; a dependent op waits for the one before it.
// CHECK-LABEL: func @elements_go_to_neighbouring_threads
// CHECK-SAME: %[[X:.*]]: memref<8x32xf32>, %[[O:.*]]: memref<8x32xf32>
// CHECK-SAME: llm.threads = 256
// CHECK: %[[TID:.*]] = nvvm.read.ptx.sreg.tid.x
// CHECK: %[[TILE:.*]] = memref.alloca
// CHECK-NOT: nvvm.barrier0
// CHECK: scf.for %[[I:.*]] = %[[TID]] to %{{.*}} step %{{.*}} : i32
// CHECK:   %[[N:.*]] = arith.remui %[[I]], %c32
// CHECK:   %[[M:.*]] = arith.divui %[[I]], %c32
// CHECK:   %[[COLUMN:.*]] = arith.index_castui %[[N]]
// CHECK:   %[[ROW:.*]] = arith.index_castui %[[M]]
// CHECK:   memref.load %[[X]][%[[ROW]], %[[COLUMN]]]
// CHECK:   memref.store %{{.*}}, %[[TILE]][%[[ROW]], %[[COLUMN]]]
// CHECK: nvvm.barrier0
// CHECK: scf.for
// CHECK-NOT: nvvm.barrier0
func.func @elements_go_to_neighbouring_threads(%x: memref<8x32xf32>, %o: memref<8x32xf32> {llm.written}) attributes {llm.kernel} {
  %t = memref.alloca() : memref<8x32xf32>
  linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]}
      ins(%x : memref<8x32xf32>) outs(%t : memref<8x32xf32>) {
  ^bb0(%a: f32, %b: f32):
    %c = arith.addf %a, %a : f32
    linalg.yield %c : f32
  }
  memref.copy %t, %o : memref<8x32xf32> to memref<8x32xf32>
  return
}

// -----

// A contraction stays in its thread: the reduction runs in order with fused multiply-add.
// CHECK-LABEL: func @contractions_sum_in_order
// CHECK: scf.for
// CHECK:   %[[ACC0:.*]] = memref.load %arg2
// CHECK:   %[[SUM:.*]] = scf.for %{{.*}} = %c0{{.*}} to %c64{{.*}} step %c1{{.*}} iter_args(%[[ACC:.*]] = %[[ACC0]])
// CHECK:     %[[B:.*]] = arith.extf %{{.*}} : bf16 to f32
// CHECK:     math.fma %{{.*}}, %[[B]], %[[ACC]]
// CHECK-NOT: nvvm.shfl
// CHECK:   memref.store %[[SUM]], %arg2
func.func @contractions_sum_in_order(%a: memref<8x64xf32>, %b: memref<64x32xbf16>, %o: memref<8x32xf32> {llm.written}) attributes {llm.kernel} {
  linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>],
                  iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%a, %b : memref<8x64xf32>, memref<64x32xbf16>) outs(%o : memref<8x32xf32>) {
  ^bb0(%x: f32, %y: bf16, %s: f32):
    %w = arith.extf %y : bf16 to f32
    %p = arith.mulf %x, %w : f32
    %r = arith.addf %s, %p : f32
    linalg.yield %r : f32
  }
  return
}

// -----

// One warp for a row: lanes take every 32nd term, five shuffles join them, lane 0 stores.
// CHECK-LABEL: func @rows_are_reduced_by_warps
// CHECK: %[[LANE:.*]] = arith.remui %{{.*}}, %c32{{.*}} : index
// CHECK: %[[WARP:.*]] = arith.divui %{{.*}}, %c32{{.*}} : i32
// CHECK: scf.for %{{.*}} = %[[WARP]]
// CHECK:   scf.for %{{.*}} = %[[LANE]] to %c100{{.*}} step %c32{{.*}} iter_args(%{{.*}} = %cst
// CHECK:     arith.maximumf
// CHECK-COUNT-5: nvvm.shfl.sync  bfly
// CHECK:   %[[IS0:.*]] = arith.cmpi eq, %[[LANE]]
// CHECK:   scf.if %[[IS0]]
// CHECK:     memref.store
func.func @rows_are_reduced_by_warps(%x: memref<8x100xf32>, %o: memref<8xf32> {llm.written}) attributes {llm.kernel} {
  linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<8x100xf32>) outs(%o : memref<8xf32>) {
  ^bb0(%a: f32, %b: f32):
    %c = arith.maximumf %b, %a : f32
    linalg.yield %c : f32
  }
  return
}

// -----

// Fewer terms than lanes: one thread a row.
// CHECK-LABEL: func @short_rows_are_reduced_by_threads
// CHECK-NOT: nvvm.shfl
func.func @short_rows_are_reduced_by_threads(%x: memref<8x16xf32>, %o: memref<8xf32> {llm.written}) attributes {llm.kernel} {
  linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>], iterator_types = ["parallel", "reduction"]}
      ins(%x : memref<8x16xf32>) outs(%o : memref<8xf32>) {
  ^bb0(%a: f32, %b: f32):
    %c = arith.addf %b, %a : f32
    linalg.yield %c : f32
  }
  return
}

// -----

// Scalars: all threads read, thread 0 writes. The loop's next iteration reads what this one wrote.
// CHECK-LABEL: func @one_thread_stores_scalars
// CHECK: scf.for
// CHECK:   nvvm.barrier0
// CHECK:   memref.load %arg0
// CHECK:   nvvm.barrier0
// CHECK:   %[[IS0:.*]] = arith.cmpi eq
// CHECK:   scf.if %[[IS0]] {
// CHECK-NEXT: memref.store
func.func @one_thread_stores_scalars(%o: memref<16xf32> {llm.written}) attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c15 = arith.constant 15 : index
  scf.for %i = %c0 to %c15 step %c1 {
    %v = memref.load %o[%i] : memref<16xf32>
    %next = arith.addi %i, %c1 : index
    memref.store %v, %o[%next] : memref<16xf32>
  }
  return
}

// -----

// Reads of one buffer and writes of others need no order.
// CHECK-LABEL: func @independent_ops_have_no_barrier
// CHECK-NOT: nvvm.barrier0
// CHECK: return
func.func @independent_ops_have_no_barrier(%x: memref<64xf32>, %a: memref<64xf32> {llm.written}, %b: memref<64xf32> {llm.written}) attributes {llm.kernel} {
  memref.copy %x, %a : memref<64xf32> to memref<64xf32>
  memref.copy %x, %b : memref<64xf32> to memref<64xf32>
  return
}

// -----

// What a branch selects is one buffer with what it selects from.
// CHECK-LABEL: func @selected_buffers_are_followed
// CHECK: scf.if
// CHECK: nvvm.barrier0
// CHECK: memref.load
func.func @selected_buffers_are_followed(%c: i1, %x: memref<64xf32>, %a: memref<64xf32> {llm.written}, %b: memref<64xf32> {llm.written}, %o: memref<64xf32> {llm.written}) attributes {llm.kernel} {
  memref.copy %x, %a : memref<64xf32> to memref<64xf32>
  %s = scf.if %c -> memref<64xf32> {
    scf.yield %a : memref<64xf32>
  } else {
    scf.yield %b : memref<64xf32>
  }
  memref.copy %s, %o : memref<64xf32> to memref<64xf32>
  return
}
