// llm.rotary_table and llm.rotary. Position 123457 times float32(0.01) shows the product rounded to float32.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

#rows = dense<[[0, 0, 1, 0], [1, 1, 2, 7], [2, 3, 1, 123457]]> : tensor<3x4xi32>

// CHECK-LABEL: @tabulates_every_rows_position
// CHECK: llm.rotary_table %{{.*}} {frequencies = array<f32: 1.000000e+00, 0.00{{.*}}>}
func.func @tabulates_every_rows_position(%s: !llm.sequences {llm.rows = #rows}) -> tensor<?x4xf32> attributes {llm.expect = [dense<[
    [1.0, 1.0, 0.0, 0.0], [0.7539022543, 0.9975510002, 0.6569865987, 0.06994284763],
    [-0.1455000338, 0.9968017064, 0.9893582466, 0.07991469219], [0.2596845722, -0.9971159274, -0.9656934933, 0.07589352664]]> : tensor<4x4xf64>]} {
  %t = llm.rotary_table %s {frequencies = array<f32: 1.0, 0.01>} : (!llm.sequences) -> tensor<?x4xf32>
  return %t : tensor<?x4xf32>
}

// CHECK-LABEL: @scales_the_table
func.func @scales_the_table(%s: !llm.sequences {llm.rows = dense<[[0, 0, 1, 7]]> : tensor<1x4xi32>}) -> tensor<?x2xf32>
    attributes {llm.expect = [dense<[[1.5078045086, 1.3139731974]]> : tensor<1x2xf64>]} {
  %t = llm.rotary_table %s {frequencies = array<f32: 1.0>, scale = 2.0 : f64} : (!llm.sequences) -> tensor<?x2xf32>
  return %t : tensor<?x2xf32>
}

// CHECK-LABEL: @rotates_halves_of_each_head
// CHECK: llm.rotary %{{.*}}, %{{.*}} {heads = 2 : i64}
func.func @rotates_halves_of_each_head(%s: !llm.sequences {llm.rows = dense<[[0, 0, 1, 7]]> : tensor<1x4xi32>},
    %x: tensor<?x8xf32> {llm.value = dense<[[1.0, 2.0, 3.0, 4.0, -1.0, 0.5, 0.25, 2.0]]> : tensor<1x8xf64>}) -> tensor<?x8xf32>
    attributes {llm.expect = [dense<[[-1.217057542, 1.71533061, 2.918693362, 4.130089696, -0.918148904, 0.3588898048, -0.4685110351, 2.030073424]]> : tensor<1x8xf64>]} {
  %t = llm.rotary_table %s {frequencies = array<f32: 1.0, 0.01>} : (!llm.sequences) -> tensor<?x4xf32>
  %y = llm.rotary %x, %t {heads = 2 : i64} : (tensor<?x8xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
