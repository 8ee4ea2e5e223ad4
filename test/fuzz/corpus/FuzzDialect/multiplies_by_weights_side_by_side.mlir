func.func @multiplies_by_weights_side_by_side(%x: tensor<?x2xf32>)
-> (tensor<?x3xf32>, tensor<?x2xf32>) {
%a = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
%b = arith.constant dense<[[1.0, 1.0], [2.0, -1.5]]> : tensor<2x2xf16>
%y = llm.linear %x, %a, %b : (tensor<?x2xf32>, tensor<1x2xf32>, tensor<2x2xf16>) -> tensor<?x3xf32>
%z = llm.slice %y at 1 : (tensor<?x3xf32>) -> tensor<?x2xf32>
return %y, %z : tensor<?x3xf32>, tensor<?x2xf32>
}
