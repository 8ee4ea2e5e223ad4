// RUN: llmc-opt %s --fuse-linears --form-dispatches --split-input-file | FileCheck %s
// A router's linear joins the choice of experts when its weights are few; gate and up of a shared expert stay a pair of their own.

// CHECK-LABEL: @router_beside_gate_and_up
func.func @router_beside_gate_and_up(%x: tensor<?x8xf32>, %r: tensor<4x8xbf16>, %g: tensor<16x8xbf16>, %u: tensor<16x8xbf16>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x16xf32>) {
  // CHECK: llm.dispatch(%{{.*}}, %{{.*}}) {kernel = "router_beside_gate_and_up_route_0"
  // CHECK: %[[L:.*]] = llm.linear
  // CHECK-NEXT: llm.route %[[L]]
  // CHECK: llm.dispatch
  // CHECK: llm.linear %{{.*}}, %{{.*}}, %{{.*}} {align = 32 : i64}
  // CHECK: llm.map
  %logits = llm.linear %x, %r : (tensor<?x8xf32>, tensor<4x8xbf16>) -> tensor<?x4xf32>
  %ids, %weights = llm.route %logits {scoring = "softmax", top_k = 2 : i64, renormalize = true, scale = 1.0 : f64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  %a = llm.linear %x, %g : (tensor<?x8xf32>, tensor<16x8xbf16>) -> tensor<?x16xf32>
  %b = llm.linear %x, %u : (tensor<?x8xf32>, tensor<16x8xbf16>) -> tensor<?x16xf32>
  %m = llm.map %a, %b : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.mulf %p, %q : f32
    llm.yield %s : f32
  }
  return %ids, %weights, %m : tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x16xf32>
}

// -----

// CHECK-LABEL: @large_router_stays_apart
func.func @large_router_stays_apart(%x: tensor<?x1024xf32>, %r: tensor<64x1024xbf16>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  // CHECK: llm.dispatch
  // CHECK: llm.linear
  // CHECK-NEXT: llm.yield
  // CHECK: llm.dispatch
  // CHECK: llm.route
  %logits = llm.linear %x, %r : (tensor<?x1024xf32>, tensor<64x1024xbf16>) -> tensor<?x64xf32>
  %ids, %weights = llm.route %logits {scoring = "softmax", top_k = 2 : i64, renormalize = true, scale = 1.0 : f64} : (tensor<?x64xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
}
