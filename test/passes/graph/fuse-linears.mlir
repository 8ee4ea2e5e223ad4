// fuse-linears: which linears join, and where their columns lie then.
// RUN: llmc-opt %s --pass-pipeline='builtin.module(func.func(fuse-linears))' --split-input-file | FileCheck %s
// RUN: llmc-opt %s --pass-pipeline='builtin.module(func.func(fuse-linears{align=8}))' --split-input-file | FileCheck %s --check-prefix=ALIGN

// CHECK-LABEL: @joins_linears_of_one_input
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>, %[[A:.*]]: tensor<40x4xf32>, %[[B:.*]]: tensor<3x4xf32>, %[[C:.*]]: tensor<5x4xf32>)
// CHECK: %[[ALL:.*]] = llm.linear %[[X]], %[[A]], %[[B]], %[[C]] {align = 32 : i64} : {{.*}} -> tensor<?x128xf32>
// CHECK: %[[Y:.*]] = llm.slice %[[ALL]] at 0 : {{.*}} -> tensor<?x40xf32>
// CHECK: %[[Z:.*]] = llm.slice %[[ALL]] at 64 : {{.*}} -> tensor<?x3xf32>
// CHECK: %[[V:.*]] = llm.slice %[[ALL]] at 96 : {{.*}} -> tensor<?x5xf32>
// CHECK-NOT: llm.linear
// CHECK: return %[[Y]], %[[Z]], %[[V]]
// ALIGN-LABEL: @joins_linears_of_one_input
// ALIGN: llm.linear {{.*}} {align = 8 : i64} : {{.*}} -> tensor<?x56xf32>
// ALIGN: llm.slice {{.*}} at 0
// ALIGN: llm.slice {{.*}} at 40
// ALIGN: llm.slice {{.*}} at 48
func.func @joins_linears_of_one_input(%x: tensor<?x4xf32>, %a: tensor<40x4xf32>, %b: tensor<3x4xf32>, %c: tensor<5x4xf32>)
    -> (tensor<?x40xf32>, tensor<?x3xf32>, tensor<?x5xf32>) {
  %y = llm.linear %x, %a : (tensor<?x4xf32>, tensor<40x4xf32>) -> tensor<?x40xf32>
  %z = llm.linear %x, %b : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %v = llm.linear %x, %c : (tensor<?x4xf32>, tensor<5x4xf32>) -> tensor<?x5xf32>
  return %y, %z, %v : tensor<?x40xf32>, tensor<?x3xf32>, tensor<?x5xf32>
}

// -----

// CHECK-LABEL: @joins_expert_linears
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>, %[[O:.*]]: tensor<?xi32>, %[[G:.*]]: tensor<2x3xi32>, %[[A:.*]]: tensor<2x3x4xf32>, %[[B:.*]]: tensor<2x3x4xf32>)
// CHECK: %[[ALL:.*]] = llm.expert_linear %[[X]], %[[O]], %[[G]], %[[A]], %[[B]] {align = 32 : i64, gather = 2 : i64, top_k = 2 : i64} : {{.*}} -> tensor<?x64xf32>
// CHECK: llm.slice %[[ALL]] at 0
// CHECK: llm.slice %[[ALL]] at 32
func.func @joins_expert_linears(%x: tensor<?x4xf32>, %o: tensor<?xi32>, %g: tensor<2x3xi32>, %a: tensor<2x3x4xf32>, %b: tensor<2x3x4xf32>)
    -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  %y = llm.expert_linear %x, %o, %g, %a {gather = 2 : i64, top_k = 2 : i64} : (tensor<?x4xf32>, tensor<?xi32>, tensor<2x3xi32>, tensor<2x3x4xf32>) -> tensor<?x3xf32>
  %z = llm.expert_linear %x, %o, %g, %b {gather = 2 : i64, top_k = 2 : i64} : (tensor<?x4xf32>, tensor<?xi32>, tensor<2x3xi32>, tensor<2x3x4xf32>) -> tensor<?x3xf32>
  return %y, %z : tensor<?x3xf32>, tensor<?x3xf32>
}

// -----

// CHECK-LABEL: @keeps_a_linear_alone
// CHECK: llm.linear %{{.*}}, %{{.*}} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
// CHECK-NOT: llm.slice
func.func @keeps_a_linear_alone(%x: tensor<?x4xf32>, %a: tensor<3x4xf32>) -> tensor<?x3xf32> {
  %y = llm.linear %x, %a : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// -----

// CHECK-LABEL: @keeps_linears_of_other_inputs
// CHECK-COUNT-2: llm.linear
// CHECK-NOT: llm.slice
func.func @keeps_linears_of_other_inputs(%x: tensor<?x4xf32>, %u: tensor<?x4xf32>, %a: tensor<3x4xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  %y = llm.linear %x, %a : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %z = llm.linear %u, %a : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  return %y, %z : tensor<?x3xf32>, tensor<?x3xf32>
}

// -----

// CHECK-LABEL: @keeps_other_storage_types_apart
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>, %[[A:.*]]: tensor<3x4xbf16>, %[[B:.*]]: tensor<3x4xf32>, %[[C:.*]]: tensor<3x4xbf16>)
// CHECK: llm.linear %[[X]], %[[A]], %[[C]] {align
// CHECK: llm.linear %[[X]], %[[B]] :
func.func @keeps_other_storage_types_apart(%x: tensor<?x4xf32>, %a: tensor<3x4xbf16>, %b: tensor<3x4xf32>, %c: tensor<3x4xbf16>)
    -> (tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>) {
  %y = llm.linear %x, %a : (tensor<?x4xf32>, tensor<3x4xbf16>) -> tensor<?x3xf32>
  %z = llm.linear %x, %b : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %v = llm.linear %x, %c : (tensor<?x4xf32>, tensor<3x4xbf16>) -> tensor<?x3xf32>
  return %y, %z, %v : tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>
}

// -----

// CHECK-LABEL: @keeps_a_weight_that_comes_later
// CHECK: llm.linear %{{.*}}, %{{.*}} : (tensor<?x4xf32>, tensor<3x4xf32>)
// CHECK: llm.weight "b"
// CHECK: llm.linear %{{.*}}, %{{.*}} : (tensor<?x4xf32>, tensor<3x4xf32>)
func.func @keeps_a_weight_that_comes_later(%x: tensor<?x4xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  %a = llm.weight "a" : tensor<3x4xf32>
  %y = llm.linear %x, %a : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %b = llm.weight "b" : tensor<3x4xf32>
  %z = llm.linear %x, %b : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  return %y, %z : tensor<?x3xf32>, tensor<?x3xf32>
}

// -----

// Joined already, or padded by hand.
// CHECK-LABEL: @keeps_padded_linears
// CHECK: llm.linear %{{.*}}, %{{.*}}, %{{.*}} {align = 8 : i64}
// CHECK: llm.linear %{{.*}}, %{{.*}} {align = 64 : i64}
// CHECK: llm.linear %{{.*}}, %{{.*}} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
func.func @keeps_padded_linears(%x: tensor<?x4xf32>, %a: tensor<3x4xf32>, %b: tensor<3x4xf32>)
    -> (tensor<?x16xf32>, tensor<?x64xf32>, tensor<?x3xf32>) {
  %y = llm.linear %x, %a, %b {align = 8 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<?x16xf32>
  %z = llm.linear %x, %a {align = 64 : i64} : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x64xf32>
  %v = llm.linear %x, %b : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  return %y, %z, %v : tensor<?x16xf32>, tensor<?x64xf32>, tensor<?x3xf32>
}

// -----

// CHECK-LABEL: @keeps_expert_linears_that_gather_otherwise
// CHECK: llm.expert_linear {{.*}} {gather = 2 : i64
// CHECK: llm.expert_linear {{.*}} {gather = 0 : i64
func.func @keeps_expert_linears_that_gather_otherwise(%x: tensor<?x4xf32>, %o: tensor<?xi32>, %g: tensor<2x3xi32>, %a: tensor<2x3x4xf32>, %b: tensor<2x3x4xf32>)
    -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  %y = llm.expert_linear %x, %o, %g, %a {gather = 2 : i64, top_k = 2 : i64} : (tensor<?x4xf32>, tensor<?xi32>, tensor<2x3xi32>, tensor<2x3x4xf32>) -> tensor<?x3xf32>
  %z = llm.expert_linear %x, %o, %g, %b {gather = 0 : i64, top_k = 2 : i64} : (tensor<?x4xf32>, tensor<?xi32>, tensor<2x3xi32>, tensor<2x3x4xf32>) -> tensor<?x3xf32>
  return %y, %z : tensor<?x3xf32>, tensor<?x3xf32>
}

// -----

// Gate and up join each other, so that their product can be the epilogue; a router stands alone.
// CHECK-LABEL: @keeps_a_gate_and_a_router_apart
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>, %[[A:.*]]: tensor<3x4xf32>, %[[B:.*]]: tensor<3x4xf32>, %[[R:.*]]: tensor<2x4xf32>, %[[C:.*]]: tensor<5x4xf32>)
// CHECK-DAG: llm.linear %[[X]], %[[A]], %[[B]] {align
// CHECK-DAG: llm.linear %[[X]], %[[R]] :
// CHECK-DAG: llm.linear %[[X]], %[[C]] :
func.func @keeps_a_gate_and_a_router_apart(%x: tensor<?x4xf32>, %a: tensor<3x4xf32>, %b: tensor<3x4xf32>, %r: tensor<2x4xf32>, %c: tensor<5x4xf32>)
    -> (tensor<?x3xf32>, tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x5xf32>) {
  %gate = llm.linear %x, %a : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %up = llm.linear %x, %b : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %logits = llm.linear %x, %r : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  %v = llm.linear %x, %c : (tensor<?x4xf32>, tensor<5x4xf32>) -> tensor<?x5xf32>
  %y = llm.map %gate, %up : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32> {
  ^bb0(%p: f32, %q: f32):
    %z = arith.mulf %p, %q : f32
    llm.yield %z : f32
  }
  %i, %w = llm.route %logits {scoring = "softmax", top_k = 1 : i64, renormalize = true, scale = 1.0 : f64} : (tensor<?x2xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>)
  return %y, %i, %w, %v : tensor<?x3xf32>, tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x5xf32>
}
