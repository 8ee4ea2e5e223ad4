func.func @cuts_into_panels() -> tensor<1x3x2x2xf32> {
%a = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
%b = arith.constant dense<[[7.0, 8.0]]> : tensor<1x2xf32>
%p = llm.pack %a, %b {groups = 1 : i64, panel = 2 : i64} : (tensor<3x2xf32>, tensor<1x2xf32>) -> tensor<1x3x2x2xf32>
return %p : tensor<1x3x2x2xf32>
}
