// Gate and up stored as one weight and cut apart by the model, at widths that are multiples of a panel of 32 columns and that are not.
// RUN: sed 's/BOTH/128/g; s/ONE/64/g' %s > %t.mlir
// RUN: llmc-opt %t.mlir --llmc-graph-stage --llmc-chunk-stage -o %t.chunk.mlir
// RUN: llmc-reference %t.mlir --function=gated --tokens=9 --tolerance=2e-7 --float32-attributes --compare=%t.chunk.mlir
// RUN: sed 's/BOTH/96/g; s/ONE/48/g' %s > %t.mlir
// RUN: llmc-opt %t.mlir --llmc-graph-stage --llmc-chunk-stage -o %t.chunk.mlir
// RUN: llmc-reference %t.mlir --function=gated --tokens=9 --tolerance=2e-7 --float32-attributes --compare=%t.chunk.mlir

// The norm of the gate is needed whole by an epilogue that works on panels.
func.func @gated(%x: tensor<?x20xf32> {llm.dims = ["T"]}, %y: tensor<?xONExf32> {llm.dims = ["T"]}) -> (tensor<?xONExf32>, tensor<?xONExf32>) {
  %w = llm.weight "w" : tensor<BOTHx20xbf16>
  %b = llm.linear %x, %w : (tensor<?x20xf32>, tensor<BOTHx20xbf16>) -> tensor<?xBOTHxf32>
  %gate = llm.slice %b at 0 : (tensor<?xBOTHxf32>) -> tensor<?xONExf32>
  %up = llm.slice %b at ONE : (tensor<?xBOTHxf32>) -> tensor<?xONExf32>
  %c = llm.map %gate, %up : (tensor<?xONExf32>, tensor<?xONExf32>) -> tensor<?xONExf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.mulf %p, %q : f32
    llm.yield %r : f32
  }
  %n = llm.weight "n" : tensor<ONExf32>
  %h = llm.rms_norm %y, %n {eps = 1.0e-05 : f64} : (tensor<?xONExf32>, tensor<ONExf32>) -> tensor<?xONExf32>
  %v = llm.weight "v" : tensor<ONExONExf32>
  %d = llm.linear %c, %v : (tensor<?xONExf32>, tensor<ONExONExf32>) -> tensor<?xONExf32>
  %e = llm.map %d, %h : (tensor<?xONExf32>, tensor<?xONExf32>) -> tensor<?xONExf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.addf %p, %q : f32
    llm.yield %r : f32
  }
  return %c, %e : tensor<?xONExf32>, tensor<?xONExf32>
}
