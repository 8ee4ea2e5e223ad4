func.func @one_by_one() -> (tensor<3x4xbf16>, tensor<3x4xbf16>) {
%a = llm.weight "e.0.w" : tensor<3x4xbf16>
%b = llm.weight "e.1.w" : tensor<3x4xbf16>
return %a, %b : tensor<3x4xbf16>, tensor<3x4xbf16>
}
