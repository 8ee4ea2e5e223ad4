// Rows of plain tables and of a table that a linear reads too, which is stored in panels only.
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=1,65 --sequences=3 --rows-alone

func.func @plain_bf16(%t: tensor<?xi32> {llm.limit = 101}) -> tensor<?x33xf32> {
  %w = llm.weight "table" : tensor<101x33xbf16>
  %x = llm.embed %t, %w : (tensor<?xi32>, tensor<101x33xbf16>) -> tensor<?x33xf32>
  return %x : tensor<?x33xf32>
}
func.func @plain_f16(%t: tensor<?xi32> {llm.limit = 101}) -> tensor<?x100xf32> {
  %w = llm.weight "table" : tensor<101x100xf16>
  %x = llm.embed %t, %w : (tensor<?xi32>, tensor<101x100xf16>) -> tensor<?x100xf32>
  return %x : tensor<?x100xf32>
}
func.func @plain_f32(%t: tensor<?xi32> {llm.limit = 101}) -> tensor<?x7xf32> {
  %w = llm.weight "table" : tensor<101x7xf32>
  %x = llm.embed %t, %w : (tensor<?xi32>, tensor<101x7xf32>) -> tensor<?x7xf32>
  return %x : tensor<?x7xf32>
}
// The last token's row is in a panel that is not full.
func.func @tied(%t: tensor<?xi32> {llm.limit = 101}, %h: tensor<?x72xf32>) -> (tensor<?x72xf32>, tensor<?x101xf32>) {
  %w = llm.weight "table" : tensor<101x72xbf16>
  %x = llm.embed %t, %w : (tensor<?xi32>, tensor<101x72xbf16>) -> tensor<?x72xf32>
  %y = llm.linear %h, %w : (tensor<?x72xf32>, tensor<101x72xbf16>) -> tensor<?x101xf32>
  return %x, %y : tensor<?x72xf32>, tensor<?x101xf32>
}
