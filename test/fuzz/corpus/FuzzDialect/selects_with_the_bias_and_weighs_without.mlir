func.func @selects_with_the_bias_and_weighs_without(%z: tensor<?x6xf32>, %b: tensor<6xf32>)
-> (tensor<?x3xi32>, tensor<?x3xf32>) {
%ids, %w = llm.route %z bias %b {scoring = "sigmoid", top_k = 3 : i64, renormalize = true, scale = 2.446 : f64} : (tensor<?x6xf32>, tensor<6xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
return %ids, %w : tensor<?x3xi32>, tensor<?x3xf32>
}
