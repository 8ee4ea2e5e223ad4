// form-kernels: the skeletons that go row by row or panel by panel. Their numbers are checked in passes/meaning and codegen/run.
// RUN: llmc-opt %s --form-kernels --canonicalize --cse --split-input-file | FileCheck %s

// Workgroups of panels; blocks of 8 rows, then the rows left over; the norm once per block of rows.
// CHECK-LABEL: func.func private @linear
// CHECK-SAME: (%[[X:[^:]*]]: {{.*}}, %[[P:[^:]*]]: tensor<1x2x4x32xbf16>, %[[Y:[^:]*]]: tensor<?x40xf32>
// CHECK: scf.forall (%{{.*}}) in (2) shared_outs(%[[OUT:.*]] = %[[Y]])
// CHECK: scf.for {{.*}} step %c8
// CHECK: math.sqrt
// CHECK: scf.for
// CHECK-NOT: math.sqrt
// CHECK: tensor.extract_slice %[[P]][0, %{{.*}}, 0, 0] [1, 1, 4, 32]
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<8x4xf32>, tensor<4x32xbf16>)
// CHECK: scf.for {{.*}} step %c1
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<1x4xf32>, tensor<4x32xbf16>)
// CHECK: tensor.parallel_insert_slice %{{.*}} into %[[OUT]][0, %{{.*}}]
func.func @model(%x: tensor<?x4xf32>, %n: tensor<4xf32>, %w: tensor<40x4xbf16>) -> tensor<?x40xf32> {
  %y = llm.dispatch(%x, %n, %w) {kernel = "linear", tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<4xf32>, tensor<40x4xbf16>) -> tensor<?x40xf32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<4xf32>, %c: tensor<40x4xbf16>):
    %h = llm.rms_norm %a, %b {eps = 1.0e-05 : f64} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    %d = llm.linear %h, %c : (tensor<?x4xf32>, tensor<40x4xbf16>) -> tensor<?x40xf32>
    llm.yield %d : tensor<?x40xf32>
  }
  return %y : tensor<?x40xf32>
}

// -----

// A workgroup per group of rows that one expert has; rows are gathered through `order`.
// CHECK-LABEL: func.func private @experts
// CHECK-SAME: (%[[X:[^:]*]]: tensor<?x4xf32> {llm.dims = ["T"]}, %[[ORDER:[^:]*]]: tensor<?xi32> {llm.dims = ["2*T"]}, %[[GROUPS:[^:]*]]: tensor<3x3xi32>, %[[P:[^:]*]]: tensor<3x1x4x32xf32> {llm.read_share = 0.6{{6*}}{{[0-9]}} : f64}, %[[Y:[^:]*]]: tensor<?x32xf32> {llm.dims = ["2*T"], llm.written})
// CHECK: scf.forall (%[[G:.*]]) in (%{{.*}})
// CHECK: tensor.extract %[[GROUPS]][%[[G]], %c0]
// CHECK: tensor.extract %[[ORDER]]
// CHECK: tensor.extract_slice %[[X]]
// CHECK: tensor.extract_slice %[[P]][%{{.*}}, 0, 0] [1, 1, 4, 32]
func.func @model(%x: tensor<?x4xf32>, %o: tensor<?xi32>, %g: tensor<3x3xi32>, %w: tensor<3x32x4xf32>) -> tensor<?x32xf32> {
  %y = llm.dispatch(%x, %o, %g, %w) {kernel = "experts", tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<?xi32>, tensor<3x3xi32>, tensor<3x32x4xf32>) -> tensor<?x32xf32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<?xi32>, %c: tensor<3x3xi32>, %d: tensor<3x32x4xf32>):
    %e = llm.expert_linear %a, %b, %c, %d {gather = 2 : i64, top_k = 2 : i64} : (tensor<?x4xf32>, tensor<?xi32>, tensor<3x3xi32>, tensor<3x32x4xf32>) -> tensor<?x32xf32>
    llm.yield %e : tensor<?x32xf32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// CHECK-LABEL: func.func private @combine
// CHECK-SAME: (%[[X:[^:]*]]: tensor<?x4xf32> {llm.dims = ["2*T"]}, %[[PLACE:[^:]*]]: tensor<?x2xi32> {llm.dims = ["T"]}
// CHECK: scf.forall (%[[ROW:.*]]) in (%{{.*}})
// CHECK: scf.for %[[J:[^ ]*]] =
// CHECK: tensor.extract %[[PLACE]][%[[ROW]], %[[J]]]
func.func @model(%x: tensor<?x4xf32>, %p: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?x4xf32> {
  %y = llm.dispatch(%x, %p, %w) {kernel = "combine", tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<?x2xi32>, %c: tensor<?x2xf32>):
    %d = llm.combine_experts %a, %b, %c : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x4xf32>
    llm.yield %d : tensor<?x4xf32>
  }
  return %y : tensor<?x4xf32>
}

// -----

// One workgroup counts, adds up and places; the loop over workgroups folds away.
// CHECK-LABEL: func.func private @group
// CHECK-SAME: %{{.*}}: tensor<?x2xi32> {llm.dims = ["T"]}, %{{.*}}: tensor<?xi32> {llm.dims = ["2*T"], llm.written}, %{{.*}}: tensor<?x2xi32> {llm.dims = ["T"], llm.written}, %{{.*}}: tensor<3x3xi32> {llm.written})
// CHECK-NOT: scf.forall
// CHECK-COUNT-4: scf.for
// CHECK: return %{{.*}}, %{{.*}}, %{{.*}} : tensor<?xi32>, tensor<?x2xi32>, tensor<3x3xi32>
func.func @model(%ids: tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<3x3xi32>) {
  %o, %p, %g = llm.dispatch(%ids) {kernel = "group", tied = array<i64: -1, -1, -1>} : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<3x3xi32>) {
  ^bb0(%a: tensor<?x2xi32>):
    %b, %c, %d = llm.dispatch_experts %a : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<3x3xi32>)
    llm.yield %b, %c, %d : tensor<?xi32>, tensor<?x2xi32>, tensor<3x3xi32>
  }
  return %o, %p, %g : tensor<?xi32>, tensor<?x2xi32>, tensor<3x3xi32>
}

// -----

// A workgroup per row chooses its experts.
// CHECK-LABEL: func.func private @route
// CHECK: scf.forall (%[[ROW:.*]]) in (%{{.*}})
// CHECK: tensor.parallel_insert_slice %{{.*}} into %{{.*}}[%[[ROW]], 0] [1, 2] [1, 1] : tensor<1x2xi32>
// CHECK: tensor.parallel_insert_slice %{{.*}} into %{{.*}}[%[[ROW]], 0] [1, 2] [1, 1] : tensor<1x2xf32>
func.func @model(%x: tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %i, %w = llm.dispatch(%x) {kernel = "route", tied = array<i64: -1, -1>} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  ^bb0(%a: tensor<?x4xf32>):
    %b, %c = llm.route %a {scoring = "softmax", top_k = 2 : i64, renormalize = true, scale = 1.0 : f64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
    llm.yield %b, %c : tensor<?x2xi32>, tensor<?x2xf32>
  }
  return %i, %w : tensor<?x2xi32>, tensor<?x2xf32>
}

// -----

// Row-local work on its own: a workgroup per row.
// CHECK-LABEL: func.func private @rows
// CHECK: scf.forall (%[[ROW:.*]]) in (%{{.*}})
// CHECK: tensor.parallel_insert_slice %{{.*}} into %{{.*}}[%[[ROW]], 0] [1, 4] [1, 1]
func.func @model(%x: tensor<?x4xf32>, %n: tensor<4xf32>) -> tensor<?x4xf32> {
  %y = llm.dispatch(%x, %n) {kernel = "rows", tied = array<i64: -1>} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<4xf32>):
    %h = llm.rms_norm %a, %b {eps = 1.0e-05 : f64} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    llm.yield %h : tensor<?x4xf32>
  }
  return %y : tensor<?x4xf32>
}

// -----

// A workgroup per row of logits, walked in blocks of 1024; the 33 steps of bisection find the bounds of top-k and top-p.
// CHECK-LABEL: func.func private @sample
// CHECK: scf.forall (%[[ROW:.*]]) in (%{{.*}})
// CHECK: tensor.extract_slice %{{.*}}[%[[ROW]], %{{.*}}] [1, 1024]
// CHECK: scf.for {{.*}} to %c33 step
// CHECK: scf.for {{.*}} to %c33 step
func.func @model(%z: tensor<?x2050xf32>, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>) -> tensor<?x1xi32> {
  %y = llm.dispatch(%z, %s, %d) {kernel = "sample", tied = array<i64: -1>} : (tensor<?x2050xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?x1xi32> {
  ^bb0(%a: tensor<?x2050xf32>, %b: tensor<?x4xf32>, %c: tensor<?x4xi64>):
    %t = llm.sample %a, %b, %c : (tensor<?x2050xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?x1xi32>
    llm.yield %t : tensor<?x1xi32>
  }
  return %y : tensor<?x1xi32>
}
