func.func @keeps_positions_of_a_block_innermost(%a: tensor<?x2xf32>,
%cache: tensor<?x?x2x2xf32>,
%s: !llm.sequences {llm.rows = dense<[[0, 0, 3, 1]]> : tensor<1x4xi32>}) -> tensor<?x?x2x2xf32> {
%new = llm.append %a into %cache, %s {key_block = 2 : i64} : (tensor<?x2xf32>, tensor<?x?x2x2xf32>, !llm.sequences) -> tensor<?x?x2x2xf32>
return %new : tensor<?x?x2x2xf32>
}
