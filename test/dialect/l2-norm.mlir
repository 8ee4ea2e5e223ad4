// llm.l2_norm: per head, eps under the root, scale last.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

// CHECK-LABEL: @normalises_each_head
// CHECK: llm.l2_norm %{{.*}} {eps = {{.*}} : f64, heads = 2 : i64, scale = 5.000000e-01 : f64}
func.func @normalises_each_head(%x: tensor<?x4xf32> {llm.value = dense<[[1.0, 2.0, 3.0, 4.0], [-1.0, 0.5, 0.0, 2.0]]> : tensor<2x4xf64>})
    -> tensor<?x4xf32> attributes {llm.expect = [
    dense<[[0.2236067754, 0.4472135508, 0.299999994, 0.399999992], [-0.4472134166, 0.2236067083, 0.0, 0.4999999375]]> : tensor<2x4xf64>]} {
  %y = llm.l2_norm %x {heads = 2 : i64, eps = 1.0e-06 : f64, scale = 0.5 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// CHECK-LABEL: @leaves_zero_finite
func.func @leaves_zero_finite(%x: tensor<?x2xf32> {llm.value = dense<0.0> : tensor<1x2xf64>}) -> tensor<?x2xf32>
    attributes {llm.expect = [dense<0.0> : tensor<1x2xf64>]} {
  %y = llm.l2_norm %x {heads = 1 : i64, eps = 1.0e-06 : f64} : (tensor<?x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
