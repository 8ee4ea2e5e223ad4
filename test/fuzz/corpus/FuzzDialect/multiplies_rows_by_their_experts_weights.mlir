func.func @multiplies_rows_by_their_experts_weights(%ids: tensor<?x2xi32>,
%p: tensor<?x2xf32>,
%x: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x1xf32>, tensor<?x1xf32>)
{
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
