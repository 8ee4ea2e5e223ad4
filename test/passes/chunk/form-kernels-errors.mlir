// form-kernels: dispatches that have no kernel. Most of them can be written by hand only; form-dispatches makes none but the sliced convolution.
// RUN: llmc-opt %s --form-kernels --split-input-file --verify-diagnostics

func.func @norm_of_a_linear(%x: tensor<?x4xf32>, %w: tensor<64x4xf32>, %n: tensor<64xf32>) -> tensor<?x64xf32> {
  // expected-error@+1 {{no kernel for this dispatch: llm.rms_norm cannot make a tile of M x 32: a norm needs whole groups of 64 columns}}
  %r = llm.dispatch(%x, %w, %n) {tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<64x4xf32>, tensor<64xf32>) -> tensor<?x64xf32> {
  ^bb0(%x_: tensor<?x4xf32>, %w_: tensor<64x4xf32>, %n_: tensor<64xf32>):
    %a = llm.linear %x_, %w_ : (tensor<?x4xf32>, tensor<64x4xf32>) -> tensor<?x64xf32>
    %b = llm.rms_norm %a, %n_ {eps = 1.0e-05 : f64} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
    llm.yield %b : tensor<?x64xf32>
  }
  return %r : tensor<?x64xf32>
}

// -----

func.func @l2_norm_of_a_linear(%x: tensor<?x4xf32>, %w: tensor<96x4xf32>) -> tensor<?x96xf32> {
  // expected-error@+1 {{llm.l2_norm cannot make a tile of M x 32: a norm needs whole heads of 48 columns}}
  %r = llm.dispatch(%x, %w) {tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<96x4xf32>) -> tensor<?x96xf32> {
  ^bb0(%x_: tensor<?x4xf32>, %w_: tensor<96x4xf32>):
    %a = llm.linear %x_, %w_ : (tensor<?x4xf32>, tensor<96x4xf32>) -> tensor<?x96xf32>
    %b = llm.l2_norm %a {heads = 2 : i64, eps = 1.0e-06 : f64} : (tensor<?x96xf32>) -> tensor<?x96xf32>
    llm.yield %b : tensor<?x96xf32>
  }
  return %r : tensor<?x96xf32>
}

// -----

func.func @rotation_of_a_linear(%x: tensor<?x4xf32>, %w: tensor<96x4xf32>, %t: tensor<?x48xf32>) -> tensor<?x96xf32> {
  // expected-error@+1 {{llm.rotary cannot make a tile of M x 32: a rotation needs whole heads of 48 columns}}
  %r = llm.dispatch(%x, %w, %t) {tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<96x4xf32>, tensor<?x48xf32>) -> tensor<?x96xf32> {
  ^bb0(%x_: tensor<?x4xf32>, %w_: tensor<96x4xf32>, %t_: tensor<?x48xf32>):
    %a = llm.linear %x_, %w_ : (tensor<?x4xf32>, tensor<96x4xf32>) -> tensor<?x96xf32>
    %b = llm.rotary %a, %t_ {heads = 2 : i64} : (tensor<?x96xf32>, tensor<?x48xf32>) -> tensor<?x96xf32>
    llm.yield %b : tensor<?x96xf32>
  }
  return %r : tensor<?x96xf32>
}

// -----

func.func @decay_gate_of_a_linear(%x: tensor<?x4xf32>, %w: tensor<96x4xf32>, %l: tensor<2xf32>, %d: tensor<96xf32>) -> tensor<?x96xf32> {
  // expected-error@+1 {{llm.decay_gate cannot make a tile of M x 32: a decay gate needs columns of one head or whole heads of 48 columns}}
  %r = llm.dispatch(%x, %w, %l, %d) {tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<96x4xf32>, tensor<2xf32>, tensor<96xf32>) -> tensor<?x96xf32> {
  ^bb0(%x_: tensor<?x4xf32>, %w_: tensor<96x4xf32>, %l_: tensor<2xf32>, %d_: tensor<96xf32>):
    %a = llm.linear %x_, %w_ : (tensor<?x4xf32>, tensor<96x4xf32>) -> tensor<?x96xf32>
    %b = llm.decay_gate %a, %l_, %d_ : (tensor<?x96xf32>, tensor<2xf32>, tensor<96xf32>) -> tensor<?x96xf32>
    llm.yield %b : tensor<?x96xf32>
  }
  return %r : tensor<?x96xf32>
}

// -----

func.func @convolution_outside_of_a_delta_rule(%x: tensor<?x4xf32>, %c: tensor<4x1x4xf32>, %t: tensor<?x3x4xf32>, %s: !llm.sequences, %w: tensor<4x4xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{llm.short_conv cannot make a tile of M x 4: a convolution works row by row within a sequence}}
  %r = llm.dispatch(%x, %c, %t, %s, %w) {tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<4x1x4xf32>, tensor<?x3x4xf32>, !llm.sequences, tensor<4x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%x_: tensor<?x4xf32>, %c_: tensor<4x1x4xf32>, %t_: tensor<?x3x4xf32>, %s_: !llm.sequences, %w_: tensor<4x4xf32>):
    %a, %b = llm.short_conv %x_, %c_, %t_, %s_ : (tensor<?x4xf32>, tensor<4x1x4xf32>, tensor<?x3x4xf32>, !llm.sequences) -> (tensor<?x4xf32>, tensor<?x3x4xf32>)
    %d = llm.linear %a, %w_ : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    llm.yield %d : tensor<?x4xf32>
  }
  return %r : tensor<?x4xf32>
}

// -----

func.func @slice_within_a_panel(%x: tensor<?x4xf32>, %w: tensor<16x4xf32>) -> tensor<?x8xf32> {
  // expected-error@+1 {{llm.slice cannot make a tile of M x 8: a slice of a linear begins with one of its panels of 32 columns}}
  %r = llm.dispatch(%x, %w) {tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<16x4xf32>) -> tensor<?x8xf32> {
  ^bb0(%x_: tensor<?x4xf32>, %w_: tensor<16x4xf32>):
    %a = llm.linear %x_, %w_ : (tensor<?x4xf32>, tensor<16x4xf32>) -> tensor<?x16xf32>
    %b = llm.slice %a at 8 : (tensor<?x16xf32>) -> tensor<?x8xf32>
    llm.yield %b : tensor<?x8xf32>
  }
  return %r : tensor<?x8xf32>
}

// -----

func.func @two_roots(%i: tensor<?xi32>, %v: tensor<8x4xf32>, %w: tensor<4x4xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{llm.embed cannot make a tile of M x 4: it is no op of a prologue or epilogue}}
  %r = llm.dispatch(%i, %v, %w) {tied = array<i64: -1>} : (tensor<?xi32>, tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%i_: tensor<?xi32>, %v_: tensor<8x4xf32>, %w_: tensor<4x4xf32>):
    %a = llm.embed %i_, %v_ : (tensor<?xi32>, tensor<8x4xf32>) -> tensor<?x4xf32>
    %b = llm.linear %a, %w_ : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    llm.yield %b : tensor<?x4xf32>
  }
  return %r : tensor<?x4xf32>
}

// -----

func.func @rule_behind_a_sliced_convolution(%x: tensor<?x8xf32>, %c: tensor<8x1x4xf32>, %t: tensor<?x3x8xf32>, %s: !llm.sequences, %b: tensor<?x2xf32>, %m: tensor<?x2x2x2xf32>) -> (tensor<?x4xf32>, tensor<?x3x8xf32>, tensor<?x2x2x2xf32>) {
  // expected-error@+1 {{llm.short_conv cannot make a tile of 1 x 4: its columns are not split by heads; give q, k and v a convolution each}}
  %r:3 = llm.dispatch(%x, %c, %t, %s, %b, %m) {tied = array<i64: -1, 2, 5>} : (tensor<?x8xf32>, tensor<8x1x4xf32>, tensor<?x3x8xf32>, !llm.sequences, tensor<?x2xf32>, tensor<?x2x2x2xf32>) -> (tensor<?x4xf32>, tensor<?x3x8xf32>, tensor<?x2x2x2xf32>) {
  ^bb0(%x_: tensor<?x8xf32>, %c_: tensor<8x1x4xf32>, %t_: tensor<?x3x8xf32>, %s_: !llm.sequences, %b_: tensor<?x2xf32>, %m_: tensor<?x2x2x2xf32>):
    %a, %u = llm.short_conv %x_, %c_, %t_, %s_ : (tensor<?x8xf32>, tensor<8x1x4xf32>, tensor<?x3x8xf32>, !llm.sequences) -> (tensor<?x8xf32>, tensor<?x3x8xf32>)
    %q = llm.slice %a at 0 : (tensor<?x8xf32>) -> tensor<?x4xf32>
    %v = llm.slice %a at 4 : (tensor<?x8xf32>) -> tensor<?x4xf32>
    %o, %n = llm.delta_rule %q, %q, %v, %q, %b_, %m_, %s_ : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x2x2x2xf32>, !llm.sequences) -> (tensor<?x4xf32>, tensor<?x2x2x2xf32>)
    llm.yield %o, %u, %n : tensor<?x4xf32>, tensor<?x3x8xf32>, tensor<?x2x2x2xf32>
  }
  return %r#0, %r#1, %r#2 : tensor<?x4xf32>, tensor<?x3x8xf32>, tensor<?x2x2x2xf32>
}

// -----

func.func @weight_read_as_rows(%x: tensor<4x4xf32>, %v: tensor<4x4xf32>, %w: tensor<4x4xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{cannot make a tile of M x 4: an operand has no argument}}
  %r = llm.dispatch(%x, %v, %w) {tied = array<i64: -1>} : (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%x_: tensor<4x4xf32>, %v_: tensor<4x4xf32>, %w_: tensor<4x4xf32>):
    %a = llm.linear %x_, %v_, %w_ : (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<?x8xf32>
    %b = llm.slice %a at 0 : (tensor<?x8xf32>) -> tensor<?x4xf32>
    %c = llm.map %b, %w_ : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32> {
    ^bb0(%p: f32, %q: f32):
      llm.yield %q : f32
    }
    llm.yield %c : tensor<?x4xf32>
  }
  return %r : tensor<?x4xf32>
}

// -----

func.func @part_of_a_concatenation(%x: tensor<?x4xf32>) -> tensor<?x5xf32> {
  // expected-error@+1 {{llm.concat cannot make a tile of 1 x 5: a concatenation needs all of its 8 columns}}
  %r = llm.dispatch(%x) {tied = array<i64: -1>} : (tensor<?x4xf32>) -> tensor<?x5xf32> {
  ^bb0(%x_: tensor<?x4xf32>):
    %a = llm.concat %x_, %x_ : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
    %b = llm.slice %a at 2 : (tensor<?x8xf32>) -> tensor<?x5xf32>
    llm.yield %b : tensor<?x5xf32>
  }
  return %r : tensor<?x5xf32>
}
