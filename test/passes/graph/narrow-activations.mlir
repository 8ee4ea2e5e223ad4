// RUN: llmc-opt %s --narrow-activations --split-input-file | FileCheck %s

// What crosses a dispatch becomes bf16, caches too; the residual stream, tables of angles, logits and recurrent states stay f32.
// CHECK-LABEL: func.func private @layer
// CHECK-SAME: %arg0: tensor<?x8xf32>, %arg1: !llm.sequences, %arg2: tensor<?x8xf32>
// CHECK-SAME: %arg5: tensor<?x?x8xbf16>, %arg6: tensor<?x1x8x8xf32>
// CHECK-SAME: -> (tensor<?x8xf32>, tensor<?x?x8xbf16>, tensor<?x1x8x8xf32>)
func.func private @layer(%x: tensor<?x8xf32>, %s: !llm.sequences, %table: tensor<?x8xf32>, %n: tensor<8xbf16>, %w: tensor<8x8xbf16>,
                         %values: tensor<?x?x8xf32>, %state: tensor<?x1x8x8xf32>) -> (tensor<?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x8x8xf32>) {
  // CHECK: llm.rms_norm {{.*}} -> tensor<?x8xbf16>
  %h = llm.rms_norm %x, %n {eps = 1.0e-05 : f64} : (tensor<?x8xf32>, tensor<8xbf16>) -> tensor<?x8xf32>
  // CHECK: llm.linear {{.*}} -> tensor<?x8xbf16>
  %q = llm.linear %h, %w : (tensor<?x8xf32>, tensor<8x8xbf16>) -> tensor<?x8xf32>
  // CHECK: llm.rotary {{.*}} : (tensor<?x8xbf16>, tensor<?x8xf32>) -> tensor<?x8xbf16>
  %r = llm.rotary %q, %table {heads = 1 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: llm.append {{.*}} -> tensor<?x?x8xbf16>
  %v = llm.append %r into %values, %s : (tensor<?x8xf32>, tensor<?x?x8xf32>, !llm.sequences) -> tensor<?x?x8xf32>
  // CHECK: %[[DOWN:.*]] = llm.linear {{.*}} -> tensor<?x8xbf16>
  %d = llm.linear %r, %w : (tensor<?x8xf32>, tensor<8x8xbf16>) -> tensor<?x8xf32>
  // CHECK: llm.map %arg0, %[[DOWN]] : (tensor<?x8xf32>, tensor<?x8xbf16>) -> tensor<?x8xf32>
  %y = llm.map %x, %d : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%a: f32, %b: f32):
    %c = arith.addf %a, %b : f32
    llm.yield %c : f32
  }
  return %y, %v, %state : tensor<?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x8x8xf32>
}

// CHECK-LABEL: func.func @score
// CHECK-SAME: tensor<?x?x8xbf16> {llm.dims = ["SLOTS", "CTX"], llm.state = "values"}
// CHECK-SAME: tensor<?x1x8x8xf32> {llm.dims = ["SLOTS"], llm.state = "kda"}
// CHECK-SAME: (tensor<?x8xf32> {llm.output = "logits"}
func.func @score(%t: tensor<?xi32> {llm.input = "tokens", llm.dims = ["T"]}, %s: !llm.sequences {llm.input = "sequences"},
                 %values: tensor<?x?x8xf32> {llm.state = "values", llm.dims = ["SLOTS", "CTX"]},
                 %state: tensor<?x1x8x8xf32> {llm.state = "kda", llm.dims = ["SLOTS"]})
    -> (tensor<?x8xf32> {llm.output = "logits"}, tensor<?x?x8xf32> {llm.state = "values"}, tensor<?x1x8x8xf32> {llm.state = "kda"}) {
  %e = llm.weight "e" : tensor<8x8xbf16>
  %n = llm.weight "n" : tensor<8xbf16>
  %x = llm.embed %t, %e : (tensor<?xi32>, tensor<8x8xbf16>) -> tensor<?x8xf32>
  // CHECK: llm.rotary_table {{.*}} -> tensor<?x8xf32>
  %table = llm.rotary_table %s {frequencies = array<f32: 1.0, 0.5, 0.25, 0.125>} : (!llm.sequences) -> tensor<?x8xf32>
  %y:3 = func.call @layer(%x, %s, %table, %n, %e, %values, %state)
    : (tensor<?x8xf32>, !llm.sequences, tensor<?x8xf32>, tensor<8xbf16>, tensor<8x8xbf16>, tensor<?x?x8xf32>, tensor<?x1x8x8xf32>)
    -> (tensor<?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x8x8xf32>)
  // CHECK: %[[H:.*]] = llm.rms_norm {{.*}} -> tensor<?x8xbf16>
  %h = llm.rms_norm %y#0, %n {eps = 1.0e-05 : f64} : (tensor<?x8xf32>, tensor<8xbf16>) -> tensor<?x8xf32>
  // CHECK: llm.linear %[[H]], {{.*}} -> tensor<?x8xf32>
  %logits = llm.linear %h, %e : (tensor<?x8xf32>, tensor<8x8xbf16>) -> tensor<?x8xf32>
  return %logits, %y#1, %y#2 : tensor<?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x8x8xf32>
}
