func.func @tabulates_every_rows_position(%s: !llm.sequences {llm.rows = #rows}) -> tensor<?x4xf32> {
%t = llm.rotary_table %s {frequencies = array<f32: 1.0, 0.01>} : (!llm.sequences) -> tensor<?x4xf32>
return %t : tensor<?x4xf32>
}
