func.func @gates_after_the_norm(%x: tensor<?x4xf32>, %z: tensor<?x4xf32> {llm.value =
dense<[[0.0, 1.0, -1.0, 2.0], [0.5, 0.5, 3.0, -3.0]]> : tensor<2x4xf64>}) -> tensor<?x4xf32> {
%w = arith.constant dense<[1.0, 0.5]> : tensor<2xbf16>
%y = llm.rms_norm %x, %w gated by %z {eps = 1.0e-05 : f64} : (tensor<?x4xf32>, tensor<2xbf16>, tensor<?x4xf32>) -> tensor<?x4xf32>
return %y : tensor<?x4xf32>
}
