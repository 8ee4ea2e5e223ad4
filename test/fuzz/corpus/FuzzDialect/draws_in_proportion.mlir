func.func @draws_in_proportion(%z: tensor<?x5xf32>) -> tensor<?xi32>
{
%s = arith.constant dense<[
[0.0, 1.0, 0.0, 0.0],   // greedy: the lower of two equals
[1.0, 1.0, 0.0, 0.0],   // 0.3990 in [0.139, 0.518)
[1.0, 1.0, 0.0, 0.0],   // 0.8903 in [0.602, 0.981)
[1.0, 1.0, 0.0, 0.0],   // top_k 1 keeps both equals: 0.9722 is in the upper half
[1.0, 0.5, 0.0, 0.0],   // top_p 0.5 needs both
[1.0, 1.0, 0.9, 0.0],   // min_p 0.9 keeps both
[1.0, 1.0, 0.0, 0.0]]> : tensor<7x4xf32>
%d = arith.constant dense<[[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [123456789012345, 0, 7, 0], [0, 0, 1, 0], [0, 0, 0, 0]]> : tensor<7x4xi64>
%sampling = tensor.cast %s : tensor<7x4xf32> to tensor<?x4xf32>
%draws = tensor.cast %d : tensor<7x4xi64> to tensor<?x4xi64>
%t = llm.sample %z, %sampling, %draws : (tensor<?x5xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?xi32>
return %t : tensor<?xi32>
}
