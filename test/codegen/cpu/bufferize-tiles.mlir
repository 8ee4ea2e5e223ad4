// RUN: llmc-opt %s --prepare-tiles --bufferize-tiles --split-input-file | FileCheck %s

// CHECK-LABEL: @updates_a_slice_in_place
// CHECK-SAME: (%[[X:.*]]: memref<?x8xf32> {{.*}}, %[[O:.*]]: memref<?x8xf32>
// CHECK-NOT: alloc
// CHECK: scf.forall
// CHECK: %[[TILE:.*]] = memref.subview %[[O]]
// CHECK: linalg.generic {{.*}} outs(%[[TILE]]
// CHECK-NOT: memref.copy
// CHECK: return{{$}}
func.func @updates_a_slice_in_place(%x: tensor<?x8xf32> {llm.dims = ["T"]}, %o: tensor<?x8xf32> {llm.dims = ["T"], llm.written}) -> tensor<?x8xf32> attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %T = tensor.dim %x, %c0 : tensor<?x8xf32>
  %r = scf.forall (%t) in (%T) shared_outs(%oo = %o) -> (tensor<?x8xf32>) {
    %xt = tensor.extract_slice %x[%t, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<8xf32>
    %y = math.exp %xt : tensor<8xf32>
    scf.forall.in_parallel { tensor.parallel_insert_slice %y into %oo[%t, 0] [1, 8] [1, 1] : tensor<8xf32> into tensor<?x8xf32> }
  }
  return %r : tensor<?x8xf32>
}

// -----

// The old value is read after the new one exists: one buffer at home, one for the iteration, a copy between them.
// CHECK-LABEL: @gives_a_carried_tensor_a_home
// CHECK-DAG: %[[HOME:.*]] = memref.alloca() {alignment = 64 : i64} : memref<8xf32>
// CHECK-DAG: %[[NEW:.*]] = memref.alloca() {alignment = 64 : i64} : memref<8xf32>
// CHECK: scf.for
// CHECK-NOT: iter_args
// CHECK: memref.copy %{{.*}}, %{{.*}}
// CHECK-NOT: memref.alloc(
func.func @gives_a_carried_tensor_a_home(%x: tensor<?x8xf32> {llm.dims = ["T"]}, %o: tensor<?x8xf32> {llm.dims = ["T"], llm.written}) -> tensor<?x8xf32> attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c5 = arith.constant 5 : index
  %T = tensor.dim %x, %c0 : tensor<?x8xf32>
  %r = scf.forall (%t) in (%T) shared_outs(%oo = %o) -> (tensor<?x8xf32>) {
    %xt = tensor.extract_slice %x[%t, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<8xf32>
    %dst = tensor.extract_slice %oo[%t, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<8xf32>
    %m0 = math.exp %xt : tensor<8xf32>
    %f:2 = scf.for %i = %c0 to %c5 step %c1 iter_args(%m = %m0, %s = %dst) -> (tensor<8xf32>, tensor<8xf32>) {
      %m1 = arith.maximumf %m, %xt : tensor<8xf32>
      %d = arith.subf %m, %m1 : tensor<8xf32>
      %s1 = arith.addf %s, %d : tensor<8xf32>
      scf.yield %m1, %s1 : tensor<8xf32>, tensor<8xf32>
    }
    scf.forall.in_parallel { tensor.parallel_insert_slice %f#1 into %oo[%t, 0] [1, 8] [1, 1] : tensor<8xf32> into tensor<?x8xf32> }
  }
  return %r : tensor<?x8xf32>
}

// -----

// A branch per panel: both update the whole output where they have to, which needs no copy.
// CHECK-LABEL: @inserts_a_whole_output_into_itself
// CHECK-NOT: memref.copy
// CHECK: return{{$}}
func.func @inserts_a_whole_output_into_itself(%x: tensor<?x8xf32> {llm.dims = ["T"]}, %o: tensor<?x8xf32> {llm.dims = ["T"], llm.written}) -> tensor<?x8xf32> attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %T = tensor.dim %x, %c0 : tensor<?x8xf32>
  %r = scf.forall (%p) in (2) shared_outs(%oo = %o) -> (tensor<?x8xf32>) {
    %first = arith.cmpi eq, %p, %c0 : index
    %y = scf.if %first -> (tensor<?x8xf32>) {
      %a = tensor.extract_slice %x[0, 0] [1, 5] [1, 1] : tensor<?x8xf32> to tensor<5xf32>
      %e = math.exp %a : tensor<5xf32>
      %i = tensor.insert_slice %e into %oo[0, 0] [1, 5] [1, 1] : tensor<5xf32> into tensor<?x8xf32>
      scf.yield %i : tensor<?x8xf32>
    } else {
      %a = tensor.extract_slice %x[0, 5] [1, 3] [1, 1] : tensor<?x8xf32> to tensor<3xf32>
      %e = math.exp %a : tensor<3xf32>
      %i = tensor.insert_slice %e into %oo[0, 5] [1, 3] [1, 1] : tensor<3xf32> into tensor<?x8xf32>
      scf.yield %i : tensor<?x8xf32>
    }
    scf.forall.in_parallel { tensor.parallel_insert_slice %y into %oo[0, 0] [%T, 8] [1, 1] : tensor<?x8xf32> into tensor<?x8xf32> }
  }
  return %r : tensor<?x8xf32>
}
