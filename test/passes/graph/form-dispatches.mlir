// form-dispatches: what joins a root's dispatch, what is cloned, what stands alone.
// RUN: llmc-opt %s --pass-pipeline='builtin.module(func.func(form-dispatches))' --split-input-file | FileCheck %s

!rows = tensor<?x4xf32>
!vector = tensor<4xf32>
!matrix = tensor<4x4xf32>

// The norm is the prologue, the residual add the epilogue.
// CHECK-LABEL: @takes_norm_and_residual
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>, %[[N:.*]]: tensor<4xf32>, %[[W:.*]]: tensor<4x4xf32>)
// CHECK-NEXT: %[[D:.*]] = llm.dispatch(%[[X]], %[[N]], %[[W]]) {kernel = "takes_norm_and_residual_linear_0", tied = array<i64: -1>}
// CHECK: ^bb0(%[[x:.*]]: tensor<?x4xf32>, %[[n:.*]]: tensor<4xf32>, %[[w:.*]]: tensor<4x4xf32>):
// CHECK: %[[NORM:.*]] = llm.rms_norm %[[x]], %[[n]]
// CHECK: %[[LINEAR:.*]] = llm.linear %[[NORM]], %[[w]]
// CHECK: %[[SUM:.*]] = llm.map %[[LINEAR]], %[[x]]
// CHECK: llm.yield %[[SUM]]
// CHECK: return %[[D]]
func.func @takes_norm_and_residual(%x: !rows, %n: !vector, %w: !matrix) -> !rows {
  %a = llm.rms_norm %x, %n {eps = 1.0e-05 : f64} : (!rows, !vector) -> !rows
  %b = llm.linear %a, %w : (!rows, !matrix) -> !rows
  %c = llm.map %b, %x : (!rows, !rows) -> !rows {
  ^bb0(%p: f32, %q: f32):
    %r = arith.addf %p, %q : f32
    llm.yield %r : f32
  }
  return %c : !rows
}

// -----

// Gate times up: the slices of a joined linear and their map.
// CHECK-LABEL: @takes_slices_of_a_linear
// CHECK: llm.dispatch
// CHECK: llm.linear
// CHECK: llm.slice {{.*}} at 0
// CHECK: llm.slice {{.*}} at 32
// CHECK: llm.map
// CHECK-NOT: llm.dispatch
// CHECK: return
func.func @takes_slices_of_a_linear(%x: tensor<?x4xf32>, %w: tensor<64x4xf32>) -> tensor<?x8xf32> {
  %b = llm.linear %x, %w : (tensor<?x4xf32>, tensor<64x4xf32>) -> tensor<?x64xf32>
  %gate = llm.slice %b at 0 : (tensor<?x64xf32>) -> tensor<?x8xf32>
  %up = llm.slice %b at 32 : (tensor<?x64xf32>) -> tensor<?x8xf32>
  %c = llm.map %gate, %up : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.mulf %p, %q : f32
    llm.yield %r : f32
  }
  return %c : tensor<?x8xf32>
}

// -----

// The epilogue works on panels of 32 columns; these slices begin within one.
// CHECK-LABEL: @keeps_slices_that_begin_within_a_panel
// CHECK: %[[B:.*]] = llm.dispatch
// CHECK: llm.linear
// CHECK-NOT: llm.slice
// CHECK: llm.dispatch(%[[B]])
// CHECK: llm.slice {{.*}} at 0
// CHECK: llm.slice {{.*}} at 8
// CHECK: llm.map
func.func @keeps_slices_that_begin_within_a_panel(%x: tensor<?x4xf32>, %w: tensor<16x4xf32>) -> tensor<?x8xf32> {
  %b = llm.linear %x, %w : (tensor<?x4xf32>, tensor<16x4xf32>) -> tensor<?x16xf32>
  %gate = llm.slice %b at 0 : (tensor<?x16xf32>) -> tensor<?x8xf32>
  %up = llm.slice %b at 8 : (tensor<?x16xf32>) -> tensor<?x8xf32>
  %c = llm.map %gate, %up : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.mulf %p, %q : f32
    llm.yield %r : f32
  }
  return %c : tensor<?x8xf32>
}

// -----

// A result with two users is stored; the map is computed in the dispatch that reads it.
// CHECK-LABEL: @keeps_an_epilogue_of_two_users
// CHECK: %[[FIRST:.*]] = llm.dispatch
// CHECK: llm.linear
// CHECK-NOT: llm.map
// CHECK: llm.dispatch(%[[FIRST]]
// CHECK: llm.map
// CHECK: llm.linear
func.func @keeps_an_epilogue_of_two_users(%x: tensor<?x4xf32>, %w: tensor<4x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %b = llm.linear %x, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %c = llm.map %b : (tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%p: f32):
    %r = arith.negf %p : f32
    llm.yield %r : f32
  }
  %d = llm.linear %c, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  return %b, %d : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

// A map of two linears belongs to the first; the other one is stored.
// CHECK-LABEL: @keeps_an_epilogue_that_is_taken
// CHECK-SAME: (%[[X:[^:]*]]: {{[^,]*}}, %[[V:[^:]*]]: {{[^,]*}}, %[[A:[^:]*]]: {{[^,]*}}, %[[B:[^:]*]]:
// CHECK: %[[SECOND:.*]] = llm.dispatch(%[[V]], %[[B]])
// CHECK-NOT: llm.map
// CHECK: llm.dispatch(%[[X]], %[[A]], %[[SECOND]])
// CHECK: llm.linear
// CHECK: llm.map
func.func @keeps_an_epilogue_that_is_taken(%x: tensor<?x4xf32>, %v: tensor<?x4xf32>, %a: tensor<4x4xf32>, %b: tensor<4x4xf32>) -> tensor<?x4xf32> {
  %y = llm.linear %x, %a : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %z = llm.linear %v, %b : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %c = llm.map %y, %z : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.addf %p, %q : f32
    llm.yield %r : f32
  }
  return %c : tensor<?x4xf32>
}

// -----

// Attention takes no epilogue; what follows becomes the prologue of the next root.
// CHECK-LABEL: @keeps_attention_without_an_epilogue
// CHECK: llm.dispatch
// CHECK: llm.attention
// CHECK-NOT: llm.map
// CHECK: llm.dispatch
// CHECK: llm.map
// CHECK: llm.linear
func.func @keeps_attention_without_an_epilogue(%q: tensor<?x8xf32>, %k: tensor<?x?x4x32xf32>, %v: tensor<?x?x4xf32>, %w: tensor<8x8xf32>, %s: !llm.sequences) -> tensor<?x8xf32> {
  %o = llm.attention %q, %k, %v, %s {heads = 4 : i64, kv_heads = 2 : i64, scale = 1.0 : f64} : (tensor<?x8xf32>, tensor<?x?x4x32xf32>, tensor<?x?x4xf32>, !llm.sequences) -> tensor<?x8xf32>
  %c = llm.map %o : (tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%p: f32):
    %r = arith.negf %p : f32
    llm.yield %r : f32
  }
  %d = llm.linear %c, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  return %d : tensor<?x8xf32>
}

// -----

// CHECK-LABEL: @clones_a_norm_into_each_reader
// CHECK: llm.dispatch
// CHECK: llm.rms_norm
// CHECK: llm.linear
// CHECK: llm.dispatch
// CHECK: llm.rms_norm
// CHECK: llm.linear
func.func @clones_a_norm_into_each_reader(%x: tensor<?x4xf32>, %n: tensor<4xf32>, %a: tensor<4x4xf32>, %b: tensor<4x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %h = llm.rms_norm %x, %n {eps = 1.0e-05 : f64} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %y = llm.linear %h, %a : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %z = llm.linear %h, %b : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  return %y, %z : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

// A row-local op whose rows are returned has a dispatch of its own, and its readers take its result.
// CHECK-LABEL: @stores_a_norm_that_leaves
// CHECK: %[[H:.*]] = llm.dispatch
// CHECK-NEXT: ^bb0
// CHECK-NEXT: llm.rms_norm
// CHECK: llm.dispatch(%[[H]], %{{.*}})
// CHECK-NOT: llm.rms_norm
// CHECK: llm.linear
// CHECK: return %[[H]]
func.func @stores_a_norm_that_leaves(%x: tensor<?x4xf32>, %n: tensor<4xf32>, %a: tensor<4x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %h = llm.rms_norm %x, %n {eps = 1.0e-05 : f64} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %y = llm.linear %h, %a : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  return %h, %y : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

!rows = tensor<?x4xf32>
!state = tensor<?x2x2x2xf32>
!tail = tensor<?x3x4xf32>

// Convolution, rule and gated head norm are one dispatch; states are updated in place.
// CHECK-LABEL: @takes_convolution_and_head_norm
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>, %[[W:.*]]: tensor<4x4xf32>, %[[TAIL:.*]]: tensor<?x3x4xf32>, %[[BETA:.*]]: tensor<?x2xf32>, %[[STATE:.*]]: tensor<?x2x2x2xf32>
// CHECK: llm.dispatch(%[[X]], %[[W]], %[[TAIL]], %{{.*}}, %[[BETA]], %[[STATE]], %{{.*}}, %{{.*}}) {{.*}}tied = array<i64: 2, 5, -1>}
// CHECK: %[[Q:.*]], %[[NEWTAIL:.*]] = llm.short_conv
// CHECK: llm.l2_norm %[[Q]]
// CHECK: %[[O:.*]], %[[NEW:.*]] = llm.delta_rule
// CHECK: %[[OUT:.*]] = llm.rms_norm %[[O]]
// CHECK: llm.yield %[[NEWTAIL]], %[[NEW]], %[[OUT]]
func.func @takes_convolution_and_head_norm(%x: !rows, %w: tensor<4x4xf32>, %tail: !tail, %beta: tensor<?x2xf32>, %state: !state, %n: tensor<2xf32>, %z: !rows, %s: !llm.sequences)
    -> (!rows, !tail, !state) {
  %q, %t = llm.short_conv %x, %w, %tail, %s : (!rows, tensor<4x4xf32>, !tail, !llm.sequences) -> (!rows, !tail)
  %k = llm.l2_norm %q {heads = 2 : i64, eps = 1.0e-06 : f64} : (!rows) -> !rows
  %o, %new = llm.delta_rule %k, %k, %q, %x, %beta, %state, %s : (!rows, !rows, !rows, !rows, tensor<?x2xf32>, !state, !llm.sequences) -> (!rows, !state)
  %r = llm.rms_norm %o, %n gated by %z {eps = 1.0e-05 : f64} : (!rows, tensor<2xf32>, !rows) -> !rows
  return %r, %t, %new : !rows, !tail, !state
}

// A norm over all heads does not fit the rule's head-by-head kernel.
// CHECK-LABEL: @keeps_a_norm_across_heads
// CHECK: llm.delta_rule
// CHECK-NOT: llm.rms_norm
// CHECK: llm.dispatch
// CHECK: llm.rms_norm
func.func @keeps_a_norm_across_heads(%x: !rows, %beta: tensor<?x2xf32>, %state: !state, %n: tensor<4xf32>, %s: !llm.sequences) -> (!rows, !state) {
  %o, %new = llm.delta_rule %x, %x, %x, %x, %beta, %state, %s : (!rows, !rows, !rows, !rows, tensor<?x2xf32>, !state, !llm.sequences) -> (!rows, !state)
  %r = llm.rms_norm %o, %n {eps = 1.0e-05 : f64} : (!rows, tensor<4xf32>) -> !rows
  return %r, %new : !rows, !state
}

// The kernel writes the state whether somebody reads it or not.
// CHECK-LABEL: @yields_a_state_that_nobody_reads
// CHECK: llm.dispatch({{.*}}tied = array<i64: -1, 2>}
func.func @yields_a_state_that_nobody_reads(%x: !rows, %beta: tensor<?x2xf32>, %state: !state, %s: !llm.sequences) -> !rows {
  %o, %new = llm.delta_rule %x, %x, %x, %x, %beta, %state, %s : (!rows, !rows, !rows, !rows, tensor<?x2xf32>, !state, !llm.sequences) -> (!rows, !state)
  return %o : !rows
}

// -----

// CHECK-LABEL: @erases_what_is_dead
// CHECK-NEXT: return
func.func @erases_what_is_dead(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>) -> tensor<?x4xf32> {
  %y = llm.linear %x, %w : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %z = llm.slice %y at 0 : (tensor<?x8xf32>) -> tensor<?x4xf32>
  return %x : tensor<?x4xf32>
}

// -----

// CHECK-LABEL: @keeps_a_kernel
// CHECK: llm.slice
// CHECK-NOT: llm.dispatch
func.func private @keeps_a_kernel(%x: tensor<?x4xf32>) -> tensor<?x2xf32> attributes {llm.kernel} {
  %y = llm.slice %x at 0 : (tensor<?x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// CHECK-LABEL: @keeps_a_declaration
func.func private @keeps_a_declaration(tensor<?x4xf32>)

// -----

// A linear's epilogue works on panels of 32 columns; a norm needs the row, so it is stored, and the map behind it joins the epilogue.
// CHECK-LABEL: @stores_a_norm_that_an_epilogue_reads
// CHECK: %[[H:.*]] = llm.dispatch
// CHECK-NEXT: ^bb0
// CHECK-NEXT: llm.rms_norm
// CHECK-NEXT: llm.yield
// CHECK: llm.dispatch({{.*}}%[[H]]
// CHECK-NOT: llm.rms_norm
// CHECK: %[[G:.*]] = llm.map
// CHECK: %[[Y:.*]] = llm.linear
// CHECK: llm.map %[[Y]], %[[G]]
func.func @stores_a_norm_that_an_epilogue_reads(%x: tensor<?x64xf32>, %n: tensor<64xf32>, %a: tensor<64x64xf32>) -> tensor<?x64xf32> {
  %h = llm.rms_norm %x, %n {eps = 1.0e-05 : f64} : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
  %g = llm.map %h : (tensor<?x64xf32>) -> tensor<?x64xf32> {
  ^bb0(%p: f32):
    %r = arith.negf %p : f32
    llm.yield %r : f32
  }
  %y = llm.linear %x, %a : (tensor<?x64xf32>, tensor<64x64xf32>) -> tensor<?x64xf32>
  %z = llm.map %y, %g : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.addf %p, %q : f32
    llm.yield %r : f32
  }
  return %z : tensor<?x64xf32>
}

// -----

// Up to 32768 weights the router's linear is computed where the experts are chosen.
// CHECK-LABEL: @takes_a_small_router
// CHECK: llm.dispatch
// CHECK: llm.linear
// CHECK-NOT: llm.dispatch
// CHECK: llm.route
func.func @takes_a_small_router(%x: tensor<?x64xf32>, %w: tensor<512x64xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %z = llm.linear %x, %w : (tensor<?x64xf32>, tensor<512x64xf32>) -> tensor<?x512xf32>
  %i, %s = llm.route %z {scoring = "softmax", top_k = 2 : i64, renormalize = true, scale = 1.0 : f64} : (tensor<?x512xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return %i, %s : tensor<?x2xi32>, tensor<?x2xf32>
}

// -----

// CHECK-LABEL: @keeps_a_large_router
// CHECK: llm.dispatch
// CHECK: llm.linear
// CHECK: llm.dispatch
// CHECK: llm.route
func.func @keeps_a_large_router(%x: tensor<?x64xf32>, %w: tensor<513x64xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %z = llm.linear %x, %w : (tensor<?x64xf32>, tensor<513x64xf32>) -> tensor<?x513xf32>
  %i, %s = llm.route %z {scoring = "softmax", top_k = 2 : i64, renormalize = true, scale = 1.0 : f64} : (tensor<?x513xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return %i, %s : tensor<?x2xi32>, tensor<?x2xf32>
}

// -----

// Heads beside the language model's: a concatenation goes into the linear that reads it and into the draw, and stands alone where it
// leaves; statistics have a dispatch of their own.
// CHECK-LABEL: @draws_with_what_heads_predict
// CHECK: %[[S:.*]] = llm.dispatch(%[[Z:.*]], %[[T:.*]]) {kernel = "draws_with_what_heads_predict_logit_statistics_0"
// CHECK: llm.logit_statistics
// CHECK: %[[P:.*]] = llm.dispatch(
// CHECK: llm.concat
// CHECK-NEXT: llm.linear
// CHECK: %[[D:.*]] = llm.dispatch(%[[T]], %[[P]])
// CHECK: llm.concat
// CHECK: llm.dispatch(
// CHECK: llm.slice {{.*}} at 2
// CHECK-NEXT: %[[SAMPLING:.*]] = llm.concat
// CHECK-NEXT: llm.sample {{.*}}, %[[SAMPLING]],
func.func @draws_with_what_heads_predict(%h: tensor<?x4xf32>, %z: tensor<?x9xf32>, %t: tensor<?x1xf32>, %w: tensor<1x9xf32>, %u: tensor<?x4xf32>,
    %d: tensor<?x4xi64>) -> (tensor<?x1xi32>, tensor<?x2xf32>) {
  %s = llm.logit_statistics %z, %t : (tensor<?x9xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %x = llm.concat %h, %t, %s : (tensor<?x4xf32>, tensor<?x1xf32>, tensor<?x4xf32>) -> tensor<?x9xf32>
  %p = llm.linear %x, %w : (tensor<?x9xf32>, tensor<1x9xf32>) -> tensor<?x1xf32>
  %decoding = llm.concat %t, %p : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %rest = llm.slice %u at 2 : (tensor<?x4xf32>) -> tensor<?x2xf32>
  %sampling = llm.concat %decoding, %rest : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x4xf32>
  %n = llm.sample %z, %sampling, %d : (tensor<?x9xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?x1xi32>
  return %n, %decoding : tensor<?x1xi32>, tensor<?x2xf32>
}

// -----

// What reads it in parts finds a concatenation in memory.
// CHECK-LABEL: @keeps_a_concatenation_that_is_read_in_parts
// CHECK: %[[Z:.*]] = llm.dispatch(
// CHECK: llm.concat
// CHECK: llm.dispatch(%[[Z]],
// CHECK-NOT: llm.concat
// CHECK: llm.logit_statistics
func.func @keeps_a_concatenation_that_is_read_in_parts(%x: tensor<?x9xf32>, %t: tensor<?x1xf32>) -> tensor<?x4xf32> {
  %z = llm.concat %x, %t : (tensor<?x9xf32>, tensor<?x1xf32>) -> tensor<?x10xf32>
  %s = llm.logit_statistics %z, %t : (tensor<?x10xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %s : tensor<?x4xf32>
}
