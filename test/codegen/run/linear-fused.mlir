// What linears take along: norms of their input before, residuals, biases and gated activations after.
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=1,9,65,200 --sequences=3 --rows-alone

func.func @residual(%x: tensor<?x100xf32>, %r: tensor<?x33xf32>) -> tensor<?x33xf32> {
  %w = llm.weight "w" : tensor<33x100xbf16>
  %y = llm.linear %x, %w : (tensor<?x100xf32>, tensor<33x100xbf16>) -> tensor<?x33xf32>
  %z = llm.map %y, %r : (tensor<?x33xf32>, tensor<?x33xf32>) -> tensor<?x33xf32> {
  ^bb0(%a: f32, %b: f32):
    %s = arith.addf %a, %b : f32
    llm.yield %s : f32
  }
  return %z : tensor<?x33xf32>
}
func.func @bias(%x: tensor<?x24xf32>) -> tensor<?x257xf32> {
  %w = llm.weight "w" : tensor<257x24xbf16>
  %bias = llm.weight "bias" : tensor<257xbf16>
  %y = llm.linear %x, %w : (tensor<?x24xf32>, tensor<257x24xbf16>) -> tensor<?x257xf32>
  %z = llm.map %y, %bias : (tensor<?x257xf32>, tensor<257xbf16>) -> tensor<?x257xf32> {
  ^bb0(%a: f32, %b: f32):
    %s = arith.addf %a, %b : f32
    llm.yield %s : f32
  }
  return %z : tensor<?x257xf32>
}
// The feed-forward block: norm, gate and up in one linear, silu(gate) * up, down, residual.
func.func @gated(%x: tensor<?x72xf32>) -> tensor<?x72xf32> {
  %n = llm.weight "norm" : tensor<72xbf16>
  %wg = llm.weight "gate" : tensor<100x72xbf16>
  %wu = llm.weight "up" : tensor<100x72xbf16>
  %wd = llm.weight "down" : tensor<72x100xbf16>
  %h = llm.rms_norm %x, %n {eps = 1.0e-5 : f64} : (tensor<?x72xf32>, tensor<72xbf16>) -> tensor<?x72xf32>
  %g = llm.linear %h, %wg : (tensor<?x72xf32>, tensor<100x72xbf16>) -> tensor<?x100xf32>
  %u = llm.linear %h, %wu : (tensor<?x72xf32>, tensor<100x72xbf16>) -> tensor<?x100xf32>
  %a = llm.map %g, %u : (tensor<?x100xf32>, tensor<?x100xf32>) -> tensor<?x100xf32> {
  ^bb0(%p: f32, %q: f32):
    %one = arith.constant 1.0 : f32
    %m = arith.negf %p : f32
    %e = math.exp %m : f32
    %d = arith.addf %one, %e : f32
    %s = arith.divf %p, %d : f32
    %o = arith.mulf %s, %q : f32
    llm.yield %o : f32
  }
  %y = llm.linear %a, %wd : (tensor<?x100xf32>, tensor<72x100xbf16>) -> tensor<?x72xf32>
  %z = llm.map %y, %x : (tensor<?x72xf32>, tensor<?x72xf32>) -> tensor<?x72xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    llm.yield %s : f32
  }
  return %z : tensor<?x72xf32>
}
// A norm of each head, gated, before the output projection.
func.func @normed_heads(%x: tensor<?x120xf32>, %g: tensor<?x120xf32>) -> tensor<?x33xf32> {
  %n = llm.weight "norm" : tensor<40xf32>
  %w = llm.weight "w" : tensor<33x120xf16>
  %h = llm.rms_norm %x, %n gated by %g {eps = 1.0e-6 : f64} : (tensor<?x120xf32>, tensor<40xf32>, tensor<?x120xf32>) -> tensor<?x120xf32>
  %y = llm.linear %h, %w : (tensor<?x120xf32>, tensor<33x120xf16>) -> tensor<?x33xf32>
  return %y : tensor<?x33xf32>
}
