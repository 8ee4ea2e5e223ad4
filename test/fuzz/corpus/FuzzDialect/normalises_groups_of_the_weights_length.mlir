func.func @normalises_groups_of_the_weights_length(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
%w = arith.constant dense<[1.0, 0.5]> : tensor<2xf32>
%y = llm.rms_norm %x, %w {eps = 1.0e-05 : f64} : (tensor<?x4xf32>, tensor<2xf32>) -> tensor<?x4xf32>
return %y : tensor<?x4xf32>
}
