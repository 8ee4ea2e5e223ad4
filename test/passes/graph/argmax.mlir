// RUN: llmc-opt %s --fuse-linears --form-dispatches --split-input-file | FileCheck %s
// A product of which only the largest column is asked is made where that is found; parts of one weight stay products of their own.

// CHECK-LABEL: @product_joins_argmax
func.func @product_joins_argmax(%x: tensor<?x8xf32>, %g: tensor<8xf32>, %w: tensor<99x8xbf16>) -> tensor<?xi32> {
  // CHECK: llm.dispatch(%{{.*}}, %{{.*}}, %{{.*}}) {kernel = "product_joins_argmax_argmax_0"
  // CHECK: %[[N:.*]] = llm.rms_norm
  // CHECK-NEXT: %[[Z:.*]] = llm.linear %[[N]]
  // CHECK-NEXT: llm.argmax %[[Z]]
  // CHECK-NEXT: llm.yield
  // CHECK-NOT: llm.dispatch
  %y = llm.rms_norm %x, %g {eps = 1.0e-06 : f64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %z = llm.linear %y, %w : (tensor<?x8xf32>, tensor<99x8xbf16>) -> tensor<?x99xf32>
  %t = llm.argmax %z : (tensor<?x99xf32>) -> tensor<?xi32>
  return %t : tensor<?xi32>
}

// -----

// Logits that somebody else reads are written.
// CHECK-LABEL: @product_with_two_readers
func.func @product_with_two_readers(%x: tensor<?x8xf32>, %w: tensor<99x8xbf16>) -> (tensor<?xi32>, tensor<?x99xf32>) {
  // CHECK: llm.dispatch
  // CHECK: llm.linear
  // CHECK-NEXT: llm.yield
  // CHECK: llm.dispatch
  // CHECK: llm.argmax
  %z = llm.linear %x, %w : (tensor<?x8xf32>, tensor<99x8xbf16>) -> tensor<?x99xf32>
  %t = llm.argmax %z : (tensor<?x99xf32>) -> tensor<?xi32>
  return %t, %z : tensor<?xi32>, tensor<?x99xf32>
}

// -----

// CHECK-LABEL: @parts_of_weights
func.func @parts_of_weights(%x: tensor<?x8xf32>, %v: tensor<16x16xf32>, %w: tensor<16x16xf32>, %u: tensor<16x8xf32>) -> (tensor<?x16xf32>, tensor<?x16xf32>, tensor<?x16xf32>) {
  // CHECK: llm.linear %{{.*}}, %{{.*}}, %{{.*}} {align = 32 : i64, column = 8 : i64}
  // CHECK: llm.linear %{{[^,]*}}, %{{[^,]*}} : (
  %a = llm.linear %x, %v {column = 8 : i64} : (tensor<?x8xf32>, tensor<16x16xf32>) -> tensor<?x16xf32>
  %b = llm.linear %x, %u : (tensor<?x8xf32>, tensor<16x8xf32>) -> tensor<?x16xf32>
  %c = llm.linear %x, %w {column = 8 : i64} : (tensor<?x8xf32>, tensor<16x16xf32>) -> tensor<?x16xf32>
  return %a, %b, %c : tensor<?x16xf32>, tensor<?x16xf32>, tensor<?x16xf32>
}
