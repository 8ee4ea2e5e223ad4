// form-dispatches: convolutions that have no kernel.
// RUN: llmc-opt %s --pass-pipeline='builtin.module(func.func(form-dispatches))' --split-input-file --verify-diagnostics

!rows = tensor<?x4xf32>
!tail = tensor<?x3x4xf32>
func.func @convolution_for_a_linear(%x: !rows, %w: tensor<4x4xf32>, %tail: !tail, %s: !llm.sequences) -> (!rows, !tail) {
  // expected-error@+1 {{a short convolution has a kernel only where one delta rule alone reads it; give every other reader a convolution of its own}}
  %q, %t = llm.short_conv %x, %w, %tail, %s : (!rows, tensor<4x4xf32>, !tail, !llm.sequences) -> (!rows, !tail)
  %y = llm.linear %q, %w : (!rows, tensor<4x4xf32>) -> !rows
  return %y, %t : !rows, !tail
}

// -----

!rows = tensor<?x4xf32>
!tail = tensor<?x3x4xf32>
func.func @convolution_of_which_only_the_tail_is_read(%x: !rows, %w: tensor<4x4xf32>, %tail: !tail, %s: !llm.sequences) -> !tail {
  // expected-error@+1 {{a short convolution has a kernel only where one delta rule alone reads it}}
  %q, %t = llm.short_conv %x, %w, %tail, %s : (!rows, tensor<4x4xf32>, !tail, !llm.sequences) -> (!rows, !tail)
  return %t : !tail
}

// -----

!rows = tensor<?x4xf32>
!tail = tensor<?x3x4xf32>
!state = tensor<?x2x2x2xf32>
func.func @convolution_for_two_rules(%x: !rows, %w: tensor<4x4xf32>, %tail: !tail, %beta: tensor<?x2xf32>, %a: !state, %b: !state, %s: !llm.sequences)
    -> (!rows, !rows, !tail, !state, !state) {
  // expected-error@+1 {{a short convolution has a kernel only where one delta rule alone reads it}}
  %q, %t = llm.short_conv %x, %w, %tail, %s : (!rows, tensor<4x4xf32>, !tail, !llm.sequences) -> (!rows, !tail)
  %o, %c = llm.delta_rule %q, %q, %q, %x, %beta, %a, %s : (!rows, !rows, !rows, !rows, tensor<?x2xf32>, !state, !llm.sequences) -> (!rows, !state)
  %p, %d = llm.delta_rule %q, %q, %q, %x, %beta, %b, %s : (!rows, !rows, !rows, !rows, tensor<?x2xf32>, !state, !llm.sequences) -> (!rows, !state)
  return %o, %p, %t, %c, %d : !rows, !rows, !tail, !state, !state
}

// -----

!rows = tensor<?x4xf32>
!tail = tensor<?x3x4xf32>
!state = tensor<?x2x2x2xf32>
func.func @convolution_whose_slice_a_linear_reads(%x: !rows, %w: tensor<4x4xf32>, %tail: !tail, %beta: tensor<?x2xf32>, %a: !state, %s: !llm.sequences)
    -> (!rows, !rows, !tail, !state) {
  // expected-error@+1 {{a short convolution has a kernel only where one delta rule alone reads it}}
  %q, %t = llm.short_conv %x, %w, %tail, %s : (!rows, tensor<4x4xf32>, !tail, !llm.sequences) -> (!rows, !tail)
  %k = llm.l2_norm %q {heads = 2 : i64, eps = 1.0e-06 : f64} : (!rows) -> !rows
  %o, %c = llm.delta_rule %k, %k, %k, %x, %beta, %a, %s : (!rows, !rows, !rows, !rows, tensor<?x2xf32>, !state, !llm.sequences) -> (!rows, !state)
  %y = llm.linear %k, %w : (!rows, tensor<4x4xf32>) -> !rows
  return %o, %y, %t, %c : !rows, !rows, !tail, !state
}
