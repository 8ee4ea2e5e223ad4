// The delta rule where states last: decays so weak that what came many chunks ago is still there (random checkpoints forget within one).
// RUN: llmc-opt %s --pass-pipeline='builtin.module(func.func(form-dispatches))' -o %t.dispatches.mlir
// RUN: llmc-reference %s --function=rule --tokens=150 --sequences=3 --past=0,16,40 --tolerance=1e-12 --compare=%t.dispatches.mlir
// RUN: llmc-opt %t.dispatches.mlir --llmc-chunk-stage -o %t.chunk.mlir
// RUN: llmc-reference %s --function=rule --tokens=150 --sequences=3 --past=0,16,40 --tolerance=2e-7 --float32-attributes --compare=%t.chunk.mlir
// RUN: llmc-reference %s --function=rule --tokens=48 --sequences=1 --past=3 --tolerance=2e-7 --float32-attributes --compare=%t.chunk.mlir
// RUN: llmc-reference %s --function=rule --tokens=5 --sequences=5 --tolerance=2e-7 --float32-attributes --compare=%t.chunk.mlir

!rows = tensor<?x21xf32>
!state = tensor<?x3x7x7xf32>
!tail = tensor<?x3x21xf32>
func.func @rule(%x: !rows {llm.dims = ["T"]}, %y: !rows {llm.dims = ["T"]}, %v: !rows {llm.dims = ["T"]}, %g: !rows {llm.dims = ["T"], llm.range = [-0.02, 0.0]},
    %beta: tensor<?x3xf32> {llm.dims = ["T"], llm.range = [0.0, 1.0]}, %tail: !tail {llm.dims = ["SLOTS"]}, %state: !state {llm.dims = ["SLOTS"]}, %s: !llm.sequences)
    -> (!rows, !tail, !state) {
  %w = llm.weight "conv" : tensor<21x1x4xf32>
  %c, %t = llm.short_conv %x, %w, %tail, %s : (!rows, tensor<21x1x4xf32>, !tail, !llm.sequences) -> (!rows, !tail)
  %q = llm.l2_norm %c {heads = 3 : i64, eps = 1.0e-06 : f64} : (!rows) -> !rows
  %k = llm.l2_norm %y {heads = 3 : i64, eps = 1.0e-06 : f64} : (!rows) -> !rows
  %o, %new = llm.delta_rule %q, %k, %v, %g, %beta, %state, %s : (!rows, !rows, !rows, !rows, tensor<?x3xf32>, !state, !llm.sequences) -> (!rows, !state)
  return %o, %t, %new : !rows, !tail, !state
}
