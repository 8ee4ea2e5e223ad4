// specialize-programs: `advance` calls copies of the layer functions, whose delta rules go token by token.
// RUN: llmc-opt %s --specialize-programs --split-input-file | FileCheck %s

!rows = tensor<?x4xf32>
!state = tensor<?x2x2x2xf32>

// CHECK-LABEL: func.func private @layer(
// CHECK: llm.delta_rule
// CHECK-NOT: form = "step"
// CHECK-LABEL: func.func private @layer_step(
// CHECK: llm.delta_rule {{.*}} {form = "step"}
func.func private @layer(%x: !rows, %beta: tensor<?x2xf32>, %state: !state, %s: !llm.sequences) -> (!rows, !state) {
  %o, %new = llm.delta_rule %x, %x, %x, %x, %beta, %state, %s : (!rows, !rows, !rows, !rows, tensor<?x2xf32>, !state, !llm.sequences) -> (!rows, !state)
  return %o, %new : !rows, !state
}

// CHECK-LABEL: @ingest
// CHECK: call @layer(
func.func @ingest(%x: !rows, %beta: tensor<?x2xf32>, %state: !state, %s: !llm.sequences) -> !state {
  %o, %new = call @layer(%x, %beta, %state, %s) : (!rows, tensor<?x2xf32>, !state, !llm.sequences) -> (!rows, !state)
  return %new : !state
}

// Two layers of one kind share a copy.
// CHECK-LABEL: @advance
// CHECK-COUNT-2: call @layer_step(
// CHECK-NOT: func.func
func.func @advance(%x: !rows, %beta: tensor<?x2xf32>, %a: !state, %b: !state, %s: !llm.sequences) -> (!state, !state) {
  %o, %c = call @layer(%x, %beta, %a, %s) : (!rows, tensor<?x2xf32>, !state, !llm.sequences) -> (!rows, !state)
  %p, %d = call @layer(%o, %beta, %b, %s) : (!rows, tensor<?x2xf32>, !state, !llm.sequences) -> (!rows, !state)
  return %c, %d : !state, !state
}

// -----

// CHECK-LABEL: func.func private @keeps_a_module_without_advance
// CHECK-NOT: _step
func.func private @keeps_a_module_without_advance(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  return %x : tensor<?x4xf32>
}
func.func @score(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = call @keeps_a_module_without_advance(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// Latent attention: `up` of a wide value saves more per row than it costs to expand, so prompts take the expanded form; one token never does.
// CHECK-LABEL: func.func private @attends(
// CHECK: llm.latent_attention {{.*}}form = "expanded"
// CHECK-LABEL: func.func private @attends_step(
// CHECK: llm.latent_attention
// CHECK-NOT: "expanded"
// CHECK-LABEL: func.func @advance
func.func private @attends(%q: tensor<?x24xf32>, %c: tensor<?x?x68xf32>, %up: tensor<32x64xf32>, %s: !llm.sequences) -> tensor<?x16xf32> {
  %o = llm.latent_attention %q, %c, %up, %s {heads = 2 : i64, nope = 8 : i64, rope = 4 : i64, scale = 1.0 : f64} : (tensor<?x24xf32>, tensor<?x?x68xf32>, tensor<32x64xf32>, !llm.sequences) -> tensor<?x16xf32>
  return %o : tensor<?x16xf32>
}
func.func @advance(%q: tensor<?x24xf32>, %c: tensor<?x?x68xf32>, %up: tensor<32x64xf32>, %s: !llm.sequences) -> tensor<?x16xf32> {
  %o = call @attends(%q, %c, %up, %s) : (tensor<?x24xf32>, tensor<?x?x68xf32>, tensor<32x64xf32>, !llm.sequences) -> tensor<?x16xf32>
  return %o : tensor<?x16xf32>
}

// -----

// Expanding costs more than it saves: keys and values are as wide as the latent.
// CHECK-LABEL: @keeps_a_narrow_latent_absorbed
// CHECK: llm.latent_attention
// CHECK-NOT: "expanded"
func.func @keeps_a_narrow_latent_absorbed(%q: tensor<?x12xf32>, %c: tensor<?x?x5xf32>, %up: tensor<14x3xf32>, %s: !llm.sequences) -> tensor<?x6xf32> {
  %o = llm.latent_attention %q, %c, %up, %s {heads = 2 : i64, nope = 4 : i64, rope = 2 : i64, scale = 1.0 : f64, form = "expanded"} : (tensor<?x12xf32>, tensor<?x?x5xf32>, tensor<14x3xf32>, !llm.sequences) -> tensor<?x6xf32>
  return %o : tensor<?x6xf32>
}

// -----

// The programs of a canvas bring blocks of rows: no form of one token.
// CHECK-LABEL: func.func @advance
// CHECK: call @keeps_layers_of_a_canvas(
// CHECK-NOT: _step
func.func private @keeps_layers_of_a_canvas(%x: tensor<?xi32>) -> tensor<?xi32> {
  return %x : tensor<?xi32>
}
func.func @advance(%canvas: tensor<?x?xi32>, %s: !llm.sequences) -> tensor<?xi32> {
  %t = llm.read_canvas %canvas, %s : (tensor<?x?xi32>, !llm.sequences) -> tensor<?xi32>
  %u = call @keeps_layers_of_a_canvas(%t) : (tensor<?xi32>) -> tensor<?xi32>
  return %u : tensor<?xi32>
}
