// RUN: llmc-opt %s --prepare-tiles --split-input-file | FileCheck %s

// CHECK-LABEL: @fuses_an_elementwise_chain
// CHECK: linalg.generic
// CHECK: math.exp
// CHECK-NEXT: arith.addf
// CHECK-NOT: linalg.generic
func.func @fuses_an_elementwise_chain(%x: tensor<8x32xf32>, %y: tensor<8x32xf32>) -> tensor<8x32xf32> {
  %e = math.exp %x : tensor<8x32xf32>
  %s = arith.addf %e, %y : tensor<8x32xf32>
  return %s : tensor<8x32xf32>
}

// -----

// CHECK-LABEL: @keeps_a_producer_with_two_users
// CHECK-COUNT-3: linalg.generic
func.func @keeps_a_producer_with_two_users(%x: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %e = math.exp %x : tensor<8xf32>
  %s = arith.addf %e, %x : tensor<8xf32>
  %m = arith.mulf %e, %x : tensor<8xf32>
  return %s, %m : tensor<8xf32>, tensor<8xf32>
}

// -----

// The contraction reads every element of its operand 32 times: fused, exp would be computed as often.
// CHECK-LABEL: @keeps_the_operand_of_a_contraction
// CHECK: linalg.generic
// CHECK: math.exp
// CHECK: linalg.generic
// CHECK: arith.mulf
func.func @keeps_the_operand_of_a_contraction(%x: tensor<8x16xf32>, %w: tensor<16x32xf32>, %o: tensor<8x32xf32>) -> tensor<8x32xf32> {
  %e = math.exp %x : tensor<8x16xf32>
  %m = linalg.matmul ins(%e, %w : tensor<8x16xf32>, tensor<16x32xf32>) outs(%o : tensor<8x32xf32>) -> tensor<8x32xf32>
  return %m : tensor<8x32xf32>
}

// -----

// CHECK-LABEL: @fuses_into_a_row_sum
// CHECK: linalg.generic
// CHECK: arith.mulf
// CHECK-NEXT: arith.addf
// CHECK-NOT: linalg.generic
func.func @fuses_into_a_row_sum(%x: tensor<8x16xf32>, %o: tensor<8xf32>) -> tensor<8xf32> {
  %sq = arith.mulf %x, %x : tensor<8x16xf32>
  %s = linalg.reduce {arith.addf} ins(%sq : tensor<8x16xf32>) outs(%o : tensor<8xf32>) dimensions = [1]
  return %s : tensor<8xf32>
}
