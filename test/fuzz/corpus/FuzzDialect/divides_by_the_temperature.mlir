func.func @divides_by_the_temperature(%z: tensor<?x5xf32>)
-> tensor<?xi32> {
%s = arith.constant dense<[[1.0, 1.0, 0.0, 0.0], [4.0, 1.0, 0.0, 0.0]]> : tensor<2x4xf32>
%d = arith.constant dense<[[0, 0, 1, 0], [0, 0, 1, 0]]> : tensor<2x4xi64>
%sampling = tensor.cast %s : tensor<2x4xf32> to tensor<?x4xf32>
%draws = tensor.cast %d : tensor<2x4xi64> to tensor<?x4xi64>
%t = llm.sample %z, %sampling, %draws : (tensor<?x5xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?xi32>
return %t : tensor<?xi32>
}
