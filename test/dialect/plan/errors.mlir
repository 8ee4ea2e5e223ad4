// What the verifiers of the plan ops refuse, one case per condition.
// RUN: llmc-opt %s --split-input-file --verify-diagnostics

// expected-error@+1 {{expects kind input, output, weight, state or transient, got scratch}}
plan.buffer "scratch" @of_unknown_kind : tensor<4xf32>

// -----

// expected-error@+1 {{expects a ranked tensor type}}
plan.buffer "input" @of_no_tensor : f32

// -----

// expected-error@+1 {{expects a name for each of 2 dynamic dimensions, got 1}}
plan.buffer "input" @of_unnamed_dimensions : tensor<?x?xf32> dims ["T"]

// -----

// expected-error@+1 {{expects the tensors it holds exactly if it is a weight}}
plan.buffer "weight" @weight_that_holds_nothing : tensor<4xf32>

// -----

// expected-error@+1 {{expects the tensors it holds exactly if it is a weight}}
plan.buffer "input" @input_that_holds_tensors : tensor<4xf32> holds ["a"]

// -----

plan.program @holds_other_ops inputs [] outputs [] {
  // expected-error@+1 {{expects to be outside of a plan.program, which holds dispatches and loops only}}
  %c = arith.constant 0 : index
}

// -----

// expected-error@+1 {{expects inputs that are buffers of that kind, got @x}}
plan.program @has_no_such_input inputs [@x] outputs [] {
}

// -----

plan.buffer "input" @x : tensor<4xf32>
// expected-error@+1 {{expects outputs that are buffers of that kind, got @x}}
plan.program @gives_its_input inputs [@x] outputs [@x] {
}

// -----

plan.buffer "input" @x : tensor<4xf32>
plan.program @ingest inputs [@x] outputs [] {
  // expected-error@+1 {{expects a kernel of the module, got @x}}
  plan.dispatch @x [@x]
}

// -----

plan.buffer "input" @x : tensor<4xf32>
func.func private @k(%x: tensor<4xf32>, %y: tensor<4xf32>) attributes {llm.kernel} {
  return
}
plan.program @ingest inputs [@x] outputs [] {
  // expected-error@+1 {{expects 2 buffers, one per argument of @k, got 1}}
  plan.dispatch @k [@x]
}

// -----

func.func private @k(%x: tensor<4xf32>) attributes {llm.kernel} {
  return
}
plan.program @ingest inputs [] outputs [] {
  // expected-error@+1 {{expects buffers of the module, got @k}}
  plan.dispatch @k [@k]
}

// -----

// expected-error@+1 {{expects parts to have a first row and a number of rows for each tensor}}
plan.buffer "weight" @of_too_few_parts : tensor<4xf32> holds ["a", "b"] layout {parts = array<i64: 0, 4>}

// -----

// expected-error@+1 {{expects dims SYMBOL or N*SYMBOL (T, S, SLOTS, CTX, CTXB), got 8*TOKENS}}
plan.buffer "transient" @unknown_symbol : tensor<?x4xf32> dims ["8*TOKENS"]

// -----

// expected-error@+1 {{expects a transient's dims in T and S, got CTX}}
plan.buffer "transient" @transient_of_context : tensor<?x4xf32> dims ["CTX"]

// -----

// expected-error@+1 {{expects spans of two texts, from and to, got}}
plan.program @has_half_a_span inputs [] outputs [] spans [["0"]] {
}

// -----

// expected-error@+1 {{expects a number of rows for each of 1 spans, got 2}}
plan.program @has_rows_of_no_span inputs [] outputs [] spans [["0", "end"]] rows [4, 4] {
}

// -----

plan.buffer "transient" @t : tensor<?xi32> dims ["S"]
func.func private @k(%x: tensor<?xi32>) attributes {llm.kernel} {
  return
}
plan.program @names_no_span inputs [] outputs [] {
  // expected-error@+1 {{expects one of 1 spans, got 1}}
  plan.dispatch @k [@t] span 1
}

// -----

plan.buffer "transient" @t : tensor<?xf32> dims ["S"]
func.func private @k(%x: tensor<?xf32>) attributes {llm.kernel} {
  return
}
plan.program @loops_on_reals inputs [] outputs [] {
  // expected-error@+1 {{expects a condition that is a transient of i32, got @t}}
  plan.loop while @t at_most 3 {
    plan.dispatch @k [@t]
  }
}

// -----

plan.buffer "transient" @t : tensor<?xi32> dims ["S"]
func.func private @k(%x: tensor<?xi32>) attributes {llm.kernel} {
  return
}
plan.program @counts_rows_of_no_span inputs [] outputs [] spans [["0", "end"], ["known", "end"]] {
  // expected-error@+1 {{expects rows of one of 2 spans, got 2}}
  plan.loop while @t at_most 3 rows 2 {
    plan.dispatch @k [@t]
  }
}

// -----

plan.buffer "transient" @t : tensor<?xi32> dims ["S"]
plan.program @loops_over_nothing inputs [] outputs [] {
  // expected-error@+1 {{expects dispatches}}
  plan.loop while @t at_most 3 {
  }
}

// -----

// expected-error@+1 {{expects a weight of static shape, got 'tensor<?x4xf32>'}}
plan.buffer "weight" @of_any_size : tensor<?x4xf32> dims ["T"] holds ["w"]

// -----

// expected-error@+1 {{expects a layout only if it is a weight}}
plan.buffer "state" @no_weight : tensor<?x4xf32> dims ["SLOTS"] layout {panel = 32 : i64}

// -----

// expected-error@+1 {{expects a layout of stack, groups, from, count, panel and parts, got tile}}
plan.buffer "weight" @of_unknown_layout : tensor<4xf32> holds ["w"] layout {tile = 2 : i64}

// -----

// expected-error@+1 {{expects groups to be an i64 of at least 1, got 0 : i64}}
plan.buffer "weight" @of_no_groups : tensor<1x2x4xf32> holds ["w"] layout {groups = 0 : i64}

// -----

// expected-error@+1 {{expects panel to be an i64 of at least 0, got "wide"}}
plan.buffer "weight" @of_a_text_for_a_panel : tensor<1x2x4x32xf32> holds ["w"] layout {groups = 1 : i64, panel = "wide"}

// -----

// expected-error@+1 {{expects parts to have a first row and a number of rows for each tensor, got [0, 4]}}
plan.buffer "weight" @of_parts_as_a_list : tensor<1x4x1xf32> holds ["w"] layout {groups = 1 : i64, parts = [0, 4]}

// -----

// expected-error@+1 {{expects a packed weight [groups, panels, K, panel], got 'tensor<1x2x4xf32>'}}
plan.buffer "weight" @of_flat_panels : tensor<1x2x4xf32> holds ["w"] layout {groups = 1 : i64, panel = 32 : i64}

// -----

// expected-error@+1 {{expects a packed weight [groups, rows, K], got 'tensor<4xf32>'}}
plan.buffer "weight" @of_flat_rows : tensor<4xf32> holds ["w"] layout {groups = 1 : i64}

// -----

// expected-error@+1 {{expects '{}' in the name of stacked tensors, got 'w'}}
plan.buffer "weight" @stacked_without_place : tensor<2x4xf32> holds ["w"] layout {stack = 2 : i64}
