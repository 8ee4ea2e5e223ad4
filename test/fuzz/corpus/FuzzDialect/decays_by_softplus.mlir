func.func @decays_by_softplus(%f: tensor<?x4xf32>) -> tensor<?x4xf32>
{
%a = arith.constant dense<[[[[0.5], [-1.0]]]]> : tensor<1x1x2x1xf32>
%b = arith.constant dense<[0.25, 0.5, 0.5, 0.0]> : tensor<4xf32>
%g = llm.decay_gate %f, %a, %b : (tensor<?x4xf32>, tensor<1x1x2x1xf32>, tensor<4xf32>) -> tensor<?x4xf32>
return %g : tensor<?x4xf32>
}
