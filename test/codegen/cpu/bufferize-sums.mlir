// Where a product that goes out as it is adds up: in its destination, or in scratch if it has more rows than the option says.
// RUN: llmc-opt %s --prepare-tiles --bufferize-tiles | FileCheck %s --check-prefixes=CHECK,HOME
// RUN: llmc-opt %s --prepare-tiles --bufferize-tiles=accumulator-rows=15 | FileCheck %s --check-prefixes=CHECK,SCRATCH
// RUN: llmc-opt %s --prepare-tiles --bufferize-tiles=accumulator-rows=16 | FileCheck %s --check-prefixes=CHECK,HOME

// CHECK-LABEL: @product
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: memref<?x64xf32>
// SCRATCH: %[[SUMS:.*]] = memref.alloca() {{.*}}: memref<16x64xf32>
// HOME-NOT: alloc
// CHECK: scf.forall
// HOME: %[[SUMS:.*]] = memref.subview %[[OUT]]
// SCRATCH: %[[TILE:.*]] = memref.subview %[[SUMS]]
// CHECK: iterator_types = ["parallel", "parallel", "reduction"]
// HOME-SAME: outs(%[[SUMS]]
// SCRATCH-SAME: outs(%[[TILE]]
// HOME-NOT: memref.copy
// SCRATCH: memref.copy %[[TILE]]
func.func @product(%x: tensor<?x32xf32> {llm.dims = ["T"]}, %w: tensor<64x32xf32>, %o: tensor<?x64xf32> {llm.dims = ["T"], llm.written}) -> tensor<?x64xf32>
    attributes {llm.kernel} {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %c15 = arith.constant 15 : index
  %c16 = arith.constant 16 : index
  %T = tensor.dim %x, %c0 : tensor<?x32xf32>
  %up = arith.addi %T, %c15 : index
  %tiles = arith.divui %up, %c16 : index
  %r = scf.forall (%t) in (%tiles) shared_outs(%oo = %o) -> (tensor<?x64xf32>) {
    %first = arith.muli %t, %c16 : index
    %left = arith.subi %T, %first : index
    %rows = arith.minsi %left, %c16 : index
    %to = tensor.extract_slice %oo[%first, 0] [%rows, 64] [1, 1] : tensor<?x64xf32> to tensor<?x64xf32>
    %xt = tensor.extract_slice %x[%first, 0] [%rows, 32] [1, 1] : tensor<?x32xf32> to tensor<?x32xf32>
    %e = tensor.empty(%rows) : tensor<?x64xf32>
    %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?x64xf32>) -> tensor<?x64xf32>
    %p = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1)>],
        iterator_types = ["parallel", "parallel", "reduction"]} ins(%xt, %w : tensor<?x32xf32>, tensor<64x32xf32>) outs(%z : tensor<?x64xf32>) {
    ^bb0(%a: f32, %b: f32, %c: f32):
      %m = arith.mulf %a, %b : f32
      %s = arith.addf %c, %m : f32
      linalg.yield %s : f32
    } -> tensor<?x64xf32>
    %put = tensor.insert_slice %p into %to[0, 0] [%rows, 64] [1, 1] : tensor<?x64xf32> into tensor<?x64xf32>
    scf.forall.in_parallel { tensor.parallel_insert_slice %put into %oo[%first, 0] [%rows, 64] [1, 1] : tensor<?x64xf32> into tensor<?x64xf32> }
  }
  return %r : tensor<?x64xf32>
}
