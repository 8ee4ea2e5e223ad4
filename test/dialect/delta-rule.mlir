// llm.delta_rule: a worked example with gates, betas and norms (one head, 2 x 2 state), strong decay, slots.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

#rows = dense<[[1, 0, 3, 0]]> : tensor<1x4xi32>
#state = dense<[[[[7.0, 7.0], [7.0, 7.0]]], [[[0.1, -0.2], [0.3, 0.4]]]]> : tensor<2x1x2x2xf64>

// CHECK-LABEL: @follows_the_worked_example
// CHECK: llm.delta_rule {{.*}} : (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x1xf32>, tensor<?x1x2x2xf32>, !llm.sequences)
func.func @follows_the_worked_example(
    %q: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]]> : tensor<3x2xf64>},
    %k: tensor<?x2xf32> {llm.value = dense<[[2.0, 1.0], [1.0, 1.0], [-1.0, 2.0]]> : tensor<3x2xf64>},
    %v: tensor<?x2xf32> {llm.value = dense<[[1.0, 0.0], [0.5, -2.0], [2.0, 1.0]]> : tensor<3x2xf64>},
    %f: tensor<?x2xf32> {llm.value = dense<[[0.1, -0.2], [1.0, 0.0], [-1.0, 2.0]]> : tensor<3x2xf64>},
    %b: tensor<?x1xf32> {llm.value = dense<[[0.0], [1.0], [-0.5]]> : tensor<3x1xf64>},
    %a_log: tensor<1x1x1x1xf32> {llm.value = dense<0.69314718055994531> : tensor<1x1x1x1xf64>},
    %dt: tensor<2xf32> {llm.value = dense<[-1.0, 0.5]> : tensor<2xf64>},
    %state: tensor<?x1x2x2xf32> {llm.value = #state}, %s: !llm.sequences {llm.rows = #rows})
    -> (tensor<?x2xf32>, tensor<?x1xf32>, tensor<?x2xf32>, tensor<?x1x2x2xf32>) attributes {llm.expect = [
    dense<[[-0.682307749, -1.708710489], [-1.386294361, -1.948153968], [-0.253856022, -5.157779469]]> : tensor<3x2xf64>,
    dense<[[0.5], [0.731058579], [0.377540669]]> : tensor<3x1xf64>,
    dense<[[0.313528320, 0.030258406], [-0.050686380, 0.312534597], [-0.076939672, -0.652649383]]> : tensor<3x2xf64>,
    dense<[[[[7.0, 7.0], [7.0, 7.0]]], [[[-0.108809134, -0.922985660], [0.713679954, 0.210543546]]]]> : tensor<2x1x2x2xf64>]} {
  %qn = llm.l2_norm %q {heads = 1 : i64, eps = 1.0e-6, scale = 0.70710678118654757} : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %kn = llm.l2_norm %k {heads = 1 : i64, eps = 1.0e-6} : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %g = llm.decay_gate %f, %a_log, %dt : (tensor<?x2xf32>, tensor<1x1x1x1xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %beta = llm.map %b : (tensor<?x1xf32>) -> tensor<?x1xf32> {
  ^bb0(%x: f32):
    %one = arith.constant 1.0 : f32
    %n = arith.negf %x : f32
    %e = math.exp %n : f32
    %d = arith.addf %e, %one : f32
    %y = arith.divf %one, %d : f32
    llm.yield %y : f32
  }
  %o, %new = llm.delta_rule %qn, %kn, %v, %g, %beta, %state, %s : (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x1xf32>, tensor<?x1x2x2xf32>, !llm.sequences) -> (tensor<?x2xf32>, tensor<?x1x2x2xf32>)
  return %g, %beta, %o, %new : tensor<?x2xf32>, tensor<?x1xf32>, tensor<?x2xf32>, tensor<?x1x2x2xf32>
}

// A gate of -1000 forgets a key channel: S = [[0, 0], [e^-1 * 3, e^-1 * 4]] before the write of 0.5 (v - S^T k) at k = (1, 0).
// CHECK-LABEL: @forgets_under_strong_decay
// CHECK: {chunk = 32 : i64, form = "step"}
func.func @forgets_under_strong_decay(%s: !llm.sequences {llm.rows = dense<[[0, 0, 1, 5]]> : tensor<1x4xi32>},
    %q: tensor<?x2xf32> {llm.value = dense<[[1.0, 1.0]]> : tensor<1x2xf64>}, %k: tensor<?x2xf32> {llm.value = dense<[[1.0, 0.0]]> : tensor<1x2xf64>},
    %v: tensor<?x2xf32> {llm.value = dense<[[2.0, -1.0]]> : tensor<1x2xf64>}, %g: tensor<?x2xf32> {llm.value = dense<[[-1000.0, -1.0]]> : tensor<1x2xf64>},
    %beta: tensor<?x1xf32> {llm.value = dense<[[0.5]]> : tensor<1x1xf64>},
    %state: tensor<?x1x2x2xf32> {llm.value = dense<[[[[1.0, 2.0], [3.0, 4.0]]]]> : tensor<1x1x2x2xf64>})
    -> (tensor<?x2xf32>, tensor<?x1x2x2xf32>) attributes {llm.expect = [dense<[[2.1036383235, 0.9715177647]]> : tensor<1x2xf64>,
    dense<[[[[1.0, -0.5], [1.1036383235, 1.4715177647]]]]> : tensor<1x1x2x2xf64>]} {
  %o, %new = llm.delta_rule %q, %k, %v, %g, %beta, %state, %s {form = "step", chunk = 32 : i64} : (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x1xf32>, tensor<?x1x2x2xf32>, !llm.sequences) -> (tensor<?x2xf32>, tensor<?x1x2x2xf32>)
  return %o, %new : tensor<?x2xf32>, tensor<?x1x2x2xf32>
}
