// Rows into caches, and attention over them: grouped queries, windows, ragged sequences that have a past.
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --rows-alone

#rows = dense<[[2, 0, 1, 31], [0, 1, 70, 0], [3, 71, 9, 40]]> : tensor<3x4xi32>
#one = dense<[[1, 0, 1, 63]]> : tensor<1x4xi32>

func.func @append(%a: tensor<?x24xf32>, %b: tensor<?x7xf32>, %cache: tensor<?x?x31xf32>, %s: !llm.sequences {llm.rows = #rows}) -> tensor<?x?x31xf32> {
  %new = llm.append %a, %b into %cache, %s : (tensor<?x24xf32>, tensor<?x7xf32>, tensor<?x?x31xf32>, !llm.sequences) -> tensor<?x?x31xf32>
  return %new : tensor<?x?x31xf32>
}
func.func @append_by_blocks(%a: tensor<?x33xf32>, %cache: tensor<?x?x33x32xf32>, %s: !llm.sequences {llm.rows = #rows}) -> tensor<?x?x33x32xf32> {
  %new = llm.append %a into %cache, %s {key_block = 32 : i64} : (tensor<?x33xf32>, tensor<?x?x33x32xf32>, !llm.sequences) -> tensor<?x?x33x32xf32>
  return %new : tensor<?x?x33x32xf32>
}

// The whole mixer: projections, head norm, rotation, both appends, 6 query heads on 2 key heads of 24 columns, output projection.
func.func @attention_layer(%x: tensor<?x40xf32>, %s: !llm.sequences {llm.rows = #rows}, %keys: tensor<?x?x48x32xf32>, %values: tensor<?x?x48xf32>)
    -> (tensor<?x40xf32>, tensor<?x?x48x32xf32>, tensor<?x?x48xf32>) {
  %wq = llm.weight "q" : tensor<144x40xbf16>
  %wk = llm.weight "k" : tensor<48x40xbf16>
  %wv = llm.weight "v" : tensor<48x40xbf16>
  %wo = llm.weight "o" : tensor<40x144xbf16>
  %n = llm.weight "norm" : tensor<24xbf16>
  %t = llm.rotary_table %s {frequencies = array<f32: 1.0, 0.5, 0.31, 0.1, 0.05, 0.031, 0.01, 0.005, 0.0031, 0.001, 0.0005, 0.0001>} : (!llm.sequences) -> tensor<?x24xf32>
  %q0 = llm.linear %x, %wq : (tensor<?x40xf32>, tensor<144x40xbf16>) -> tensor<?x144xf32>
  %k0 = llm.linear %x, %wk : (tensor<?x40xf32>, tensor<48x40xbf16>) -> tensor<?x48xf32>
  %v = llm.linear %x, %wv : (tensor<?x40xf32>, tensor<48x40xbf16>) -> tensor<?x48xf32>
  %q1 = llm.rms_norm %q0, %n {eps = 1.0e-6 : f64} : (tensor<?x144xf32>, tensor<24xbf16>) -> tensor<?x144xf32>
  %q = llm.rotary %q1, %t {heads = 6 : i64} : (tensor<?x144xf32>, tensor<?x24xf32>) -> tensor<?x144xf32>
  %k = llm.rotary %k0, %t {heads = 2 : i64} : (tensor<?x48xf32>, tensor<?x24xf32>) -> tensor<?x48xf32>
  %nk = llm.append %k into %keys, %s {key_block = 32 : i64} : (tensor<?x48xf32>, tensor<?x?x48x32xf32>, !llm.sequences) -> tensor<?x?x48x32xf32>
  %nv = llm.append %v into %values, %s : (tensor<?x48xf32>, tensor<?x?x48xf32>, !llm.sequences) -> tensor<?x?x48xf32>
  %o = llm.attention %q, %nk, %nv, %s {heads = 6 : i64, kv_heads = 2 : i64, scale = 0.2041241452319315 : f64} : (tensor<?x144xf32>, tensor<?x?x48x32xf32>, tensor<?x?x48xf32>, !llm.sequences) -> tensor<?x144xf32>
  %y = llm.linear %o, %wo : (tensor<?x144xf32>, tensor<40x144xbf16>) -> tensor<?x40xf32>
  return %y, %nk, %nv : tensor<?x40xf32>, tensor<?x?x48x32xf32>, tensor<?x?x48xf32>
}

// Scores of a wide range, so that the softmax is not nearly flat.
func.func @attention(%q: tensor<?x120xf32> {llm.range = [-3.0, 3.0]}, %s: !llm.sequences {llm.rows = #rows}, %keys: tensor<?x?x40x32xf32> {llm.range = [-3.0, 3.0]},
    %values: tensor<?x?x24xf32>) -> tensor<?x72xf32> {
  %o = llm.attention %q, %keys, %values, %s {heads = 3 : i64, kv_heads = 1 : i64, scale = 0.4 : f64} : (tensor<?x120xf32>, tensor<?x?x40x32xf32>, tensor<?x?x24xf32>, !llm.sequences) -> tensor<?x72xf32>
  return %o : tensor<?x72xf32>
}
func.func @window_of_one(%q: tensor<?x48xf32>, %s: !llm.sequences {llm.rows = #rows}, %keys: tensor<?x?x48x32xf32>, %values: tensor<?x?x14xf32>) -> tensor<?x14xf32> {
  %o = llm.attention %q, %keys, %values, %s {heads = 2 : i64, kv_heads = 2 : i64, scale = 0.3 : f64, window = 1 : i64} : (tensor<?x48xf32>, tensor<?x?x48x32xf32>, tensor<?x?x14xf32>, !llm.sequences) -> tensor<?x14xf32>
  return %o : tensor<?x14xf32>
}
func.func @window_of_33(%q: tensor<?x96xf32> {llm.range = [-3.0, 3.0]}, %s: !llm.sequences {llm.rows = #rows}, %keys: tensor<?x?x48x32xf32> {llm.range = [-3.0, 3.0]}, %values: tensor<?x?x14xf32>) -> tensor<?x28xf32> {
  %o = llm.attention %q, %keys, %values, %s {heads = 4 : i64, kv_heads = 2 : i64, scale = 0.3 : f64, window = 33 : i64} : (tensor<?x96xf32>, tensor<?x?x48x32xf32>, tensor<?x?x14xf32>, !llm.sequences) -> tensor<?x28xf32>
  return %o : tensor<?x28xf32>
}
func.func @one_row_sees_whole_blocks(%q: tensor<?x96xf32>, %s: !llm.sequences {llm.rows = #one}, %keys: tensor<?x?x24x32xf32>, %values: tensor<?x?x24xf32>) -> tensor<?x96xf32> {
  %o = llm.attention %q, %keys, %values, %s {heads = 4 : i64, kv_heads = 1 : i64, scale = 0.2 : f64} : (tensor<?x96xf32>, tensor<?x?x24x32xf32>, tensor<?x?x24xf32>, !llm.sequences) -> tensor<?x96xf32>
  return %o : tensor<?x96xf32>
}
