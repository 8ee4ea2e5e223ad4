// Angles of positions up to a million: the float32 product's cosine and sine, exact to float32.
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-7 --rows-alone

#rows = dense<[[0, 0, 5, 0], [3, 5, 2, 999999], [1, 7, 9, 65530], [2, 16, 1, 123457]]> : tensor<4x4xi32>
func.func @far_positions(%s: !llm.sequences {llm.rows = #rows}) -> tensor<?x14xf32> {
  %t = llm.rotary_table %s {frequencies = array<f32: 1.0, 0.7498942, 0.1, 0.01, 3.1622776e-3, 1.0e-4, 1.0e-6>} : (!llm.sequences) -> tensor<?x14xf32>
  return %t : tensor<?x14xf32>
}
func.func @scaled(%s: !llm.sequences {llm.rows = #rows}) -> tensor<?x2xf32> {
  %t = llm.rotary_table %s {frequencies = array<f32: 0.9>, scale = 1.3 : f64} : (!llm.sequences) -> tensor<?x2xf32>
  return %t : tensor<?x2xf32>
}
