// Norms and rotations that stand alone.
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=1,65 --sequences=3 --rows-alone
// RUN: llmc-opt --llmc-graph-stage --llmc-chunk-stage %s | llmc-reference - --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=9

func.func @rms_norm(%x: tensor<?x100xf32>) -> tensor<?x100xf32> {
  %w = llm.weight "norm" : tensor<100xbf16>
  %y = llm.rms_norm %x, %w {eps = 1.0e-6 : f64} : (tensor<?x100xf32>, tensor<100xbf16>) -> tensor<?x100xf32>
  return %y : tensor<?x100xf32>
}
func.func @rms_norm_of_heads(%x: tensor<?x72xf32>, %g: tensor<?x72xf32>) -> tensor<?x72xf32> {
  %w = llm.weight "norm" : tensor<24xf16>
  %y = llm.rms_norm %x, %w gated by %g {eps = 1.0e-5 : f64} : (tensor<?x72xf32>, tensor<24xf16>, tensor<?x72xf32>) -> tensor<?x72xf32>
  return %y : tensor<?x72xf32>
}
func.func @one_column(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %w = llm.weight "norm" : tensor<1xf32>
  %y = llm.rms_norm %x, %w {eps = 1.0e-2 : f64} : (tensor<?x1xf32>, tensor<1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}
func.func @l2_norm(%x: tensor<?x99xf32>) -> tensor<?x99xf32> {
  %y = llm.l2_norm %x {heads = 3 : i64, eps = 1.0e-6 : f64, scale = 0.17 : f64} : (tensor<?x99xf32>) -> tensor<?x99xf32>
  return %y : tensor<?x99xf32>
}
func.func @rotary(%x: tensor<?x120xf32>, %s: !llm.sequences) -> tensor<?x120xf32> {
  %t = llm.rotary_table %s {frequencies = array<f32: 1.0, 0.5, 0.31, 0.1, 0.05, 0.031, 0.01, 0.005, 0.0031, 0.001, 0.0005, 0.0001>} : (!llm.sequences) -> tensor<?x24xf32>
  %y = llm.rotary %x, %t {heads = 5 : i64} : (tensor<?x120xf32>, tensor<?x24xf32>) -> tensor<?x120xf32>
  return %y : tensor<?x120xf32>
}
func.func @decay_gate(%f: tensor<?x72xf32> {llm.range = [-40.0, 40.0]}) -> tensor<?x72xf32> {
  %a = llm.weight "a_log" : tensor<1x1x3x1xf32>
  %b = llm.weight "dt_bias" : tensor<72xf32>
  %g = llm.decay_gate %f, %a, %b : (tensor<?x72xf32>, tensor<1x1x3x1xf32>, tensor<72xf32>) -> tensor<?x72xf32>
  return %g : tensor<?x72xf32>
}
