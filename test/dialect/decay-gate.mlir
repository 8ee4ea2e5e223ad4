// llm.decay_gate: softplus on both far sides, one A_log per head in any of its shapes.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

// CHECK-LABEL: @decays_by_softplus
// CHECK: llm.decay_gate %{{.*}}, %{{.*}}, %{{.*}} : (tensor<?x4xf32>, tensor<1x1x2x1xf32>, tensor<4xf32>) -> tensor<?x4xf32>
func.func @decays_by_softplus(%f: tensor<?x4xf32> {llm.value = dense<[[1.0, -1.0, 30.0, -40.0]]> : tensor<1x4xf64>}) -> tensor<?x4xf32>
    attributes {llm.expect = [dense<[[-2.476262423, -0.7816208078, -11.22032296, -1.562882189e-18]]> : tensor<1x4xf64>]} {
  %a = arith.constant dense<[[[[0.5], [-1.0]]]]> : tensor<1x1x2x1xf32>
  %b = arith.constant dense<[0.25, 0.5, 0.5, 0.0]> : tensor<4xf32>
  %g = llm.decay_gate %f, %a, %b : (tensor<?x4xf32>, tensor<1x1x2x1xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  return %g : tensor<?x4xf32>
}

// CHECK-LABEL: @stays_finite_for_a_large_input
func.func @stays_finite_for_a_large_input(%f: tensor<?x1xf32> {llm.value = dense<[[1000.0]]> : tensor<1x1xf64>}) -> tensor<?x1xf32>
    attributes {llm.expect = [dense<[[-1000.0]]> : tensor<1x1xf64>]} {
  %a = arith.constant dense<0.0> : tensor<1xf32>
  %b = arith.constant dense<0.0> : tensor<1xf32>
  %g = llm.decay_gate %f, %a, %b : (tensor<?x1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<?x1xf32>
  return %g : tensor<?x1xf32>
}
