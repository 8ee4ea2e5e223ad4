// RUN: llmc-opt %s --form-dispatches --split-input-file | FileCheck %s
// Logits of which a few numbers are asked are made where those are taken (argmax.mlir has the largest column).

// CHECK-LABEL: @product_joins_predict
func.func @product_joins_predict(%x: tensor<?x8xf32>, %g: tensor<8xf32>, %w: tensor<99x8xbf16>, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32>, %p: tensor<?x4xi32>)
    -> (tensor<?xi32>, tensor<?x1xf32>) {
  // CHECK: llm.dispatch({{.*}}) {kernel = "product_joins_predict_predict_0"
  // CHECK: %[[N:.*]] = llm.rms_norm
  // CHECK-NEXT: %[[Z:.*]] = llm.linear %[[N]]
  // CHECK-NEXT: %[[T:.*]], %[[C:.*]] = llm.predict %[[Z]]
  // CHECK-NEXT: llm.yield %[[T]], %[[C]]
  // CHECK-NOT: llm.dispatch
  %y = llm.rms_norm %x, %g {eps = 1.0e-06 : f64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %z = llm.linear %y, %w : (tensor<?x8xf32>, tensor<99x8xbf16>) -> tensor<?x99xf32>
  %t, %c = llm.predict %z, %q, %s, %d, %e, %p {mask = 3 : i64} : (tensor<?x99xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
  return %t, %c : tensor<?xi32>, tensor<?x1xf32>
}

// -----

// Logits that somebody else reads are written.
// CHECK-LABEL: @predict_with_another_reader
func.func @predict_with_another_reader(%x: tensor<?x8xf32>, %w: tensor<99x8xbf16>, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32>, %p: tensor<?x4xi32>)
    -> (tensor<?xi32>, tensor<?x1xf32>, tensor<?x99xf32>) {
  // CHECK: llm.dispatch
  // CHECK: llm.linear
  // CHECK-NEXT: llm.yield
  // CHECK: llm.dispatch
  // CHECK: llm.predict
  %z = llm.linear %x, %w : (tensor<?x8xf32>, tensor<99x8xbf16>) -> tensor<?x99xf32>
  %t, %c = llm.predict %z, %q, %s, %d, %e, %p {mask = 3 : i64} : (tensor<?x99xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
  return %t, %c, %z : tensor<?xi32>, tensor<?x1xf32>, tensor<?x99xf32>
}

// -----

// Statistics are taken while the logits are made, which leave the dispatch as well: what reads them comes later.
// CHECK-LABEL: @product_joins_statistics
func.func @product_joins_statistics(%x: tensor<?x8xf32>, %w: tensor<99x8xbf16>, %v: tensor<1x8xbf16>, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>)
    -> (tensor<?x99xf32>, tensor<?x4xf32>, tensor<?x1xi32>) {
  // CHECK: %[[H:.*]] = llm.dispatch
  // CHECK: llm.linear
  // CHECK-NEXT: llm.yield
  // CHECK: %[[BOTH:.*]]:2 = llm.dispatch({{.*}}%[[H]]{{.*}}) {kernel = "product_joins_statistics_logit_statistics_1"
  // CHECK: %[[Z:.*]] = llm.linear
  // CHECK-NEXT: %[[Q:.*]] = llm.logit_statistics %[[Z]]
  // CHECK-NEXT: llm.yield %[[Z]], %[[Q]]
  // CHECK: llm.dispatch(%[[BOTH]]#0,
  // CHECK: llm.sample
  // CHECK: return %[[BOTH]]#0, %[[BOTH]]#1
  %z = llm.linear %x, %w : (tensor<?x8xf32>, tensor<99x8xbf16>) -> tensor<?x99xf32>
  %h = llm.linear %x, %v : (tensor<?x8xf32>, tensor<1x8xbf16>) -> tensor<?x1xf32>
  %q = llm.logit_statistics %z, %h : (tensor<?x99xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %t = llm.sample %z, %s, %d : (tensor<?x99xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?x1xi32>
  return %z, %q, %t : tensor<?x99xf32>, tensor<?x4xf32>, tensor<?x1xi32>
}

// -----

// A temperature that depends on the logits: they have to be there before.
// CHECK-LABEL: @temperature_of_logits
func.func @temperature_of_logits(%x: tensor<?x8xf32>, %w: tensor<99x8xbf16>) -> tensor<?x4xf32> {
  // CHECK: llm.dispatch
  // CHECK: llm.linear
  // CHECK-NEXT: llm.yield
  // CHECK: llm.dispatch
  // CHECK: llm.slice
  // CHECK: llm.logit_statistics
  %z = llm.linear %x, %w : (tensor<?x8xf32>, tensor<99x8xbf16>) -> tensor<?x99xf32>
  %h = llm.slice %z at 0 : (tensor<?x99xf32>) -> tensor<?x1xf32>
  %q = llm.logit_statistics %z, %h : (tensor<?x99xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %q : tensor<?x4xf32>
}

// -----

// Statistics at two temperatures: the second ones are of logits that are there.
// CHECK-LABEL: @two_temperatures
func.func @two_temperatures(%x: tensor<?x8xf32>, %w: tensor<99x8xbf16>, %a: tensor<?x1xf32>, %b: tensor<?x1xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  // CHECK: %[[BOTH:.*]]:2 = llm.dispatch
  // CHECK: llm.linear
  // CHECK: llm.logit_statistics
  // CHECK: llm.dispatch(%[[BOTH]]#0,
  // CHECK-NOT: llm.linear
  // CHECK: llm.logit_statistics
  %z = llm.linear %x, %w : (tensor<?x8xf32>, tensor<99x8xbf16>) -> tensor<?x99xf32>
  %q = llm.logit_statistics %z, %a : (tensor<?x99xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %r = llm.logit_statistics %z, %b : (tensor<?x99xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %q, %r : tensor<?x4xf32>, tensor<?x4xf32>
}
