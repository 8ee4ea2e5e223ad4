func.func @appends_side_by_side_at_the_position(%a: tensor<?x1xf32>,
%b: tensor<?x2xf32>,
%cache: tensor<?x?x3xf32>,
%s: !llm.sequences {llm.rows = dense<[[1, 0, 2, 1], [0, 2, 1, 0]]> : tensor<2x4xi32>}) -> tensor<?x?x3xf32> {
%new = llm.append %a, %b into %cache, %s : (tensor<?x1xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>, !llm.sequences) -> tensor<?x?x3xf32>
return %new : tensor<?x?x3xf32>
}
