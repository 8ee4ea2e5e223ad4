// form-kernels: what a dispatch becomes outside of its kernel: launches, packed weights, arguments with their sizes, shared kernels.
// RUN: llmc-opt %s --form-kernels --split-input-file | FileCheck %s

// CHECK-LABEL: @launches_a_kernel
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>, %[[N:.*]]: tensor<4xf32>, %[[W:.*]]: tensor<40x4xbf16>)
// CHECK: %[[P:.*]] = llm.pack %[[W]] {groups = 1 : i64, panel = 32 : i64} : (tensor<40x4xbf16>) -> tensor<1x2x4x32xbf16>
// CHECK: %[[Y:.*]] = llm.launch @[[K:.*]](%[[X]], %[[N]], %[[P]]) {tied = array<i64: -1>}
// CHECK: return %[[Y]]
// CHECK: func.func private @[[K]](
// CHECK-SAME: %{{.*}}: tensor<?x4xf32> {llm.dims = ["T"]}, %{{.*}}: tensor<4xf32>, %{{.*}}: tensor<1x2x4x32xbf16>
// CHECK-SAME: %{{.*}}: tensor<?x40xf32> {llm.dims = ["T"], llm.written}) -> tensor<?x40xf32> attributes {llm.kernel}
// CHECK-NOT: llm.
// CHECK: return
func.func @launches_a_kernel(%x: tensor<?x4xf32>, %n: tensor<4xf32>, %w: tensor<40x4xbf16>) -> tensor<?x40xf32> {
  %y = llm.dispatch(%x, %n, %w) {tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<4xf32>, tensor<40x4xbf16>) -> tensor<?x40xf32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<4xf32>, %c: tensor<40x4xbf16>):
    %h = llm.rms_norm %a, %b {eps = 1.0e-05 : f64} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    %d = llm.linear %h, %c : (tensor<?x4xf32>, tensor<40x4xbf16>) -> tensor<?x40xf32>
    llm.yield %d : tensor<?x40xf32>
  }
  return %y : tensor<?x40xf32>
}

// -----

// The weights of a joined linear are one argument.
// CHECK-LABEL: @packs_weights_side_by_side
// CHECK: %[[P:.*]] = llm.pack %{{.*}}, %{{.*}} {groups = 1 : i64, panel = 32 : i64} : {{.*}} -> tensor<1x3x4x32xf32>
// CHECK: llm.launch @{{.*}}(%{{.*}}, %[[P]])
func.func @packs_weights_side_by_side(%x: tensor<?x4xf32>, %v: tensor<40x4xf32>, %w: tensor<3x4xf32>) -> tensor<?x96xf32> {
  %y = llm.dispatch(%x, %v, %w) {tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<40x4xf32>, tensor<3x4xf32>) -> tensor<?x96xf32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<40x4xf32>, %c: tensor<3x4xf32>):
    %d = llm.linear %a, %b, %c {align = 32 : i64} : (tensor<?x4xf32>, tensor<40x4xf32>, tensor<3x4xf32>) -> tensor<?x96xf32>
    llm.yield %d : tensor<?x96xf32>
  }
  return %y : tensor<?x96xf32>
}

// -----

// CHECK-LABEL: @shares_a_kernel_of_equal_bodies
// CHECK: llm.launch @[[K:[a-z_0-9]+]](
// CHECK: llm.launch @[[K]](
// CHECK-COUNT-1: attributes {llm.kernel}
// CHECK-NOT: attributes {llm.kernel}
func.func @shares_a_kernel_of_equal_bodies(%x: tensor<?x4xf32>, %v: tensor<4x4xf32>, %w: tensor<4x4xf32>) -> tensor<?x4xf32> {
  %y = llm.dispatch(%x, %v) {tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<4x4xf32>):
    %c = llm.linear %a, %b : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    llm.yield %c : tensor<?x4xf32>
  }
  %z = llm.dispatch(%y, %w) {tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<4x4xf32>):
    %c = llm.linear %a, %b : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    llm.yield %c : tensor<?x4xf32>
  }
  return %z : tensor<?x4xf32>
}

// -----

// Another constant in a body, another kernel.
// CHECK-LABEL: @keeps_kernels_of_other_attributes_apart
// CHECK-COUNT-2: attributes {llm.kernel}
func.func @keeps_kernels_of_other_attributes_apart(%x: tensor<?x4xf32>, %n: tensor<4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %y = llm.dispatch(%x, %n) {tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<4xf32>):
    %h = llm.rms_norm %a, %b {eps = 1.0e-05 : f64} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    llm.yield %h : tensor<?x4xf32>
  }
  %z = llm.dispatch(%x, %n) {tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<4xf32>):
    %h = llm.rms_norm %a, %b {eps = 1.0e-06 : f64} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    llm.yield %h : tensor<?x4xf32>
  }
  return %y, %z : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

// A table that a linear reads too is packed as the linear wants it, so that it is stored once.
// CHECK-LABEL: @stores_a_tied_embedding_once
// CHECK: llm.pack %{{.*}} {groups = 1 : i64, panel = 32 : i64}
// CHECK: llm.pack %{{.*}} {groups = 1 : i64, panel = 32 : i64}
func.func @stores_a_tied_embedding_once(%t: tensor<?xi32>, %w: tensor<40x4xf32>) -> tensor<?x40xf32> {
  %y = llm.dispatch(%t, %w) {tied = array<i64: -1>} : (tensor<?xi32>, tensor<40x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: tensor<?xi32>, %b: tensor<40x4xf32>):
    %c = llm.embed %a, %b : (tensor<?xi32>, tensor<40x4xf32>) -> tensor<?x4xf32>
    llm.yield %c : tensor<?x4xf32>
  }
  %z = llm.dispatch(%y, %w) {tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<40x4xf32>) -> tensor<?x40xf32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<40x4xf32>):
    %c = llm.linear %a, %b : (tensor<?x4xf32>, tensor<40x4xf32>) -> tensor<?x40xf32>
    llm.yield %c : tensor<?x40xf32>
  }
  return %z : tensor<?x40xf32>
}

// -----

// CHECK-LABEL: @stores_an_embedding_in_rows
// CHECK: llm.pack %{{.*}} {groups = 1 : i64, panel = 0 : i64} : {{.*}} -> tensor<1x40x4xf32>
func.func @stores_an_embedding_in_rows(%t: tensor<?xi32>, %w: tensor<40x4xf32>) -> tensor<?x4xf32> {
  %y = llm.dispatch(%t, %w) {tied = array<i64: -1>} : (tensor<?xi32>, tensor<40x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: tensor<?xi32>, %b: tensor<40x4xf32>):
    %c = llm.embed %a, %b : (tensor<?xi32>, tensor<40x4xf32>) -> tensor<?x4xf32>
    llm.yield %c : tensor<?x4xf32>
  }
  return %y : tensor<?x4xf32>
}

// -----

// Bodies that differ in an operation only.
// CHECK-LABEL: @keeps_kernels_of_other_operations_apart
// CHECK-COUNT-2: attributes {llm.kernel}
func.func @keeps_kernels_of_other_operations_apart(%x: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %y = llm.dispatch(%x) {tied = array<i64: -1>} : (tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: tensor<?x4xf32>):
    %h = llm.map %a : (tensor<?x4xf32>) -> tensor<?x4xf32> {
    ^bb0(%p: f32):
      %r = math.exp %p : f32
      llm.yield %r : f32
    }
    llm.yield %h : tensor<?x4xf32>
  }
  %z = llm.dispatch(%x) {tied = array<i64: -1>} : (tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: tensor<?x4xf32>):
    %h = llm.map %a : (tensor<?x4xf32>) -> tensor<?x4xf32> {
    ^bb0(%p: f32):
      %r = math.sqrt %p : f32
      llm.yield %r : f32
    }
    llm.yield %h : tensor<?x4xf32>
  }
  return %y, %z : tensor<?x4xf32>, tensor<?x4xf32>
}
