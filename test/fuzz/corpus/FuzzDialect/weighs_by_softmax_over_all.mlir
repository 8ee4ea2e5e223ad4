func.func @weighs_by_softmax_over_all(%z: tensor<?x6xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
%ids, %w = llm.route %z {scoring = "softmax", top_k = 2 : i64, renormalize = false, scale = 1.0 : f64} : (tensor<?x6xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
return %ids, %w : tensor<?x2xi32>, tensor<?x2xf32>
}
