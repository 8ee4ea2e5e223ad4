// form-kernels: the skeletons that work sequence by sequence. Their numbers are checked in passes/meaning and codegen/run.
// RUN: llmc-opt %s --form-kernels --canonicalize --cse --split-input-file | FileCheck %s

// The table's two halves are two arguments; rows go where the table says. Keys lie in blocks of 32 positions.
// CHECK-LABEL: func.func private @append
// CHECK-SAME: (%[[X:[^:]*]]: tensor<?x4xf32> {llm.dims = ["T"]}, %[[WHERE:[^:]*]]: tensor<?x2xi32> {llm.dims = ["T"]}, %[[ROWS:[^:]*]]: tensor<?x4xi32> {llm.dims = ["S"]}, %[[C:[^:]*]]: tensor<?x?x4x32xf32> {llm.dims = ["SLOTS", "CTXB"], llm.written})
// CHECK: scf.forall (%[[T:.*]]) in (%{{.*}}) shared_outs(%[[OUT:.*]] = %[[C]])
// CHECK: tensor.extract %[[WHERE]][%[[T]], %c0]
// CHECK: tensor.extract %[[WHERE]][%[[T]], %c1]
// CHECK: tensor.extract %[[ROWS]]
// CHECK: tensor.parallel_insert_slice %{{.*}} into %[[OUT]][%{{.*}}, %{{.*}}, 0, %{{.*}}] [1, 1, 4, 1]
func.func @model(%x: tensor<?x4xf32>, %c: tensor<?x?x4x32xf32>, %s: !llm.sequences) -> tensor<?x?x4x32xf32> {
  %n = llm.dispatch(%x, %c, %s) {kernel = "append", tied = array<i64: 1>} : (tensor<?x4xf32>, tensor<?x?x4x32xf32>, !llm.sequences) -> tensor<?x?x4x32xf32> {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<?x?x4x32xf32>, %d: !llm.sequences):
    %e = llm.append %a into %b, %d {key_block = 32 : i64} : (tensor<?x4xf32>, tensor<?x?x4x32xf32>, !llm.sequences) -> tensor<?x?x4x32xf32>
    llm.yield %e : tensor<?x?x4x32xf32>
  }
  return %n : tensor<?x?x4x32xf32>
}

// -----

// A workgroup per sequence and key head; the query heads of the group, then blocks of 32 positions with the running maximum and sum.
// CHECK-LABEL: func.func private @attention
// CHECK-SAME: %[[K:[^:]*]]: tensor<?x?x4x32xf32> {llm.dims = ["SLOTS", "CTXB"]}, %[[V:[^:]*]]: tensor<?x?x4xf32> {llm.dims = ["SLOTS", "CTX"]}
// CHECK: scf.forall (%[[S:.*]], %[[HEAD:.*]]) in (%{{.*}}, 2)
// CHECK: scf.for {{.*}} step %c8
// CHECK: scf.for {{.*}} to %c2 step
// CHECK: scf.for {{.*}} iter_args({{.*}}) -> (tensor<8xf32>, tensor<8xf32>, tensor<8x2xf32>)
// CHECK: tensor.extract_slice %[[K]][%{{.*}}, %{{.*}}, %{{.*}}, 0] [1, 1, 2, 32]
// CHECK: tensor.extract_slice %[[V]][%{{.*}}, %{{.*}}, %{{.*}}] [1, 32, 2]
func.func @model(%q: tensor<?x8xf32>, %k: tensor<?x?x4x32xf32>, %v: tensor<?x?x4xf32>, %s: !llm.sequences) -> tensor<?x8xf32> {
  %y = llm.dispatch(%q, %k, %v, %s) {kernel = "attention", tied = array<i64: -1>} : (tensor<?x8xf32>, tensor<?x?x4x32xf32>, tensor<?x?x4xf32>, !llm.sequences) -> tensor<?x8xf32> {
  ^bb0(%a: tensor<?x8xf32>, %b: tensor<?x?x4x32xf32>, %c: tensor<?x?x4xf32>, %d: !llm.sequences):
    %o = llm.attention %a, %b, %c, %d {heads = 4 : i64, kv_heads = 2 : i64, scale = 1.0 : f64} : (tensor<?x8xf32>, tensor<?x?x4x32xf32>, tensor<?x?x4xf32>, !llm.sequences) -> tensor<?x8xf32>
    llm.yield %o : tensor<?x8xf32>
  }
  return %y : tensor<?x8xf32>
}

// -----

// The absorbed form reads `up` in two orders.
// CHECK-LABEL: @model
// CHECK: %[[UK:.*]] = llm.pack %{{.*}} {count = 4 : i64, groups = 2 : i64, panel = 0 : i64} : {{.*}} -> tensor<2x4x6xf32>
// CHECK: %[[UV:.*]] = llm.pack %{{.*}} {count = 3 : i64, from = 4 : i64, groups = 2 : i64, panel = 3 : i64} : {{.*}} -> tensor<2x1x6x3xf32>
// CHECK: llm.launch @latent({{.*}}%[[UK]], %[[UV]]
// CHECK: func.func private @latent
// CHECK: scf.forall (%{{.*}}) in (%{{.*}})
// CHECK: linalg.generic {{.*}} ins(%{{.*}} : tensor<32x8xf32>) outs(%{{.*}} : tensor<8x32xf32>)
func.func @model(%q: tensor<?x12xf32>, %c: tensor<?x?x8xf32>, %up: tensor<14x6xf32>, %s: !llm.sequences) -> tensor<?x6xf32> {
  %y = llm.dispatch(%q, %c, %up, %s) {kernel = "latent", tied = array<i64: -1>} : (tensor<?x12xf32>, tensor<?x?x8xf32>, tensor<14x6xf32>, !llm.sequences) -> tensor<?x6xf32> {
  ^bb0(%a: tensor<?x12xf32>, %b: tensor<?x?x8xf32>, %d: tensor<14x6xf32>, %e: !llm.sequences):
    %o = llm.latent_attention %a, %b, %d, %e {heads = 2 : i64, nope = 4 : i64, rope = 2 : i64, scale = 1.0 : f64} : (tensor<?x12xf32>, tensor<?x?x8xf32>, tensor<14x6xf32>, !llm.sequences) -> tensor<?x6xf32>
    llm.yield %o : tensor<?x6xf32>
  }
  return %y : tensor<?x6xf32>
}

// -----

// Chunks of 16 tokens carry the head's state; the convolution's weights come channels innermost, its tail is renewed at the end.
// CHECK-LABEL: func.func private @chunks
// CHECK-SAME: %{{[^:]*}}: tensor<1x1x4x4xf32>
// CHECK: scf.forall (%{{.*}}, %[[HEAD:.*]]) in (%{{.*}}, 2) shared_outs(%[[Y:.*]] = %{{.*}}, %[[TAIL:.*]] = %{{.*}}, %[[STATE:.*]] = %{{.*}})
// CHECK: scf.for {{.*}} step %c16 iter_args({{.*}}) -> (tensor<?x2xf32>, tensor<2x2xf32>)
// CHECK-DAG: tensor.parallel_insert_slice %{{.*}} into %[[Y]]
// CHECK-DAG: tensor.parallel_insert_slice %{{.*}} into %[[STATE]][%{{.*}}, %[[HEAD]], 0, 0] [1, 1, 2, 2]
// CHECK-DAG: tensor.parallel_insert_slice %{{.*}} into %[[TAIL]][%{{.*}}, 0, %{{.*}}] [1, 3, 2]
func.func @model(%x: tensor<?x4xf32>, %w: tensor<4x1x4xf32>, %tail: tensor<?x3x4xf32>, %beta: tensor<?x2xf32>, %state: tensor<?x2x2x2xf32>, %s: !llm.sequences)
    -> (tensor<?x4xf32>, tensor<?x3x4xf32>, tensor<?x2x2x2xf32>) {
  %o, %t, %n = llm.dispatch(%x, %w, %tail, %s, %beta, %state) {kernel = "chunks", tied = array<i64: -1, 2, 5>} : (tensor<?x4xf32>, tensor<4x1x4xf32>, tensor<?x3x4xf32>, !llm.sequences, tensor<?x2xf32>, tensor<?x2x2x2xf32>) -> (tensor<?x4xf32>, tensor<?x3x4xf32>, tensor<?x2x2x2xf32>) {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<4x1x4xf32>, %c: tensor<?x3x4xf32>, %d: !llm.sequences, %e: tensor<?x2xf32>, %f: tensor<?x2x2x2xf32>):
    %q, %u = llm.short_conv %a, %b, %c, %d : (tensor<?x4xf32>, tensor<4x1x4xf32>, tensor<?x3x4xf32>, !llm.sequences) -> (tensor<?x4xf32>, tensor<?x3x4xf32>)
    %r, %new = llm.delta_rule %q, %q, %q, %a, %e, %f, %d : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x2x2x2xf32>, !llm.sequences) -> (tensor<?x4xf32>, tensor<?x2x2x2xf32>)
    llm.yield %r, %u, %new : tensor<?x4xf32>, tensor<?x3x4xf32>, tensor<?x2x2x2xf32>
  }
  return %o, %t, %n : tensor<?x4xf32>, tensor<?x3x4xf32>, tensor<?x2x2x2xf32>
}

// -----

// CHECK-LABEL: func.func private @steps
// CHECK: scf.forall
// CHECK-NOT: step %c16
// CHECK: scf.for {{.*}} step %c1 iter_args({{.*}}) -> (tensor<?x2xf32>, tensor<2x2xf32>)
// CHECK-NOT: scf.for
// CHECK: scf.forall.in_parallel
func.func @model(%x: tensor<?x4xf32>, %beta: tensor<?x2xf32>, %state: tensor<?x2x2x2xf32>, %s: !llm.sequences) -> (tensor<?x4xf32>, tensor<?x2x2x2xf32>) {
  %o, %n = llm.dispatch(%x, %s, %beta, %state) {kernel = "steps", tied = array<i64: -1, 3>} : (tensor<?x4xf32>, !llm.sequences, tensor<?x2xf32>, tensor<?x2x2x2xf32>) -> (tensor<?x4xf32>, tensor<?x2x2x2xf32>) {
  ^bb0(%a: tensor<?x4xf32>, %d: !llm.sequences, %e: tensor<?x2xf32>, %f: tensor<?x2x2x2xf32>):
    %r, %new = llm.delta_rule %a, %a, %a, %a, %e, %f, %d {form = "step"} : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x2x2x2xf32>, !llm.sequences) -> (tensor<?x4xf32>, tensor<?x2x2x2xf32>)
    llm.yield %r, %new : tensor<?x4xf32>, tensor<?x2x2x2xf32>
  }
  return %o, %n : tensor<?x4xf32>, tensor<?x2x2x2xf32>
}

// -----

// CHECK-LABEL: func.func private @table
// CHECK: scf.forall (%[[T:.*]]) in
// CHECK: tensor.parallel_insert_slice %{{.*}} into %{{.*}}[%[[T]], 0] [1, 2]
// CHECK: tensor.parallel_insert_slice %{{.*}} into %{{.*}}[%[[T]], 2] [1, 2]
func.func @model(%s: !llm.sequences) -> tensor<?x4xf32> {
  %y = llm.dispatch(%s) {kernel = "table", tied = array<i64: -1>} : (!llm.sequences) -> tensor<?x4xf32> {
  ^bb0(%a: !llm.sequences):
    %t = llm.rotary_table %a {frequencies = array<f32: 1.0, 0.5>} : (!llm.sequences) -> tensor<?x4xf32>
    llm.yield %t : tensor<?x4xf32>
  }
  return %y : tensor<?x4xf32>
}
