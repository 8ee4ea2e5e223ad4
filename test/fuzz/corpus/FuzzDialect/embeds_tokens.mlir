func.func @embeds_tokens(%t: tensor<?xi32>) -> tensor<?x2xf32>
{
%table = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, -6.0]]> : tensor<3x2xbf16>
%x = llm.embed %t, %table : (tensor<?xi32>, tensor<3x2xbf16>) -> tensor<?x2xf32>
return %x : tensor<?x2xf32>
}
