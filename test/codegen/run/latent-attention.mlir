// Latent attention with its append: ragged sequences with a past, widths that are no multiple of a vector, one head and several. The graph stage
// chooses the form: expanded where a latent is wide against a head, absorbed else.
// RUN: llmc-opt --llmc-graph-stage %s | FileCheck %s
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --rows-alone

#rows = dense<[[2, 0, 1, 31], [0, 1, 70, 0], [3, 71, 9, 40]]> : tensor<3x4xi32>

// CHECK-LABEL: @mla_layer
// CHECK: llm.latent_attention {{.*}}form = "expanded"
func.func @mla_layer(%x: tensor<?x40xf32>, %s: !llm.sequences {llm.rows = #rows}, %cache: tensor<?x?x32xf32>) -> (tensor<?x40xf32>, tensor<?x?x32xf32>) {
  %wq = llm.weight "q" : tensor<96x40xbf16>
  %wa = llm.weight "kv_a" : tensor<32x40xbf16>
  %n = llm.weight "norm" : tensor<24xbf16>
  %up = llm.weight "kv_b" : tensor<120x24xbf16>
  %wo = llm.weight "o" : tensor<40x56xbf16>
  %q = llm.linear %x, %wq : (tensor<?x40xf32>, tensor<96x40xbf16>) -> tensor<?x96xf32>
  %a = llm.linear %x, %wa : (tensor<?x40xf32>, tensor<32x40xbf16>) -> tensor<?x32xf32>
  %c0 = llm.slice %a at 0 : (tensor<?x32xf32>) -> tensor<?x24xf32>
  %kr = llm.slice %a at 24 : (tensor<?x32xf32>) -> tensor<?x8xf32>
  %c = llm.rms_norm %c0, %n {eps = 1.0e-6 : f64} : (tensor<?x24xf32>, tensor<24xbf16>) -> tensor<?x24xf32>
  %new = llm.append %c, %kr into %cache, %s : (tensor<?x24xf32>, tensor<?x8xf32>, tensor<?x?x32xf32>, !llm.sequences) -> tensor<?x?x32xf32>
  %o = llm.latent_attention %q, %new, %up, %s {heads = 4 : i64, nope = 16 : i64, rope = 8 : i64, scale = 0.2 : f64} : (tensor<?x96xf32>, tensor<?x?x32xf32>, tensor<120x24xbf16>, !llm.sequences) -> tensor<?x56xf32>
  %y = llm.linear %o, %wo : (tensor<?x56xf32>, tensor<40x56xbf16>) -> tensor<?x40xf32>
  return %y, %new : tensor<?x40xf32>, tensor<?x?x32xf32>
}
func.func @odd_widths(%q: tensor<?x69xf32>, %s: !llm.sequences {llm.rows = #rows}, %cache: tensor<?x?x33xf32> {llm.range = [-1.5, 1.5]}) -> tensor<?x75xf32> {
  %up = llm.weight "kv_b" : tensor<126x27xf32>
  %o = llm.latent_attention %q, %cache, %up, %s {heads = 3 : i64, nope = 17 : i64, rope = 6 : i64, scale = 0.4 : f64} : (tensor<?x69xf32>, tensor<?x?x33xf32>, tensor<126x27xf32>, !llm.sequences) -> tensor<?x75xf32>
  return %o : tensor<?x75xf32>
}
func.func @one_head(%q: tensor<?x32xf32>, %s: !llm.sequences {llm.rows = #rows}, %cache: tensor<?x?x72xf32>) -> tensor<?x40xf32> {
  %up = llm.weight "kv_b" : tensor<64x64xf16>
  %o = llm.latent_attention %q, %cache, %up, %s {heads = 1 : i64, nope = 24 : i64, rope = 8 : i64, scale = 0.2 : f64} : (tensor<?x32xf32>, tensor<?x?x72xf32>, tensor<64x64xf16>, !llm.sequences) -> tensor<?x40xf32>
  return %o : tensor<?x40xf32>
}
func.func @eleven_heads(%q: tensor<?x176xf32>, %s: !llm.sequences {llm.rows = #rows}, %cache: tensor<?x?x24xf32>) -> tensor<?x88xf32> {
  %up = llm.weight "kv_b" : tensor<176x16xbf16>
  %o = llm.latent_attention %q, %cache, %up, %s {heads = 11 : i64, nope = 8 : i64, rope = 8 : i64, scale = 0.2 : f64} : (tensor<?x176xf32>, tensor<?x?x24xf32>, tensor<176x16xbf16>, !llm.sequences) -> tensor<?x88xf32>
  return %o : tensor<?x88xf32>
}
// More rows than the kernel takes along at once.
// CHECK-LABEL: @many_rows
// CHECK: llm.latent_attention {{.*}}form = "expanded"
func.func @many_rows(%q: tensor<?x32xf32>, %s: !llm.sequences {llm.rows = dense<[[0, 0, 300, 40], [2, 300, 257, 0], [1, 557, 9, 250]]> : tensor<3x4xi32>},
    %cache: tensor<?x?x24xf32> {llm.range = [-1.5, 1.5]}) -> tensor<?x16xf32> {
  %up = llm.weight "kv_b" : tensor<32x16xbf16>
  %o = llm.latent_attention %q, %cache, %up, %s {heads = 2 : i64, nope = 8 : i64, rope = 8 : i64, scale = 0.3 : f64} : (tensor<?x32xf32>, tensor<?x?x24xf32>, tensor<32x16xbf16>, !llm.sequences) -> tensor<?x16xf32>
  return %o : tensor<?x16xf32>
}
// CHECK-LABEL: @absorbed_odd_widths
// CHECK: llm.latent_attention
// CHECK-NOT: "expanded"
func.func @absorbed_odd_widths(%q: tensor<?x129xf32>, %s: !llm.sequences {llm.rows = #rows}, %cache: tensor<?x?x33xf32> {llm.range = [-1.5, 1.5]}) -> tensor<?x75xf32> {
  %up = llm.weight "kv_b" : tensor<186x27xf32>
  %o = llm.latent_attention %q, %cache, %up, %s {heads = 3 : i64, nope = 37 : i64, rope = 6 : i64, scale = 0.2 : f64} : (tensor<?x129xf32>, tensor<?x?x33xf32>, tensor<186x27xf32>, !llm.sequences) -> tensor<?x75xf32>
  return %o : tensor<?x75xf32>
}
func.func @absorbed_eight_heads(%q: tensor<?x256xf32>, %s: !llm.sequences {llm.rows = #rows}, %cache: tensor<?x?x24xf32>) -> tensor<?x128xf32> {
  %up = llm.weight "kv_b" : tensor<320x16xbf16>
  %o = llm.latent_attention %q, %cache, %up, %s {heads = 8 : i64, nope = 24 : i64, rope = 8 : i64, scale = 0.2 : f64} : (tensor<?x256xf32>, tensor<?x?x24xf32>, tensor<320x16xbf16>, !llm.sequences) -> tensor<?x128xf32>
  return %o : tensor<?x128xf32>
}
func.func @absorbed_eleven_heads(%q: tensor<?x352xf32>, %s: !llm.sequences {llm.rows = #rows}, %cache: tensor<?x?x24xf32>) -> tensor<?x88xf32> {
  %up = llm.weight "kv_b" : tensor<352x16xf16>
  %o = llm.latent_attention %q, %cache, %up, %s {heads = 11 : i64, nope = 24 : i64, rope = 8 : i64, scale = 0.2 : f64} : (tensor<?x352xf32>, tensor<?x?x24xf32>, tensor<352x16xf16>, !llm.sequences) -> tensor<?x88xf32>
  return %o : tensor<?x88xf32>
}
func.func @absorbed_one_head(%q: tensor<?x44xf32>, %s: !llm.sequences {llm.rows = #rows}, %cache: tensor<?x?x24xf32>) -> tensor<?x4xf32> {
  %up = llm.weight "kv_b" : tensor<40x16xf16>
  %o = llm.latent_attention %q, %cache, %up, %s {heads = 1 : i64, nope = 36 : i64, rope = 8 : i64, scale = 0.2 : f64} : (tensor<?x44xf32>, tensor<?x?x24xf32>, tensor<40x16xf16>, !llm.sequences) -> tensor<?x4xf32>
  return %o : tensor<?x4xf32>
}
