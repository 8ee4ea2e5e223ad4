// build-plan: a module of launches becomes buffers and lists of dispatches.
// RUN: llmc-opt %s --build-plan --split-input-file | FileCheck %s

// Layers share kernels, weights are declared once, the state is updated where it lies, and the last dispatch writes the output.
// CHECK: plan.buffer "input" @ingest.x : tensor<?x4xf32> dims ["T"]
// CHECK-NEXT: plan.buffer "input" @ingest.where : tensor<?x2xi32> dims ["T"]
// CHECK-NEXT: plan.buffer "input" @ingest.rows : tensor<?x4xi32> dims ["S"]
// CHECK-NEXT: plan.buffer "state" @a.cache : tensor<?x?x4xf32> dims ["SLOTS", "CTX"]
// CHECK-NEXT: plan.buffer "state" @b.cache
// CHECK-NEXT: plan.buffer "output" @ingest.y : tensor<?x4xf32> dims ["T"]
// CHECK-NEXT: plan.buffer "weight" @w : tensor<1x1x4x32xbf16> holds ["w"] layout {from = 0 : i64, groups = 1 : i64, panel = 32 : i64}
// CHECK-NEXT: plan.buffer "transient" @ingest.0 : tensor<?x4xf32> dims ["T"]
// CHECK-NEXT: plan.buffer "transient" @ingest.1
// CHECK-NEXT: plan.buffer "weight" @v : tensor<4xbf16> holds ["v"] layout {}
// CHECK-NEXT: plan.buffer "input" @score.x
// CHECK-NOT: "state"
// CHECK-NOT: func.func private @layer
// CHECK: plan.program @ingest inputs [@ingest.x, @ingest.where, @ingest.rows] outputs [@ingest.y] {
// CHECK-NEXT: plan.dispatch @append [@ingest.x, @ingest.where, @ingest.rows, @a.cache]
// CHECK-NEXT: plan.dispatch @linear [@ingest.x, @w, @ingest.0]
// CHECK-NEXT: plan.dispatch @append [@ingest.0, @ingest.where, @ingest.rows, @b.cache]
// CHECK-NEXT: plan.dispatch @linear [@ingest.0, @w, @ingest.1]
// CHECK-NEXT: plan.dispatch @scale [@ingest.1, @v, @ingest.y]
// CHECK-NEXT: }
// CHECK: plan.program @score inputs [@score.x, @score.where, @score.rows] outputs []
// CHECK-NEXT: plan.dispatch @append [@score.x, @score.where, @score.rows, @a.cache]

!rows = tensor<?x4xf32>
!cache = tensor<?x?x4xf32>
func.func private @append(%x: !rows {llm.dims = ["T"]}, %where: tensor<?x2xi32> {llm.dims = ["T"]}, %rows: tensor<?x4xi32> {llm.dims = ["S"]},
    %cache: !cache {llm.dims = ["SLOTS", "CTX"], llm.written}) -> !cache attributes {llm.kernel} {
  return %cache : !cache
}
func.func private @linear(%x: !rows {llm.dims = ["T"]}, %w: tensor<1x1x4x32xbf16>, %y: !rows {llm.dims = ["T"], llm.written}) -> !rows attributes {llm.kernel} {
  return %y : !rows
}
func.func private @scale(%x: !rows {llm.dims = ["T"]}, %w: tensor<4xbf16>, %y: !rows {llm.dims = ["T"], llm.written}) -> !rows attributes {llm.kernel} {
  return %y : !rows
}
func.func private @layer(%x: !rows, %s: !llm.sequences, %w: tensor<4x4xbf16>, %cache: !cache) -> (!rows, !cache) {
  %new = llm.launch @append(%x, %s, %cache) {tied = array<i64: 2>} : (!rows, !llm.sequences, !cache) -> !cache
  %p = llm.pack %w {groups = 1 : i64, panel = 32 : i64} : (tensor<4x4xbf16>) -> tensor<1x1x4x32xbf16>
  %y = llm.launch @linear(%x, %p) {tied = array<i64: -1>} : (!rows, tensor<1x1x4x32xbf16>) -> !rows
  return %y, %new : !rows, !cache
}
func.func @ingest(%x: !rows {llm.dims = ["T"], llm.input = "x"}, %s: !llm.sequences {llm.input = "sequences"},
    %a: !cache {llm.dims = ["SLOTS", "CTX"], llm.state = "a.cache"}, %b: !cache {llm.dims = ["SLOTS", "CTX"], llm.state = "b.cache"})
    -> (!rows {llm.output = "y"}, !cache {llm.state = "a.cache"}, !cache {llm.state = "b.cache"}) {
  %w = llm.weight "w" : tensor<4x4xbf16>
  %v = llm.weight "v" : tensor<4xbf16>
  %y, %c = call @layer(%x, %s, %w, %a) : (!rows, !llm.sequences, tensor<4x4xbf16>, !cache) -> (!rows, !cache)
  %z, %d = call @layer(%y, %s, %w, %b) : (!rows, !llm.sequences, tensor<4x4xbf16>, !cache) -> (!rows, !cache)
  %u = llm.launch @scale(%z, %v) {tied = array<i64: -1>} : (!rows, tensor<4xbf16>) -> !rows
  return %u, %c, %d : !rows, !cache, !cache
}
func.func @score(%x: !rows {llm.dims = ["T"], llm.input = "x"}, %s: !llm.sequences {llm.input = "sequences"}, %a: !cache {llm.dims = ["SLOTS", "CTX"], llm.state = "a.cache"})
    -> (!cache {llm.state = "a.cache"}) {
  %c = llm.launch @append(%x, %s, %a) {tied = array<i64: 2>} : (!rows, !llm.sequences, !cache) -> !cache
  return %c : !cache
}

// -----

// A weight in two layouts is two buffers; a stacked one says of how many tensors. What `advance` gives has a row per sequence.
// CHECK: plan.buffer "output" @advance.y : tensor<?x4xf32> dims ["S"]
// CHECK: plan.buffer "weight" @"e.{}.w" : tensor<2x1x4x32xf32> holds ["e.{}.w"] layout {from = 0 : i64, groups = 2 : i64, panel = 32 : i64, stack = 2 : i64}
// CHECK: plan.buffer "weight" @"e.{}.w.1" : tensor<2x4x4xf32> holds ["e.{}.w"] layout {stack = 2 : i64}
// CHECK: plan.dispatch @two [@"e.{}.w", @"e.{}.w.1", @advance.y]
func.func private @two(%p: tensor<2x1x4x32xf32>, %w: tensor<2x4x4xf32>, %y: tensor<?x4xf32> {llm.dims = ["T"], llm.written}) -> tensor<?x4xf32> attributes {llm.kernel} {
  return %y : tensor<?x4xf32>
}
func.func @advance() -> (tensor<?x4xf32> {llm.output = "y"}) {
  %w = llm.weight "e.{}.w" stack 2 : tensor<2x4x4xf32>
  %p = llm.pack %w {groups = 2 : i64, panel = 32 : i64} : (tensor<2x4x4xf32>) -> tensor<2x1x4x32xf32>
  %y = llm.launch @two(%p, %w) {tied = array<i64: -1>} : (tensor<2x1x4x32xf32>, tensor<2x4x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
