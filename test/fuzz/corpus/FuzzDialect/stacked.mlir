func.func @stacked() -> (tensor<3x4xbf16>, tensor<3x4xbf16>) {
%w = llm.weight "e.{}.w" stack 2 : tensor<2x3x4xbf16>
%a = tensor.extract_slice %w[0, 0, 0] [1, 3, 4] [1, 1, 1] : tensor<2x3x4xbf16> to tensor<3x4xbf16>
%b = tensor.extract_slice %w[1, 0, 0] [1, 3, 4] [1, 1, 1] : tensor<2x3x4xbf16> to tensor<3x4xbf16>
return %a, %b : tensor<3x4xbf16>, tensor<3x4xbf16>
}
