// llm.route: sigmoid with a selection bias, softmax, groups, ties.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

#logits = dense<[[0.3, -1.2, 2.0, 0.0, 1.1, -0.4]]> : tensor<1x6xf64>
#bias = dense<[0.5, 0.9, -0.8, 0.1, 0.0, 0.6]> : tensor<6xf64>

// CHECK-LABEL: @selects_with_the_bias_and_weighs_without
// CHECK: llm.route %{{.*}} bias %{{.*}} {renormalize = true, scale = 2.446000e+00 : f64, scoring = "sigmoid", top_k = 3 : i64}
func.func @selects_with_the_bias_and_weighs_without(%z: tensor<?x6xf32> {llm.value = #logits}, %b: tensor<6xf32> {llm.value = #bias})
    -> (tensor<?x3xi32>, tensor<?x3xf32>) attributes {llm.expect = [dense<[[1, 0, 5]]> : tensor<1x3xi32>,
    dense<[[0.468997909, 1.163892805, 0.813109286]]> : tensor<1x3xf64>]} {
  %ids, %w = llm.route %z bias %b {scoring = "sigmoid", top_k = 3 : i64, renormalize = true, scale = 2.446 : f64} : (tensor<?x6xf32>, tensor<6xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
  return %ids, %w : tensor<?x3xi32>, tensor<?x3xf32>
}

// CHECK-LABEL: @weighs_by_softmax_over_all
func.func @weighs_by_softmax_over_all(%z: tensor<?x6xf32> {llm.value = #logits}) -> (tensor<?x2xi32>, tensor<?x2xf32>) attributes {llm.expect = [
    dense<[[2, 4]]> : tensor<1x2xi32>, dense<[[0.5387731826878798, 0.21904882956277097]]> : tensor<1x2xf64>]} {
  %ids, %w = llm.route %z {scoring = "softmax", top_k = 2 : i64, renormalize = false, scale = 1.0 : f64} : (tensor<?x6xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return %ids, %w : tensor<?x2xi32>, tensor<?x2xf32>
}

// Groups of 2: their biased sums are 2.206, 0.681, 1.752; the middle one, with the largest logit, is out.
// CHECK-LABEL: @keeps_to_the_best_groups
func.func @keeps_to_the_best_groups(%z: tensor<?x6xf32> {llm.value = #logits}, %b: tensor<6xf32> {llm.value = #bias})
    -> (tensor<?x4xi32>, tensor<?x4xf32>) attributes {llm.expect = [dense<[[1, 0, 5, 4]]> : tensor<1x4xi32>,
    dense<[[0.23147521650098238, 0.574442516811659, 0.401312339887548, 0.7502601055951177]]> : tensor<1x4xf64>]} {
  %ids, %w = llm.route %z bias %b {scoring = "sigmoid", top_k = 4 : i64, renormalize = false, scale = 1.0 : f64, groups = 3 : i64, top_groups = 2 : i64} : (tensor<?x6xf32>, tensor<6xf32>) -> (tensor<?x4xi32>, tensor<?x4xf32>)
  return %ids, %w : tensor<?x4xi32>, tensor<?x4xf32>
}

// CHECK-LABEL: @takes_the_lowest_index_on_ties
func.func @takes_the_lowest_index_on_ties(%z: tensor<?x4xf32> {llm.value = dense<[[1.0, 2.0, 2.0, 1.0]]> : tensor<1x4xf64>})
    -> (tensor<?x3xi32>, tensor<?x3xf32>) attributes {llm.expect = [dense<[[1, 2, 0]]> : tensor<1x3xi32>, unit]} {
  %ids, %w = llm.route %z {scoring = "softmax", top_k = 3 : i64, renormalize = true, scale = 1.0 : f64} : (tensor<?x4xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
  return %ids, %w : tensor<?x3xi32>, tensor<?x3xf32>
}
