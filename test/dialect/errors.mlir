// What the verifiers of the llm ops refuse, one case per condition.
// RUN: llmc-opt %s --split-input-file --verify-diagnostics

func.func @weight_stack_without_place() {
  // expected-error@+1 {{expects '{}' in the name of stacked tensors, got 'experts.w'}}
  %w = llm.weight "experts.w" stack 2 : tensor<2x3x4xbf16>
  return
}

// -----

func.func @weight_stack_of_another_size() {
  // expected-error@+1 {{expects a first dimension of 3, got 'tensor<2x3x4xbf16>'}}
  %w = llm.weight "experts.{}.w" stack 3 : tensor<2x3x4xbf16>
  return
}

// -----

func.func @weight_of_dynamic_shape() {
  // expected-error@+1 {{result #0 must be a tensor as stored: f32, bf16 or f16 of static shape, but got 'tensor<?x4xbf16>'}}
  %w = llm.weight "w" : tensor<?x4xbf16>
  return
}

// -----

func.func @embed_into_another_width(%t: tensor<?xi32>, %table: tensor<8x4xf32>) {
  // expected-error@+1 {{expects a table [V, D] and a result [T, D]}}
  %x = llm.embed %t, %table : (tensor<?xi32>, tensor<8x4xf32>) -> tensor<?x5xf32>
  return
}

// -----

func.func @linear_of_another_depth(%x: tensor<?x4xf32>, %w: tensor<3x3xf32>) {
  // expected-error@+1 {{expects weights [N, 4] or wider, got 'tensor<3x3xf32>'}}
  %y = llm.linear %x, %w : (tensor<?x4xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
  return
}

// -----

func.func @linear_of_another_width(%x: tensor<?x4xf32>, %w: tensor<3x4xf32>) {
  // expected-error@+1 {{expects 7 weight rows in all, got 6}}
  %y = llm.linear %x, %w, %w : (tensor<?x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<?x7xf32>
  return
}

// -----

func.func @pack_rows_beyond_the_weight(%w: tensor<4x2xf32>) {
  // expected-error@+1 {{expects weights of 1 groups with 2 columns}}
  %p = llm.pack %w {groups = 1 : i64, panel = 2 : i64, from = 2 : i64, count = 3 : i64} : (tensor<4x2xf32>) -> tensor<1x2x2x2xf32>
  return
}

// -----

func.func @pack_into_too_few_panels(%w: tensor<4x2xf32>) {
  // expected-error@+1 {{expects 2 panels per group in its result}}
  %p = llm.pack %w {groups = 1 : i64, panel = 3 : i64} : (tensor<4x2xf32>) -> tensor<1x1x2x3xf32>
  return
}

// -----

func.func @slice_beyond_the_columns(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{expects columns within 4, got 2 + 3}}
  %y = llm.slice %x at 2 : (tensor<?x4xf32>) -> tensor<?x3xf32>
  return
}

// -----

func.func @map_of_another_width(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{expects operands of 3 columns, got 'tensor<?x4xf32>'}}
  %y = llm.map %x : (tensor<?x4xf32>) -> tensor<?x3xf32> {
  ^bb0(%a: f32):
    llm.yield %a : f32
  }
  return
}

// -----

func.func @map_without_an_argument(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{expects one region argument per operand}}
  %y = llm.map %x, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    llm.yield %a : f32
  }
  return
}

// -----

func.func @map_that_yields_two(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{expects its region to yield one f32}}
  %y = llm.map %x : (tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    llm.yield %a, %a : f32, f32
  }
  return
}

// -----

func.func @norm_of_an_odd_group(%x: tensor<?x4xf32>, %w: tensor<3xf32>) {
  // expected-error@+1 {{expects a weight length that divides 4}}
  %y = llm.rms_norm %x, %w {eps = 1.0e-05 : f64} : (tensor<?x4xf32>, tensor<3xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @norm_with_a_narrow_gate(%x: tensor<?x4xf32>, %w: tensor<4xf32>, %z: tensor<?x2xf32>) {
  // expected-error@+1 {{expects input, gate and result of as many columns}}
  %y = llm.rms_norm %x, %w gated by %z {eps = 1.0e-05 : f64} : (tensor<?x4xf32>, tensor<4xf32>, tensor<?x2xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @l2_norm_of_odd_heads(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{expects heads that divide 4, got 3}}
  %y = llm.l2_norm %x {heads = 3 : i64, eps = 1.0e-06 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @rotary_table_of_another_width(%s: !llm.sequences) {
  // expected-error@+1 {{expects 4 columns, got 2}}
  %t = llm.rotary_table %s {frequencies = array<f32: 1.0, 0.5>} : (!llm.sequences) -> tensor<?x2xf32>
  return
}

// -----

func.func @rotary_of_other_heads(%x: tensor<?x8xf32>, %t: tensor<?x4xf32>) {
  // expected-error@+1 {{expects 3 heads of 4 columns or more, got 8}}
  %y = llm.rotary %x, %t {heads = 3 : i64} : (tensor<?x8xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @append_into_a_narrow_cache(%x: tensor<?x2xf32>, %c: tensor<?x?x3xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects a cache of 4 columns, got 'tensor<?x?x3xf32>'}}
  %n = llm.append %x, %x into %c, %s : (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>, !llm.sequences) -> tensor<?x?x3xf32>
  return
}

// -----

func.func @attention_of_uneven_heads(%q: tensor<?x6xf32>, %k: tensor<?x?x4x32xf32>, %v: tensor<?x?x4xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects kv_heads that divide heads, got 2 and 3}}
  %o = llm.attention %q, %k, %v, %s {heads = 3 : i64, kv_heads = 2 : i64, scale = 1.0 : f64} : (tensor<?x6xf32>, tensor<?x?x4x32xf32>, tensor<?x?x4xf32>, !llm.sequences) -> tensor<?x6xf32>
  return
}

// -----

func.func @attention_with_narrow_keys(%q: tensor<?x8xf32>, %k: tensor<?x?x2x32xf32>, %v: tensor<?x?x4xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects keys [B, CTX/32, 4, 32]}}
  %o = llm.attention %q, %k, %v, %s {heads = 4 : i64, kv_heads = 2 : i64, scale = 1.0 : f64} : (tensor<?x8xf32>, tensor<?x?x2x32xf32>, tensor<?x?x4xf32>, !llm.sequences) -> tensor<?x8xf32>
  return
}

// -----

func.func @latent_attention_with_a_wide_query(%q: tensor<?x8xf32>, %c: tensor<?x?x5xf32>, %up: tensor<6x3xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects q of heads * (nope + rope) columns}}
  %o = llm.latent_attention %q, %c, %up, %s {heads = 2 : i64, nope = 1 : i64, rope = 2 : i64, scale = 1.0 : f64} : (tensor<?x8xf32>, tensor<?x?x5xf32>, tensor<6x3xf32>, !llm.sequences) -> tensor<?x4xf32>
  return
}

// -----

func.func @latent_attention_with_a_narrow_cache(%q: tensor<?x6xf32>, %c: tensor<?x?x4xf32>, %up: tensor<6x3xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects a cache of 5 columns}}
  %o = llm.latent_attention %q, %c, %up, %s {heads = 2 : i64, nope = 1 : i64, rope = 2 : i64, scale = 1.0 : f64} : (tensor<?x6xf32>, tensor<?x?x4xf32>, tensor<6x3xf32>, !llm.sequences) -> tensor<?x4xf32>
  return
}

// -----

func.func @latent_attention_of_unknown_form(%q: tensor<?x6xf32>, %c: tensor<?x?x5xf32>, %up: tensor<6x3xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects form absorbed or expanded, got folded}}
  %o = llm.latent_attention %q, %c, %up, %s {heads = 2 : i64, nope = 1 : i64, rope = 2 : i64, scale = 1.0 : f64, form = "folded"} : (tensor<?x6xf32>, tensor<?x?x5xf32>, tensor<6x3xf32>, !llm.sequences) -> tensor<?x4xf32>
  return
}

// -----

func.func @short_conv_with_a_short_tail(%x: tensor<?x2xf32>, %w: tensor<2x1x4xf32>, %t: tensor<?x2x2xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects weight [N, 1, W] and tail [B, W-1, N] for N = 2}}
  %y, %n = llm.short_conv %x, %w, %t, %s : (tensor<?x2xf32>, tensor<2x1x4xf32>, tensor<?x2x2xf32>, !llm.sequences) -> (tensor<?x2xf32>, tensor<?x2x2xf32>)
  return
}

// -----

func.func @decay_gate_with_a_short_bias(%f: tensor<?x4xf32>, %a: tensor<2xf32>, %b: tensor<2xf32>) {
  // expected-error@+1 {{expects dt_bias [H K] and a_log [H] for H K = 4}}
  %g = llm.decay_gate %f, %a, %b : (tensor<?x4xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @delta_rule_of_another_state(%q: tensor<?x4xf32>, %v: tensor<?x6xf32>, %b: tensor<?x2xf32>, %state: tensor<?x2x3x2xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects columns that match the state 'tensor<?x2x3x2xf32>'}}
  %o, %n = llm.delta_rule %q, %q, %v, %q, %b, %state, %s : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x2x3x2xf32>, !llm.sequences) -> (tensor<?x6xf32>, tensor<?x2x3x2xf32>)
  return
}

// -----

func.func @delta_rule_of_unknown_form(%q: tensor<?x4xf32>, %b: tensor<?x2xf32>, %state: tensor<?x2x2x2xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects form chunk or step, got scan}}
  %o, %n = llm.delta_rule %q, %q, %q, %q, %b, %state, %s {form = "scan"} : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x2x2x2xf32>, !llm.sequences) -> (tensor<?x4xf32>, tensor<?x2x2x2xf32>)
  return
}

// -----

func.func @route_to_more_than_there_are(%z: tensor<?x4xf32>) {
  // expected-error@+1 {{expects top_k within 1 .. 4, got 5}}
  %i, %w = llm.route %z {scoring = "softmax", top_k = 5 : i64, renormalize = true, scale = 1.0 : f64} : (tensor<?x4xf32>) -> (tensor<?x5xi32>, tensor<?x5xf32>)
  return
}

// -----

func.func @route_by_unknown_scores(%z: tensor<?x4xf32>) {
  // expected-error@+1 {{expects scoring sigmoid or softmax, got tanh}}
  %i, %w = llm.route %z {scoring = "tanh", top_k = 2 : i64, renormalize = true, scale = 1.0 : f64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return
}

// -----

func.func @route_in_uneven_groups(%z: tensor<?x4xf32>) {
  // expected-error@+1 {{expects groups that divide 4 and top_groups within them}}
  %i, %w = llm.route %z {scoring = "softmax", top_k = 2 : i64, renormalize = true, scale = 1.0 : f64, groups = 3 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return
}

// -----

func.func @route_with_a_short_bias(%z: tensor<?x4xf32>, %b: tensor<3xf32>) {
  // expected-error@+1 {{expects a bias of 4 values}}
  %i, %w = llm.route %z bias %b {scoring = "softmax", top_k = 2 : i64, renormalize = true, scale = 1.0 : f64} : (tensor<?x4xf32>, tensor<3xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return
}

// -----

func.func @dispatch_experts_in_pairs(%ids: tensor<?x2xi32>) {
  // expected-error@+1 {{expects groups [E, 3], got 'tensor<4x2xi32>'}}
  %o, %p, %g = llm.dispatch_experts %ids : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<4x2xi32>)
  return
}

// -----

func.func @expert_linear_of_another_depth(%x: tensor<?x4xf32>, %o: tensor<?xi32>, %g: tensor<2x3xi32>, %w: tensor<2x3x5xf32>) {
  // expected-error@+1 {{expects weights [E, N, 4], got 'tensor<2x3x5xf32>'}}
  %y = llm.expert_linear %x, %o, %g, %w {gather = 2 : i64, top_k = 2 : i64} : (tensor<?x4xf32>, tensor<?xi32>, tensor<2x3xi32>, tensor<2x3x5xf32>) -> tensor<?x3xf32>
  return
}

// -----

func.func @combine_of_another_width(%x: tensor<?x4xf32>, %p: tensor<?x2xi32>, %w: tensor<?x3xf32>) {
  // expected-error@+1 {{expects place and weights [T, k], x and result of one width}}
  %y = llm.combine_experts %x, %p, %w : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x3xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @sample_with_narrow_draws(%z: tensor<?x4xf32>, %s: tensor<?x4xf32>, %d: tensor<?x3xi64>) {
  // expected-error@+1 {{expects sampling and draws of 4 columns}}
  %t = llm.sample %z, %s, %d : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x3xi64>) -> tensor<?xi32>
  return
}

// -----

func.func @dispatch_tied_to_another_type(%x: tensor<?x4xf32>, %y: tensor<?x2xf32>) {
  // expected-error@+1 {{expects result 0 to be tied to an operand of its type}}
  %z = llm.dispatch(%x, %y) {tied = array<i64: 1>} : (tensor<?x4xf32>, tensor<?x2xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<?x2xf32>):
    llm.yield %a : tensor<?x4xf32>
  }
  return
}

// -----

func.func @dispatch_that_yields_another_type(%x: tensor<?x4xf32>, %y: tensor<?x2xf32>) {
  // expected-error@+1 {{expects its region to yield values of the result types}}
  %z = llm.dispatch(%x, %y) {tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<?x2xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<?x2xf32>):
    llm.yield %b : tensor<?x2xf32>
  }
  return
}

// -----

func.func @dispatch_without_ties(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{expects one entry of 'tied' per result}}
  %z = llm.dispatch(%x) {tied = array<i64>} : (tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: tensor<?x4xf32>):
    llm.yield %a : tensor<?x4xf32>
  }
  return
}

// -----

func.func @pack_of_no_groups(%w: tensor<4x2xf32>) {
  // expected-error@+1 {{attribute 'groups' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %p = llm.pack %w {groups = 0 : i64, panel = 2 : i64} : (tensor<4x2xf32>) -> tensor<1x2x2x2xf32>
  return
}

// -----

func.func @pack_of_two_types(%w: tensor<2x2xf32>, %v: tensor<2x2xbf16>) {
  // expected-error@+1 {{expects one element type}}
  %p = llm.pack %w, %v {groups = 1 : i64, panel = 2 : i64} : (tensor<2x2xf32>, tensor<2x2xbf16>) -> tensor<1x2x2x2xf32>
  return
}

// -----

func.func @append_that_changes_the_cache(%x: tensor<?x4xf32>, %c: tensor<?x?x4xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects the updated cache to keep its type}}
  %n = llm.append %x into %c, %s : (tensor<?x4xf32>, tensor<?x?x4xf32>, !llm.sequences) -> tensor<?x8x4xf32>
  return
}

// -----

func.func @attention_of_odd_columns(%q: tensor<?x7xf32>, %k: tensor<?x?x4x32xf32>, %v: tensor<?x?x4xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects q columns that are a multiple of heads}}
  %o = llm.attention %q, %k, %v, %s {heads = 4 : i64, kv_heads = 2 : i64, scale = 1.0 : f64} : (tensor<?x7xf32>, tensor<?x?x4x32xf32>, tensor<?x?x4xf32>, !llm.sequences) -> tensor<?x8xf32>
  return
}

// -----

func.func @attention_into_another_width(%q: tensor<?x8xf32>, %k: tensor<?x?x4x32xf32>, %v: tensor<?x?x4xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects values and result of matching head width}}
  %o = llm.attention %q, %k, %v, %s {heads = 4 : i64, kv_heads = 2 : i64, scale = 1.0 : f64} : (tensor<?x8xf32>, tensor<?x?x4x32xf32>, tensor<?x?x4xf32>, !llm.sequences) -> tensor<?x6xf32>
  return
}

// -----

func.func @latent_attention_of_uneven_rows(%q: tensor<?x6xf32>, %c: tensor<?x?x5xf32>, %up: tensor<7x3xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects up [heads * (nope + v), r]}}
  %o = llm.latent_attention %q, %c, %up, %s {heads = 2 : i64, nope = 1 : i64, rope = 2 : i64, scale = 1.0 : f64} : (tensor<?x6xf32>, tensor<?x?x5xf32>, tensor<7x3xf32>, !llm.sequences) -> tensor<?x4xf32>
  return
}

// -----

func.func @latent_attention_into_another_width(%q: tensor<?x6xf32>, %c: tensor<?x?x5xf32>, %up: tensor<6x3xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects a result of 4 columns}}
  %o = llm.latent_attention %q, %c, %up, %s {heads = 2 : i64, nope = 1 : i64, rope = 2 : i64, scale = 1.0 : f64} : (tensor<?x6xf32>, tensor<?x?x5xf32>, tensor<6x3xf32>, !llm.sequences) -> tensor<?x5xf32>
  return
}

// -----

func.func @delta_rule_of_a_flat_state(%q: tensor<?x4xf32>, %b: tensor<?x2xf32>, %state: tensor<?x4x2xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects a state [B, H, K, V], got 'tensor<?x4x2xf32>'}}
  %o, %n = llm.delta_rule %q, %q, %q, %q, %b, %state, %s : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x4x2xf32>, !llm.sequences) -> (tensor<?x4xf32>, tensor<?x4x2xf32>)
  return
}

// -----

func.func @route_into_other_columns(%z: tensor<?x4xf32>) {
  // expected-error@+1 {{expects results of 2 columns}}
  %i, %w = llm.route %z {scoring = "softmax", top_k = 2 : i64, renormalize = true, scale = 1.0 : f64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x3xf32>)
  return
}

// -----

func.func @expert_linear_of_another_width(%x: tensor<?x4xf32>, %o: tensor<?xi32>, %g: tensor<2x3xi32>, %w: tensor<2x3x4xf32>) {
  // expected-error@+1 {{expects 4 weight rows per expert, got 3}}
  %y = llm.expert_linear %x, %o, %g, %w {gather = 2 : i64, top_k = 2 : i64} : (tensor<?x4xf32>, tensor<?xi32>, tensor<2x3xi32>, tensor<2x3x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @dispatch_of_another_argument(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{expects region arguments of the operands' types}}
  %z = llm.dispatch(%x) {tied = array<i64: -1>} : (tensor<?x4xf32>) -> tensor<?x2xf32> {
  ^bb0(%a: tensor<?x2xf32>):
    llm.yield %a : tensor<?x2xf32>
  }
  return
}

// -----

func.func @pack_of_nothing() {
  // expected-error@+1 {{expects weights}}
  %p = "llm.pack"() {groups = 1 : i64, panel = 1 : i64} : () -> tensor<1x1x4x1xf32>
  return
}

// -----

func.func @slice_of_a_vector(%x: tensor<4xf32>) {
  // expected-error@+1 {{operand #0 must be rows [T, N] of f32 or bf16 with static N, but got 'tensor<4xf32>'}}
  %y = llm.slice %x at 0 : (tensor<4xf32>) -> tensor<?x3xf32>
  return
}

// -----

func.func @map_of_a_scalar(%x: tensor<f32>) {
  // expected-error@+1 {{operand #0 must be variadic of rows [T, N] of f32 or bf16, or a stored vector [N], but got 'tensor<f32>'}}
  %y = llm.map %x : (tensor<f32>) -> tensor<?x3xf32> {
  ^bb0(%a: f32):
    llm.yield %a : f32
  }
  return
}

// -----

func.func @norm_of_no_weights(%x: tensor<?x4xf32>, %w: tensor<0xf32>) {
  // expected-error@+1 {{operand #1 must be a tensor as stored: f32, bf16 or f16 of static shape, but got 'tensor<0xf32>'}}
  %y = llm.rms_norm %x, %w {eps = 1.0e-05 : f64} : (tensor<?x4xf32>, tensor<0xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @append_into_a_matrix(%x: tensor<?x4xf32>, %c: tensor<?x4xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{operand #1 must be a state [B, ...] of f32 or bf16, at least three-dimensional, but got 'tensor<?x4xf32>'}}
  %n = llm.append %x into %c, %s : (tensor<?x4xf32>, tensor<?x4xf32>, !llm.sequences) -> tensor<?x4xf32>
  return
}

// -----

func.func @dispatch_experts_of_a_scalar(%ids: tensor<i32>) {
  // expected-error@+1 {{operand #0 must be ids of i32, at least one-dimensional, but got 'tensor<i32>'}}
  %o, %p, %g = llm.dispatch_experts %ids : (tensor<i32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<4x3xi32>)
  return
}

// -----

func.func @dispatch_to_an_unknown_number_of_experts(%ids: tensor<?x2xi32>) {
  // expected-error@+1 {{expects groups [E, 3], got 'tensor<?x3xi32>'}}
  %o, %p, %g = llm.dispatch_experts %ids : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<?x3xi32>)
  return
}

// -----

func.func @sample_with_one_draw(%z: tensor<?x4xf32>, %s: tensor<?x4xf32>, %d: tensor<4xi64>) {
  // expected-error@+1 {{operand #2 must be draws [S, 4] of i64, but got 'tensor<4xi64>'}}
  %t = llm.sample %z, %s, %d : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<4xi64>) -> tensor<?x1xi32>
  return
}

// -----

func.func @slice_before_the_columns(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{attribute 'offset' failed to satisfy constraint: 64-bit signless integer attribute whose value is non-negative}}
  %y = llm.slice %x at -1 : (tensor<?x4xf32>) -> tensor<?x3xf32>
  return
}

// -----

func.func @slice_that_wraps(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{attribute 'offset' failed to satisfy constraint: 64-bit signless integer attribute whose value is non-negative whose maximum value is 2147483647}}
  %y = llm.slice %x at 9223372036854775807 : (tensor<?x4xf32>) -> tensor<?x3xf32>
  return
}

// -----

func.func @pack_of_groups_that_wrap(%w: tensor<4x2xf32>) {
  // expected-error@+1 {{attribute 'groups' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive whose maximum value is 2147483647}}
  %p = llm.pack %w {groups = 9223372036854775807 : i64, panel = 2 : i64} : (tensor<4x2xf32>) -> tensor<1x2x2x2xf32>
  return
}

// -----

// Its number of elements is 2^64, which is 0 where it is not checked.
func.func @norm_by_a_weight_of_no_size(%x: tensor<?x4xf32>, %w: tensor<4294967296x4294967296xf32>) {
  // expected-error@+1 {{operand #1 must be a tensor as stored: f32, bf16 or f16 of static shape, but got 'tensor<4294967296x4294967296xf32>'}}
  %y = llm.rms_norm %x, %w {eps = 1.0e-05} : (tensor<?x4xf32>, tensor<4294967296x4294967296xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @weight_of_2_to_the_49(%w: tensor<2147483647x2147483647xf32>) {
  // expected-error@+1 {{must be a tensor as stored}}
  %y = llm.weight "w" : tensor<16777216x16777216x2xbf16>
  return
}

// -----

func.func @map_over_integers(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{expects region arguments of type f32}}
  %y = llm.map %x : (tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%v: i32):
    %c = arith.constant 1.0 : f32
    llm.yield %c : f32
  }
  return
}

// -----

func.func @delta_rule_of_any_heads(%q: tensor<?x4xf32>, %b: tensor<?x2xf32>, %state: tensor<?x?x2x2xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects a state [B, H, K, V], got 'tensor<?x?x2x2xf32>'}}
  %o, %n = llm.delta_rule %q, %q, %q, %q, %b, %state, %s : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x?x2x2xf32>, !llm.sequences) -> (tensor<?x4xf32>, tensor<?x?x2x2xf32>)
  return
}

// -----

func.func @launch_tied_to_no_operand(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{expects result 0 to be tied to an operand of its type}}
  %y = llm.launch @k(%x) {tied = array<i64: 1>} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @launch_with_too_few_ties(%x: tensor<?x4xf32>) {
  // expected-error@+1 {{expects one entry of 'tied' per result}}
  %y = llm.launch @k(%x) {tied = array<i64>} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @concat_of_nothing() {
  // expected-error@+1 {{expects operands of 3 columns in all, got 0}}
  %y = llm.concat {} : () -> tensor<?x3xf32>
  return
}

// -----

func.func @concat_into_another_width(%x: tensor<?x4xf32>, %z: tensor<?x1xf32>) {
  // expected-error@+1 {{expects operands of 4 columns in all, got 5}}
  %y = llm.concat %x, %z : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @statistics_of_one_token(%z: tensor<?x1xf32>, %t: tensor<?x1xf32>) {
  // expected-error@+1 {{expects logits of at least 2 tokens, got 1}}
  %y = llm.logit_statistics %z, %t : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @statistics_at_two_temperatures(%z: tensor<?x9xf32>, %t: tensor<?x2xf32>) {
  // expected-error@+1 {{expects a temperature of 1 column and a result of 4, got 2 and 4}}
  %y = llm.logit_statistics %z, %t : (tensor<?x9xf32>, tensor<?x2xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @statistics_of_another_width(%z: tensor<?x9xf32>, %t: tensor<?x1xf32>) {
  // expected-error@+1 {{expects a temperature of 1 column and a result of 4, got 1 and 5}}
  %y = llm.logit_statistics %z, %t : (tensor<?x9xf32>, tensor<?x1xf32>) -> tensor<?x5xf32>
  return
}

// -----

func.func @attention_of_a_window_as_far_as_another_table(%q: tensor<?x8xf32>, %k: tensor<?x?x4x32xf32>, %v: tensor<?x?x4xf32>, %s: !llm.sequences) {
  // expected-error@+1 {{expects a window alone, without block and seen}}
  %o = llm.attention %q, %k, %v, %s seen %s {heads = 4 : i64, kv_heads = 2 : i64, scale = 1.0 : f64, window = 3 : i64} : (tensor<?x8xf32>, tensor<?x?x4x32xf32>, tensor<?x?x4xf32>, !llm.sequences, !llm.sequences) -> tensor<?x8xf32>
  return
}

// -----

func.func @next_rows_with_wide_counts(%canvas: tensor<?x?xi32>, %s: !llm.sequences, %b: tensor<?x4xi32>, %settings: tensor<?x8xf32>) {
  // expected-error@+1 {{expects counts [S, 1], got 'tensor<?x2xi32>'}}
  %r, %n = llm.next_rows %canvas, %s, %s, %b, %settings, %b {mask = 9 : i64} : (tensor<?x?xi32>, !llm.sequences, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (!llm.sequences, tensor<?x2xi32>)
  return
}
