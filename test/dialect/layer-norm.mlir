// Layer norm, and the part of a product with a concatenation.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

// Mean 2, variance 2.5 with eps 0 (deviations -2, -1, 1, 2): x = (-1.2649, -0.6325, 0.6325, 1.2649).
// CHECK-LABEL: @normalises
// CHECK: llm.layer_norm %{{.*}}, %{{.*}}, %{{.*}} {eps = {{.*}} : f64}
func.func @normalises(%x: tensor<?x4xf32> {llm.value = dense<[[0.0, 1.0, 3.0, 4.0]]> : tensor<1x4xf64>}, %w: tensor<4xf32> {llm.value = dense<[1.0, 2.0, 1.0, 1.0]> : tensor<4xf64>},
    %b: tensor<4xf32> {llm.value = dense<[0.0, 0.0, 1.0, 0.0]> : tensor<4xf64>}) -> tensor<?x4xf32>
    attributes {llm.expect = [dense<[[-1.2649110640673518, -1.2649110640673518, 1.6324555320336759, 1.2649110640673518]]> : tensor<1x4xf64>]} {
  %y = llm.layer_norm %x, %w, %b {eps = 0.0 : f64} : (tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// x meets columns 1 and 2 of the weight.
// CHECK-LABEL: @multiplies_columns
// CHECK: llm.linear %{{.*}}, %{{.*}} {column = 1 : i64}
func.func @multiplies_columns(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0]]> : tensor<1x2xf64>}, %w: tensor<2x3xf32> {llm.value = dense<[[9.0, 1.0, 1.0], [9.0, 0.0, 3.0]]> : tensor<2x3xf64>}) -> tensor<?x2xf32>
    attributes {llm.expect = [dense<[[3.0, 6.0]]> : tensor<1x2xf64>]} {
  %y = llm.linear %x, %w {column = 1 : i64} : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
