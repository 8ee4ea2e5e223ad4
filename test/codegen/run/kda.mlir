// A KDA layer: projections, short convolutions, norms of q and k, decay gate, delta rule, gated head norm, output projection. Chunks of 16 and
// token by token; head widths that are no multiple of a vector, with different ones for keys and values; lengths about the chunk's.
// RUN: sed 's/HKEY/48/g; s/HVALUE/80/g; s/KEY/24/g; s/VALUE/40/g; s/FORM/chunk/' %s | llmc-reference - --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=1,2,15,16,17,65 --rows-alone
// RUN: sed 's/HKEY/48/g; s/HVALUE/80/g; s/KEY/24/g; s/VALUE/40/g; s/FORM/chunk/' %s | llmc-reference - --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=3,150 --sequences=3 --rows-alone
// RUN: sed 's/HKEY/80/g; s/HVALUE/48/g; s/KEY/40/g; s/VALUE/24/g; s/FORM/step/' %s | llmc-reference - --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=1,2,15,16,17,65 --sequences=3 --rows-alone
// RUN: sed 's/HKEY/256/g; s/HVALUE/256/g; s/KEY/128/g; s/VALUE/128/g; s/FORM/chunk/' %s | llmc-reference - --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=1,17,65 --sequences=3 --rows-alone
// RUN: sed 's/HKEY/256/g; s/HVALUE/256/g; s/KEY/128/g; s/VALUE/128/g; s/FORM/step/' %s | llmc-reference - --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=1,17 --sequences=3 --rows-alone

func.func @kda_layer(%x: tensor<?x40xf32>, %s: !llm.sequences, %state: tensor<?x2xKEYxVALUExf32>,
    %tq: tensor<?x3xHKEYxf32>, %tk: tensor<?x3xHKEYxf32>, %tv: tensor<?x3xHVALUExf32>)
    -> (tensor<?x40xf32>, tensor<?x2xKEYxVALUExf32>, tensor<?x3xHKEYxf32>, tensor<?x3xHKEYxf32>, tensor<?x3xHVALUExf32>) {
  %n = llm.weight "norm" : tensor<40xbf16>
  %wq = llm.weight "q_proj" : tensor<HKEYx40xbf16>
  %wk = llm.weight "k_proj" : tensor<HKEYx40xbf16>
  %wv = llm.weight "v_proj" : tensor<HVALUEx40xbf16>
  %wf = llm.weight "f_proj" : tensor<HKEYx40xbf16>
  %wb = llm.weight "b_proj" : tensor<2x40xbf16>
  %wg = llm.weight "g_proj" : tensor<HVALUEx40xbf16>
  %wo = llm.weight "o_proj" : tensor<40xHVALUExbf16>
  %cq = llm.weight "q_conv" : tensor<HKEYx1x4xf32>
  %ck = llm.weight "k_conv" : tensor<HKEYx1x4xf32>
  %cv = llm.weight "v_conv" : tensor<HVALUEx1x4xf32>
  %al = llm.weight "A_log" : tensor<1x1x2x1xf32>
  %dt = llm.weight "dt_bias" : tensor<HKEYxf32>
  %on = llm.weight "o_norm" : tensor<VALUExbf16>
  %h = llm.rms_norm %x, %n {eps = 1.0e-5 : f64} : (tensor<?x40xf32>, tensor<40xbf16>) -> tensor<?x40xf32>
  %q0 = llm.linear %h, %wq : (tensor<?x40xf32>, tensor<HKEYx40xbf16>) -> tensor<?xHKEYxf32>
  %k0 = llm.linear %h, %wk : (tensor<?x40xf32>, tensor<HKEYx40xbf16>) -> tensor<?xHKEYxf32>
  %v0 = llm.linear %h, %wv : (tensor<?x40xf32>, tensor<HVALUEx40xbf16>) -> tensor<?xHVALUExf32>
  %f = llm.linear %h, %wf : (tensor<?x40xf32>, tensor<HKEYx40xbf16>) -> tensor<?xHKEYxf32>
  %b0 = llm.linear %h, %wb : (tensor<?x40xf32>, tensor<2x40xbf16>) -> tensor<?x2xf32>
  %gate = llm.linear %h, %wg : (tensor<?x40xf32>, tensor<HVALUEx40xbf16>) -> tensor<?xHVALUExf32>
  %q1, %ntq = llm.short_conv %q0, %cq, %tq, %s : (tensor<?xHKEYxf32>, tensor<HKEYx1x4xf32>, tensor<?x3xHKEYxf32>, !llm.sequences) -> (tensor<?xHKEYxf32>, tensor<?x3xHKEYxf32>)
  %k1, %ntk = llm.short_conv %k0, %ck, %tk, %s : (tensor<?xHKEYxf32>, tensor<HKEYx1x4xf32>, tensor<?x3xHKEYxf32>, !llm.sequences) -> (tensor<?xHKEYxf32>, tensor<?x3xHKEYxf32>)
  %v, %ntv = llm.short_conv %v0, %cv, %tv, %s : (tensor<?xHVALUExf32>, tensor<HVALUEx1x4xf32>, tensor<?x3xHVALUExf32>, !llm.sequences) -> (tensor<?xHVALUExf32>, tensor<?x3xHVALUExf32>)
  %q = llm.l2_norm %q1 {heads = 2 : i64, eps = 1.0e-6 : f64, scale = 0.2 : f64} : (tensor<?xHKEYxf32>) -> tensor<?xHKEYxf32>
  %k = llm.l2_norm %k1 {heads = 2 : i64, eps = 1.0e-6 : f64} : (tensor<?xHKEYxf32>) -> tensor<?xHKEYxf32>
  %g = llm.decay_gate %f, %al, %dt : (tensor<?xHKEYxf32>, tensor<1x1x2x1xf32>, tensor<HKEYxf32>) -> tensor<?xHKEYxf32>
  %beta = llm.map %b0 : (tensor<?x2xf32>) -> tensor<?x2xf32> {
  ^bb0(%a: f32):
    %one = arith.constant 1.0 : f32
    %m = arith.negf %a : f32
    %e = math.exp %m : f32
    %d = arith.addf %one, %e : f32
    %y = arith.divf %one, %d : f32
    llm.yield %y : f32
  }
  %o, %new = llm.delta_rule %q, %k, %v, %g, %beta, %state, %s {form = "FORM"} : (tensor<?xHKEYxf32>, tensor<?xHKEYxf32>, tensor<?xHVALUExf32>, tensor<?xHKEYxf32>, tensor<?x2xf32>, tensor<?x2xKEYxVALUExf32>, !llm.sequences) -> (tensor<?xHVALUExf32>, tensor<?x2xKEYxVALUExf32>)
  %on1 = llm.rms_norm %o, %on gated by %gate {eps = 1.0e-5 : f64} : (tensor<?xHVALUExf32>, tensor<VALUExbf16>, tensor<?xHVALUExf32>) -> tensor<?xHVALUExf32>
  %y0 = llm.linear %on1, %wo : (tensor<?xHVALUExf32>, tensor<40xHVALUExbf16>) -> tensor<?x40xf32>
  %y = llm.map %y0, %x : (tensor<?x40xf32>, tensor<?x40xf32>) -> tensor<?x40xf32> {
  ^bb0(%a: f32, %b: f32):
    %z = arith.addf %a, %b : f32
    llm.yield %z : f32
  }
  return %y, %new, %ntq, %ntk, %ntv : tensor<?x40xf32>, tensor<?x2xKEYxVALUExf32>, tensor<?x3xHKEYxf32>, tensor<?x3xHKEYxf32>, tensor<?x3xHVALUExf32>
}
