func.func @scales_the_table(%s: !llm.sequences {llm.rows = dense<[[0, 0, 1, 7]]> : tensor<1x4xi32>}) -> tensor<?x2xf32>
{
%t = llm.rotary_table %s {frequencies = array<f32: 1.0>, scale = 2.0 : f64} : (!llm.sequences) -> tensor<?x2xf32>
return %t : tensor<?x2xf32>
}
