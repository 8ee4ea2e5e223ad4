// plan-memory: offsets in the arena from lifetimes.
// RUN: llmc-opt %s --plan-memory='max-tokens=64 max-sequences=4' --split-input-file | FileCheck %s

// @c may lie where @a was, since @a dies before @c is made; @b lives beside both. 64 rows of 4 floats are 1024 bytes, 4 rows of one float 64
// (the alignment), 8 * 64 rows of a byte 512.
//
//   dispatch   0   1   2
//   @a         ├───┤
//   @b             ├───┤
//   @c                 ├
//   @d                 ├
// CHECK: module attributes {llm.max_sequences = 4 : i64, llm.max_tokens = 64 : i64}
// CHECK: plan.buffer "transient" @a {{.*}} at 0
// CHECK: plan.buffer "transient" @b {{.*}} at 1024
// CHECK: plan.buffer "transient" @c {{.*}} at 0
// CHECK: plan.buffer "transient" @d {{.*}} at 64
// CHECK: plan.buffer "input" @x : tensor<?x4xf32> dims ["T"]{{$}}
// CHECK: plan.program @ingest {{.*}} arena 2048
plan.buffer "transient" @a : tensor<?x4xf32> dims ["T"]
plan.buffer "transient" @b : tensor<?x4xf32> dims ["T"]
plan.buffer "transient" @c : tensor<?x1xf32> dims ["S"]
plan.buffer "transient" @d : tensor<?xi8> dims ["8*T"]
plan.buffer "input" @x : tensor<?x4xf32> dims ["T"]
func.func private @k(%x: tensor<?x4xf32>, %y: tensor<?x4xf32>) attributes {llm.kernel} {
  return
}
func.func private @k3(%x: tensor<?x4xf32>, %y: tensor<?x1xf32>, %z: tensor<?xi8>) attributes {llm.kernel} {
  return
}
plan.program @ingest inputs [@x] outputs [] {
  plan.dispatch @k [@x, @a]
  plan.dispatch @k [@a, @b]
  plan.dispatch @k3 [@b, @c, @d]
}

// -----

// Programs do not run at the same time: each has the arena to itself.
// CHECK: plan.buffer "transient" @a {{.*}} at 0
// CHECK: plan.buffer "transient" @b {{.*}} at 0
// CHECK: plan.program @ingest {{.*}} arena 1024
// CHECK: plan.program @score {{.*}} arena 1024
// CHECK: plan.program @needs_no_arena {{.*}} arena 0
plan.buffer "transient" @a : tensor<?x4xf32> dims ["T"]
plan.buffer "transient" @b : tensor<?x4xf32> dims ["T"]
func.func private @k(%x: tensor<?x4xf32>) attributes {llm.kernel} {
  return
}
plan.program @ingest inputs [] outputs [] {
  plan.dispatch @k [@a]
}
plan.program @score inputs [] outputs [] {
  plan.dispatch @k [@b]
}
plan.program @needs_no_arena inputs [] outputs [] {
}

// -----

// Sequences that come whole: a call takes the context, rounded up to pieces of 64; the context is at most 4096.
// CHECK: module attributes {llm.context = 300 : i64, llm.max_sequences = 4 : i64, llm.max_tokens = 320 : i64, llm.whole_sequences}
module attributes {llm.context = 300 : i64, llm.whole_sequences} {
}

// -----

// CHECK: module attributes {llm.context = 4096 : i64, llm.max_sequences = 4 : i64, llm.max_tokens = 4096 : i64, llm.whole_sequences}
module attributes {llm.context = 131072 : i64, llm.whole_sequences} {
}
