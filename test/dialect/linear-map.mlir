// llm.embed, llm.linear, llm.slice, llm.map.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

// CHECK-LABEL: @embeds_tokens
// CHECK: llm.embed %{{.*}}, %{{.*}} : (tensor<?xi32>, tensor<3x2xbf16>) -> tensor<?x2xf32>
func.func @embeds_tokens(%t: tensor<?xi32> {llm.value = dense<[2, 0, 2]> : tensor<3xi32>}) -> tensor<?x2xf32>
    attributes {llm.expect = [dense<[[5.0, -6.0], [1.0, 2.0], [5.0, -6.0]]> : tensor<3x2xf64>]} {
  %table = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, -6.0]]> : tensor<3x2xbf16>
  %x = llm.embed %t, %table : (tensor<?xi32>, tensor<3x2xbf16>) -> tensor<?x2xf32>
  return %x : tensor<?x2xf32>
}

// CHECK-LABEL: @multiplies_by_weights_side_by_side
// CHECK: llm.linear %{{.*}}, %{{.*}}, %{{.*}} : (tensor<?x2xf32>, tensor<1x2xf32>, tensor<2x2xf16>) -> tensor<?x3xf32>
// CHECK: llm.slice %{{.*}} at 1 : (tensor<?x3xf32>) -> tensor<?x2xf32>
func.func @multiplies_by_weights_side_by_side(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0], [3.0, -1.0]]> : tensor<2x2xf64>})
    -> (tensor<?x3xf32>, tensor<?x2xf32>) attributes {llm.expect = [dense<[[5.0, 3.0, -1.0], [1.0, 2.0, 7.5]]> : tensor<2x3xf64>,
    dense<[[3.0, -1.0], [2.0, 7.5]]> : tensor<2x2xf64>]} {
  %a = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
  %b = arith.constant dense<[[1.0, 1.0], [2.0, -1.5]]> : tensor<2x2xf16>
  %y = llm.linear %x, %a, %b : (tensor<?x2xf32>, tensor<1x2xf32>, tensor<2x2xf16>) -> tensor<?x3xf32>
  %z = llm.slice %y at 1 : (tensor<?x3xf32>) -> tensor<?x2xf32>
  return %y, %z : tensor<?x3xf32>, tensor<?x2xf32>
}

// A vector counts for every row; an outer value and a branch are allowed in the body.
// CHECK-LABEL: @maps_rows_and_vectors
// CHECK: llm.map %{{.*}}, %{{.*}} : (tensor<?x2xf32>, tensor<2xbf16>) -> tensor<?x2xf32> {
func.func @maps_rows_and_vectors(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, -2.0], [-3.0, 4.0]]> : tensor<2x2xf64>})
    -> (tensor<?x2xf32>, tensor<?x2xf32>) attributes {llm.expect = [dense<[[10.5, -19.0], [-29.5, 41.0]]> : tensor<2x2xf64>,
    dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf64>]} {
  %bias = arith.constant dense<[0.5, 1.0]> : tensor<2xbf16>
  %ten = arith.constant 10.0 : f32
  %y = llm.map %x, %bias : (tensor<?x2xf32>, tensor<2xbf16>) -> tensor<?x2xf32> {
  ^bb0(%a: f32, %b: f32):
    %c = arith.mulf %a, %ten : f32
    %d = arith.addf %c, %b : f32
    llm.yield %d : f32
  }
  %z = llm.map %x : (tensor<?x2xf32>) -> tensor<?x2xf32> {
  ^bb0(%a: f32):
    %zero = arith.constant 0.0 : f32
    %negative = arith.cmpf olt, %a, %zero : f32
    %r = scf.if %negative -> f32 {
      %n = arith.negf %a : f32
      scf.yield %n : f32
    } else {
      scf.yield %a : f32
    }
    llm.yield %r : f32
  }
  return %y, %z : tensor<?x2xf32>, tensor<?x2xf32>
}

// With align = 4 the second product begins at column 4; zeros fill up.
// CHECK-LABEL: @aligns_products
// CHECK: llm.linear %{{.*}}, %{{.*}}, %{{.*}} {align = 4 : i64}
func.func @aligns_products(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0]]> : tensor<1x2xf64>}) -> tensor<?x8xf32>
    attributes {llm.expect = [dense<[[5.0, 0.0, 0.0, 0.0, 3.0, -1.0, 0.0, 0.0]]> : tensor<1x8xf64>]} {
  %a = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
  %b = arith.constant dense<[[1.0, 1.0], [2.0, -1.5]]> : tensor<2x2xf16>
  %y = llm.linear %x, %a, %b {align = 4 : i64} : (tensor<?x2xf32>, tensor<1x2xf32>, tensor<2x2xf16>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
