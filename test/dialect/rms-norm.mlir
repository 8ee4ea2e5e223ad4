// llm.rms_norm: groups of columns, with and without a gate.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

#x = dense<[[1.0, 2.0, 3.0, 4.0], [-1.0, 0.5, 0.0, 2.0]]> : tensor<2x4xf64>

// CHECK-LABEL: @normalises_groups_of_the_weights_length
// CHECK: llm.rms_norm %{{.*}}, %{{.*}} {eps = 1.000000e-05 : f64} : (tensor<?x4xf32>, tensor<2xf32>) -> tensor<?x4xf32>
func.func @normalises_groups_of_the_weights_length(%x: tensor<?x4xf32> {llm.value = #x}) -> tensor<?x4xf32> attributes {llm.expect = [
    dense<[[0.6324542671, 0.6324542671, 0.848527798, 0.5656851987], [-1.264900945, 0.3162252362, 0.0, 0.7071050134]]> : tensor<2x4xf64>]} {
  %w = arith.constant dense<[1.0, 0.5]> : tensor<2xf32>
  %y = llm.rms_norm %x, %w {eps = 1.0e-05 : f64} : (tensor<?x4xf32>, tensor<2xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// CHECK-LABEL: @gates_after_the_norm
// CHECK: llm.rms_norm %{{.*}}, %{{.*}} gated by %{{.*}} {eps
func.func @gates_after_the_norm(%x: tensor<?x4xf32> {llm.value = #x}, %z: tensor<?x4xf32> {llm.value =
    dense<[[0.0, 1.0, -1.0, 2.0], [0.5, 0.5, 3.0, -3.0]]> : tensor<2x4xf64>}) -> tensor<?x4xf32> attributes {llm.expect = [
    dense<[[0.3162271336, 0.4623611176, 0.2282042721, 0.49825387], [-0.7873493962, 0.196837349, 0.0, 0.03353507269]]> : tensor<2x4xf64>]} {
  %w = arith.constant dense<[1.0, 0.5]> : tensor<2xbf16>
  %y = llm.rms_norm %x, %w gated by %z {eps = 1.0e-05 : f64} : (tensor<?x4xf32>, tensor<2xbf16>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
