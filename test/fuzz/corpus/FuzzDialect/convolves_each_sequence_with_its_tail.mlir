func.func @convolves_each_sequence_with_its_tail(%s: !llm.sequences {llm.rows = #rows}, %tail: tensor<?x2x2xf32>,
%x: tensor<?x2xf32>)
-> (tensor<?x2xf32>, tensor<?x2x2xf32>) {
%w = arith.constant dense<[[[0.5, -1.0, 2.0]], [[0.25, 1.0, -0.5]]]> : tensor<2x1x3xf32>
%y, %new = llm.short_conv %x, %w, %tail, %s : (tensor<?x2xf32>, tensor<2x1x3xf32>, tensor<?x2x2xf32>, !llm.sequences) -> (tensor<?x2xf32>, tensor<?x2x2xf32>)
return %y, %new : tensor<?x2xf32>, tensor<?x2x2xf32>
}
