// form-kernels: numbers over logits in two kernels, parts of the columns and what joins them. Numbers are checked in codegen/run.
// RUN: llmc-opt %s --form-kernels --canonicalize --cse --split-input-file | FileCheck %s
// RUN: llmc-opt %s --form-kernels=target=cuda --canonicalize --cse --split-input-file | FileCheck %s --check-prefix=CUDA

// Six numbers of each of eight parts of three panels. Logits are stored under a condition.
// CHECK-LABEL: func.func @model
// CHECK: %[[MADE:.*]]:2 = llm.launch @sure(
// CHECK-SAME: -> (tensor<?x6x8xf32>, tensor<?x750xf32>)
// CHECK: llm.launch @sure_join({{.*}}%[[MADE]]#0, %[[MADE]]#1)
// CHECK-LABEL: func.func private @sure(
// CHECK-SAME: tensor<?x6x8xf32> {llm.dims = ["T"], llm.written}, %{{.*}}: tensor<?x750xf32> {llm.dims = ["T"], llm.written})
// CHECK: scf.forall (%{{.*}}) in (8) shared_outs(%{{.*}}, %[[LOGITS:.*]] =
// CHECK: %[[COUNT:.*]] = arith.select %{{.*}}, %c8, %c0
// CHECK: %[[ROWS:.*]] = tensor.extract_slice %{{.*}} [%[[COUNT]], 96] [1, 1] : tensor<8x96xf32> to tensor<?x96xf32>
// CHECK: tensor.insert_slice %[[ROWS]] into %{{.*}}[%{{.*}}, 0] [%[[COUNT]], 96] [1, 1] : tensor<?x96xf32> into tensor<?x?xf32>
// CHECK-LABEL: func.func private @sure_join(
// CHECK-SAME: tensor<?x6x8xf32> {llm.dims = ["T"]}, %{{.*}}: tensor<?x750xf32> {llm.dims = ["T"]}
//
// CUDA-LABEL: func.func private @sure(
// CUDA: scf.forall (%{{.*}}, %{{.*}}) in (6, %{{.*}})
// CUDA: tensor.extract_slice %{{.*}} [1, 4, 4, 32]
func.func @model(%x: tensor<?x4xf32>, %w: tensor<750x4xf32>, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32>, %p: tensor<?x4xi32>)
    -> (tensor<?xi32>, tensor<?x1xf32>) {
  %t, %c = llm.dispatch(%x, %w, %q, %s, %d, %e, %p) {kernel = "sure", tied = array<i64: -1, -1>} : (tensor<?x4xf32>, tensor<750x4xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>) {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<750x4xf32>, %q1: !llm.sequences, %s1: tensor<?x4xf32>, %d1: tensor<?x4xi64>, %e1: tensor<?x8xf32>, %p1: tensor<?x4xi32>):
    %z = llm.linear %a, %b : (tensor<?x4xf32>, tensor<750x4xf32>) -> tensor<?x750xf32>
    %t1, %c1 = llm.predict %z, %q1, %s1, %d1, %e1, %p1 {mask = 3 : i64} : (tensor<?x750xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
    llm.yield %t1, %c1 : tensor<?xi32>, tensor<?x1xf32>
  }
  return %t, %c : tensor<?xi32>, tensor<?x1xf32>
}

// -----

// Logits that are there: none are stored.
// CHECK-LABEL: func.func @model
// CHECK: %[[PARTS:.*]] = llm.launch @given(%[[Z:[^,]*]]
// CHECK-SAME: -> tensor<?x6x3xf32>
// CHECK: llm.launch @given_join(%[[Z]], {{.*}}%[[PARTS]])
func.func @model(%z: tensor<?x750xf32>, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32>, %p: tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>) {
  %t, %c = llm.dispatch(%z, %q, %s, %d, %e, %p) {kernel = "given", tied = array<i64: -1, -1>} : (tensor<?x750xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>) {
  ^bb0(%a: tensor<?x750xf32>, %q1: !llm.sequences, %s1: tensor<?x4xf32>, %d1: tensor<?x4xi64>, %e1: tensor<?x8xf32>, %p1: tensor<?x4xi32>):
    %t1, %c1 = llm.predict %a, %q1, %s1, %d1, %e1, %p1 {mask = 3 : i64} : (tensor<?x750xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
    llm.yield %t1, %c1 : tensor<?xi32>, tensor<?x1xf32>
  }
  return %t, %c : tensor<?xi32>, tensor<?x1xf32>
}

// -----

// Statistics: logits are a result of the first kernel, stored without a condition.
// CHECK-LABEL: func.func @model
// CHECK: %[[MADE:.*]]:2 = llm.launch @sums(
// CHECK-SAME: -> (tensor<?x4x8xf32>, tensor<?x750xf32>)
// CHECK: %[[Q:.*]] = llm.launch @sums_join({{.*}}%[[MADE]]#0, %[[MADE]]#1)
// CHECK: return %[[MADE]]#1, %[[Q]]
// CHECK-LABEL: func.func private @sums(
// CHECK: tensor.insert_slice %{{.*}} [8, 96] [1, 1] : tensor<8x96xf32> into tensor<?x?xf32>
// CHECK-LABEL: func.func private @sums_join(
func.func @model(%x: tensor<?x4xf32>, %w: tensor<750x4xf32>, %h: tensor<?x1xf32>) -> (tensor<?x750xf32>, tensor<?x4xf32>) {
  %z, %s = llm.dispatch(%x, %w, %h) {kernel = "sums", tied = array<i64: -1, -1>} : (tensor<?x4xf32>, tensor<750x4xf32>, tensor<?x1xf32>) -> (tensor<?x750xf32>, tensor<?x4xf32>) {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<750x4xf32>, %c: tensor<?x1xf32>):
    %z1 = llm.linear %a, %b : (tensor<?x4xf32>, tensor<750x4xf32>) -> tensor<?x750xf32>
    %s1 = llm.logit_statistics %z1, %c : (tensor<?x750xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
    llm.yield %z1, %s1 : tensor<?x750xf32>, tensor<?x4xf32>
  }
  return %z, %s : tensor<?x750xf32>, tensor<?x4xf32>
}
