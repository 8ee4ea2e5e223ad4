func.func @stays_finite_for_a_large_input(%f: tensor<?x1xf32>) -> tensor<?x1xf32>
{
%a = arith.constant dense<0.0> : tensor<1xf32>
%b = arith.constant dense<0.0> : tensor<1xf32>
%g = llm.decay_gate %f, %a, %b : (tensor<?x1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<?x1xf32>
return %g : tensor<?x1xf32>
}
