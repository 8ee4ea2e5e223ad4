// Linears at widths and depths that are no multiple of a panel or a vector, for every storage type.
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=1,7,8,65,129,200 --sequences=3 --rows-alone

func.func @one_column_of_seven(%x: tensor<?x7xf32>) -> tensor<?x1xf32> {
  %w = llm.weight "w" : tensor<1x7xbf16>
  %y = llm.linear %x, %w : (tensor<?x7xf32>, tensor<1x7xbf16>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}
func.func @less_than_a_panel(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %w = llm.weight "w" : tensor<24x24xf16>
  %y = llm.linear %x, %w : (tensor<?x24xf32>, tensor<24x24xf16>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
func.func @one_panel(%x: tensor<?x72xf32>) -> tensor<?x32xf32> {
  %w = llm.weight "w" : tensor<32x72xf32>
  %y = llm.linear %x, %w : (tensor<?x72xf32>, tensor<32x72xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
func.func @a_panel_and_a_column(%x: tensor<?x100xf32>) -> tensor<?x33xf32> {
  %w = llm.weight "w" : tensor<33x100xbf16>
  %y = llm.linear %x, %w : (tensor<?x100xf32>, tensor<33x100xbf16>) -> tensor<?x33xf32>
  return %y : tensor<?x33xf32>
}
func.func @f16_rows_of_seven(%x: tensor<?x7xf32>) -> tensor<?x100xf32> {
  %w = llm.weight "w" : tensor<100x7xf16>
  %y = llm.linear %x, %w : (tensor<?x7xf32>, tensor<100x7xf16>) -> tensor<?x100xf32>
  return %y : tensor<?x100xf32>
}
func.func @f32_rows_of_24(%x: tensor<?x24xf32>) -> tensor<?x257xf32> {
  %w = llm.weight "w" : tensor<257x24xf32>
  %y = llm.linear %x, %w : (tensor<?x24xf32>, tensor<257x24xf32>) -> tensor<?x257xf32>
  return %y : tensor<?x257xf32>
}
func.func @bf16_rows_of_72(%x: tensor<?x72xf32>) -> tensor<?x257xf32> {
  %w = llm.weight "w" : tensor<257x72xbf16>
  %y = llm.linear %x, %w : (tensor<?x72xf32>, tensor<257x72xbf16>) -> tensor<?x257xf32>
  return %y : tensor<?x257xf32>
}
func.func @f16_one_column_of_100(%x: tensor<?x100xf32>) -> tensor<?x1xf32> {
  %w = llm.weight "w" : tensor<1x100xf16>
  %y = llm.linear %x, %w : (tensor<?x100xf32>, tensor<1x100xf16>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}
// 10 panels: two to a workgroup, the last of which is not full.
func.func @several_panels_to_a_workgroup(%x: tensor<?x72xf32>) -> tensor<?x545xf32> {
  %w = llm.weight "w" : tensor<545x72xbf16>
  %y = llm.linear %x, %w : (tensor<?x72xf32>, tensor<545x72xbf16>) -> tensor<?x545xf32>
  return %y : tensor<?x545xf32>
}
// One weight's products end within a panel and the next one's begin at the next; the columns between them are zero.
func.func @several_weights(%x: tensor<?x24xf32>) -> tensor<?x224xf32> {
  %a = llm.weight "a" : tensor<33x24xbf16>
  %b = llm.weight "b" : tensor<1x24xbf16>
  %c = llm.weight "c" : tensor<100x24xbf16>
  %y = llm.linear %x, %a, %b, %c {align = 32 : i64} : (tensor<?x24xf32>, tensor<33x24xbf16>, tensor<1x24xbf16>, tensor<100x24xbf16>) -> tensor<?x224xf32>
  return %y : tensor<?x224xf32>
}
// Three linears of one input: a pass makes them one.
func.func @fused(%x: tensor<?x72xf32>) -> (tensor<?x33xf32>, tensor<?x24xf32>, tensor<?x100xf32>) {
  %a = llm.weight "a" : tensor<33x72xf16>
  %b = llm.weight "b" : tensor<24x72xf16>
  %c = llm.weight "c" : tensor<100x72xf32>
  %ya = llm.linear %x, %a : (tensor<?x72xf32>, tensor<33x72xf16>) -> tensor<?x33xf32>
  %yb = llm.linear %x, %b : (tensor<?x72xf32>, tensor<24x72xf16>) -> tensor<?x24xf32>
  %yc = llm.linear %x, %c : (tensor<?x72xf32>, tensor<100x72xf32>) -> tensor<?x100xf32>
  return %ya, %yb, %yc : tensor<?x33xf32>, tensor<?x24xf32>, tensor<?x100xf32>
}
// 200 rows go in two blocks of 128 that overlap, and a panel is widened in two pieces, of 256 and 44.
func.func @a_panel_in_pieces(%x: tensor<?x300xf32>) -> tensor<?x33xf32> {
  %w = llm.weight "w" : tensor<33x300xbf16>
  %y = llm.linear %x, %w : (tensor<?x300xf32>, tensor<33x300xbf16>) -> tensor<?x33xf32>
  return %y : tensor<?x33xf32>
}
