// form-kernels: the largest column of a product, in two kernels; a part of a weight's columns. Numbers are checked in codegen/run.
// RUN: llmc-opt %s --form-kernels --canonicalize --cse --split-input-file | FileCheck %s

// 300 columns are 10 panels and as many parts, of which the last has 12 columns: its largest number and minus that one's column. Nothing of 300
// columns is written.
// CHECK-LABEL: func.func @model
// CHECK: %[[PARTS:.*]] = llm.launch @largest(
// CHECK: llm.launch @largest_join(%[[PARTS]])
// CHECK-LABEL: func.func private @largest(
// CHECK-SAME: %[[P:[^:]*]]: tensor<1x10x4x32xf32>, %[[BEST:[^:]*]]: tensor<?x2x10xf32> {llm.dims = ["T"], llm.written})
// CHECK: scf.forall (%{{.*}}) in (10)
// CHECK: scf.for {{.*}} step %c8
// CHECK: tensor.extract_slice %[[P]][0, %{{.*}}, 0, 0] [1, 1, 4, 32]
// CHECK-NOT: tensor<{{.*}}x300xf32>
// CHECK-LABEL: func.func private @largest_join(%{{.*}}: tensor<?x2x10xf32> {llm.dims = ["T"]}, %{{.*}}: tensor<?xi32> {llm.dims = ["T"], llm.written})
// CHECK: arith.fptosi
func.func @model(%x: tensor<?x4xf32>, %w: tensor<300x4xf32>) -> tensor<?xi32> {
  %y = llm.dispatch(%x, %w) {kernel = "largest", tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<300x4xf32>) -> tensor<?xi32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<300x4xf32>):
    %z = llm.linear %a, %b : (tensor<?x4xf32>, tensor<300x4xf32>) -> tensor<?x300xf32>
    %t = llm.argmax %z : (tensor<?x300xf32>) -> tensor<?xi32>
    llm.yield %t : tensor<?xi32>
  }
  return %y : tensor<?xi32>
}

// -----

// The weight is packed whole; the kernel reads the columns that x meets.
// CHECK-LABEL: func.func private @part
// CHECK-SAME: %[[P:[^:]*]]: tensor<1x1x9x32xf32>
// CHECK: tensor.extract_slice %[[P]][0, {{.*}}, 5, 0] [1, 1, 4, 32]
func.func @model(%x: tensor<?x4xf32>, %w: tensor<32x9xf32>) -> tensor<?x32xf32> {
  %y = llm.dispatch(%x, %w) {kernel = "part", tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<32x9xf32>) -> tensor<?x32xf32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<32x9xf32>):
    %z = llm.linear %a, %b {column = 5 : i64} : (tensor<?x4xf32>, tensor<32x9xf32>) -> tensor<?x32xf32>
    llm.yield %z : tensor<?x32xf32>
  }
  return %y : tensor<?x32xf32>
}
