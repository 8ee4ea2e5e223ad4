// Experts: grouping of pairs, gathered and grouped linears, weighted sums. Every expert's linear is a known multiple.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

// CHECK-LABEL: @groups_pairs_by_expert
// CHECK: llm.dispatch_experts %{{.*}} : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<4x3xi32>)
func.func @groups_pairs_by_expert(%ids: tensor<?x2xi32> {llm.value = dense<[[3, 1], [1, 0], [3, 0]]> : tensor<3x2xi32>})
    -> (tensor<?xi32>, tensor<?x2xi32>, tensor<4x3xi32>) attributes {llm.expect = [dense<[3, 5, 1, 2, 0, 4]> : tensor<6xi32>,
    dense<[[4, 2], [3, 0], [5, 1]]> : tensor<3x2xi32>, dense<[[0, 0, 2], [1, 2, 4], [3, 4, 6], [0, 0, 0]]> : tensor<4x3xi32>]} {
  %order, %place, %groups = llm.dispatch_experts %ids : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<4x3xi32>)
  return %order, %place, %groups : tensor<?xi32>, tensor<?x2xi32>, tensor<4x3xi32>
}

// Expert e multiplies the sum of the columns by e + 1 (first weight) and their difference by 10 (e + 1) (second).
// CHECK-LABEL: @multiplies_rows_by_their_experts_weights
// CHECK: llm.expert_linear {{.*}} {gather = 2 : i64, top_k = 2 : i64}
// CHECK: llm.expert_linear {{.*}} {gather = 0 : i64, top_k = 2 : i64}
// CHECK: llm.combine_experts
func.func @multiplies_rows_by_their_experts_weights(%ids: tensor<?x2xi32> {llm.value = dense<[[2, 1], [1, 0]]> : tensor<2x2xi32>},
    %p: tensor<?x2xf32> {llm.value = dense<[[0.5, 0.25], [1.0, -1.0]]> : tensor<2x2xf64>},
    %x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0], [3.0, 5.0]]> : tensor<2x2xf64>}) -> (tensor<?x2xf32>, tensor<?x1xf32>, tensor<?x1xf32>)
    attributes {llm.expect = [dense<[[8.0, -20.0], [6.0, -20.0], [16.0, -40.0], [9.0, -30.0]]> : tensor<4x2xf64>,
    dense<[[8.0], [12.0], [32.0], [27.0]]> : tensor<4x1xf64>, dense<[[16.5], [24.0]]> : tensor<2x1xf64>]} {
  %order, %place, %groups = llm.dispatch_experts %ids : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<3x3xi32>)
  %sum = arith.constant dense<[[[1.0, 1.0]], [[2.0, 2.0]], [[3.0, 3.0]]]> : tensor<3x1x2xbf16>
  %difference = arith.constant dense<[[[10.0, -10.0]], [[20.0, -20.0]], [[30.0, -30.0]]]> : tensor<3x1x2xf32>
  %y = llm.expert_linear %x, %order, %groups, %sum, %difference {gather = 2 : i64, top_k = 2 : i64} : (tensor<?x2xf32>, tensor<?xi32>, tensor<3x3xi32>, tensor<3x1x2xbf16>, tensor<3x1x2xf32>) -> tensor<?x2xf32>
  %first = llm.slice %y at 0 : (tensor<?x2xf32>) -> tensor<?x1xf32>
  %scale = arith.constant dense<[[[1.0]], [[2.0]], [[3.0]]]> : tensor<3x1x1xf32>
  %z = llm.expert_linear %first, %order, %groups, %scale {gather = 0 : i64, top_k = 2 : i64} : (tensor<?x1xf32>, tensor<?xi32>, tensor<3x3xi32>, tensor<3x1x1xf32>) -> tensor<?x1xf32>
  %c = llm.combine_experts %z, %place, %p : (tensor<?x1xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x1xf32>
  return %y, %z, %c : tensor<?x2xf32>, tensor<?x1xf32>, tensor<?x1xf32>
}
