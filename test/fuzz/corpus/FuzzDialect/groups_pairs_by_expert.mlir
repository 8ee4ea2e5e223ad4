func.func @groups_pairs_by_expert(%ids: tensor<?x2xi32>)
-> (tensor<?xi32>, tensor<?x2xi32>, tensor<4x3xi32>) {
%order, %place, %groups = llm.dispatch_experts %ids : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<4x3xi32>)
return %order, %place, %groups : tensor<?xi32>, tensor<?x2xi32>, tensor<4x3xi32>
}
