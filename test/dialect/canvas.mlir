// Decoding on a canvas: what is masked, which rows are asked for, which masks each rule commits.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4

// CHECK-LABEL: @writes_and_reads
// CHECK: llm.write_canvas
// CHECK: llm.read_canvas %{{.*}}, %{{.*}} bounds %{{.*}} {hidden = 9 : i64}
func.func @writes_and_reads(%t: tensor<?xi32> {llm.value = dense<[5, 6, 7]> : tensor<3xi32>}, %canvas: tensor<?x?xi32> {llm.value = dense<[[1, 2, 3, 4], [1, 2, 3, 4]]> : tensor<2x4xi32>},
    %s: !llm.sequences {llm.rows = dense<[[1, 0, 2, 1], [0, 2, 1, 3]]> : tensor<2x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[3, 4, 2, 0], [4, 4, 0, 0]]> : tensor<2x4xi32>}) -> (tensor<?x?xi32>, tensor<?xi32>)
    attributes {llm.expect = [dense<[[1, 2, 3, 7], [1, 5, 6, 4]]> : tensor<2x4xi32>, dense<[9, 6, 7]> : tensor<3xi32>]} {
  %c = llm.write_canvas %t into %canvas, %s : (tensor<?xi32>, tensor<?x?xi32>, !llm.sequences) -> tensor<?x?xi32>
  %r = llm.read_canvas %c, %s bounds %bounds {hidden = 9 : i64} : (tensor<?x?xi32>, !llm.sequences, tensor<?x4xi32>) -> tensor<?xi32>
  return %c, %r : tensor<?x?xi32>, tensor<?xi32>
}

// CHECK-LABEL: @emits
func.func @emits(%canvas: tensor<?x?xi32> {llm.value = dense<[[1, 2, 3, 4], [5, 6, 7, 8]]> : tensor<2x4xi32>},
    %block: !llm.sequences {llm.rows = dense<[[1, 0, 2, 1], [0, 2, 2, 2]]> : tensor<2x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[2, 4, 2, 0], [2, 4, 0, 0]]> : tensor<2x4xi32>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[1, 2, 0, 0], [1, 2, 1, 0]]> : tensor<2x4xi32>}) -> tensor<?x?xi32>
    attributes {llm.expect = [dense<[[7, -2, -2, -2], [-1, 4, -2, -2]]> : tensor<2x4xi32>]} {
  %n = llm.emit_block %canvas, %block, %bounds, %progress : (tensor<?x?xi32>, !llm.sequences, tensor<?x4xi32>, tensor<?x4xi32>) -> tensor<?x?xi32>
  return %n : tensor<?x?xi32>
}

// Logits (1, 2, 0, 3), the mask being id 3: token 1, whose probability among all four is e^2 / (e + e^2 + 1 + e^3) = 0.2369; the two largest are
// 0.6439 and 0.2369; sum p ln p = -0.9475. The last row has a NaN.
// CHECK-LABEL: @predicts_greedily
func.func @predicts_greedily(%z: tensor<?x4xf32> {llm.value = dense<[[1.0, 2.0, 0.0, 3.0], [1.0, 2.0, 0.0, 3.0], [1.0, 2.0, 0.0, 3.0], [1.0, 0x7FF8000000000000, 0.0, 3.0]]> : tensor<4x4xf64>},
    %block: !llm.sequences {llm.rows = dense<[[0, 0, 1, 1], [1, 1, 1, 0], [2, 2, 1, 0], [3, 3, 1, 0]]> : tensor<4x4xi32>},
    %sampling: tensor<?x4xf32> {llm.value = dense<[[0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]> : tensor<4x4xf64>},
    %draws: tensor<?x4xi64> {llm.value = dense<0> : tensor<4x4xi64>},
    %settings: tensor<?x8xf32> {llm.value = dense<[[8.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [8.0, 8.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0], [8.0, 8.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0], [8.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<4x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<0> : tensor<4x4xi32>}) -> tensor<?xi32>
    attributes {llm.expect = [dense<[1, 1, 1, -1]> : tensor<4xi32>]} {
  %t, %c = llm.predict %z, %block, %sampling, %draws, %settings, %progress {mask = 3 : i64} : (tensor<?x4xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
  return %t : tensor<?xi32>
}


// Shares of 7 masks in 4 steps are 2, 2, 2, 1. Of equal confidences the lower position comes first.
// CHECK-LABEL: @commits_the_first_share
// CHECK: llm.unmask {{.*}} rule "transfer"
func.func @commits_the_first_share(%canvas: tensor<?x?xi32> {llm.value = dense<[[1, 9, 9, 9, 9, 9, 9, 9]]> : tensor<1x8xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13, 14, 15, 16]> : tensor<7xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.75], [0.25], [0.75], [0.5], [0.75], [0.125]]> : tensor<7x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 7, 1]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[1, 8, 1, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[7.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 7, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[1, 9, 11, 9, 13, 9, 9, 9]]> : tensor<1x8xi32>, dense<[[1, 7, 0, 0]]> : tensor<1x4xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "transfer" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}


// CHECK-LABEL: @commits_the_last_share
// CHECK: llm.unmask {{.*}} rule "transfer"
func.func @commits_the_last_share(%canvas: tensor<?x?xi32> {llm.value = dense<[[1, 5, 5, 5, 5, 5, 5, 9]]> : tensor<1x8xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13, 14, 15, 16]> : tensor<7xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.75], [0.25], [0.75], [0.5], [0.75], [0.125]]> : tensor<7x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 7, 1]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[1, 8, 1, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[7.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[3, 7, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[1, 5, 5, 5, 5, 5, 5, 16]]> : tensor<1x8xi32>, dense<[[4, 7, 0, 0]]> : tensor<1x4xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "transfer" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// Confidence 0.5 passes a threshold of 0.5.
// CHECK-LABEL: @commits_what_passes_the_threshold
// CHECK: llm.unmask {{.*}} rule "transfer"
func.func @commits_what_passes_the_threshold(%canvas: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9]]> : tensor<1x3xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12]> : tensor<3xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.75], [0.25]]> : tensor<3x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 3, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 3, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[3.0, 3.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 3, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[10, 11, 9]]> : tensor<1x3xi32>, dense<[[1, 3, 0, 0]]> : tensor<1x4xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "transfer" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}


// CHECK-LABEL: @commits_the_best_when_none_passes
// CHECK: llm.unmask {{.*}} rule "transfer"
func.func @commits_the_best_when_none_passes(%canvas: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9]]> : tensor<1x3xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12]> : tensor<3xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.75], [0.25]]> : tensor<3x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 3, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 3, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[3.0, 3.0, 0.0, 0.875, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 3, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[9, 11, 9]]> : tensor<1x3xi32>, dense<[[1, 3, 0, 0]]> : tensor<1x4xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "transfer" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// Thresholds 1 - 1/(n + 1) for n = 2, 3, ...: 0.667, 0.75, 0.8, 0.833. 0.6 fails at index 3.
// CHECK-LABEL: @factor_commits_three_of_five
// CHECK: llm.unmask {{.*}} rule "transfer"
func.func @factor_commits_three_of_five(%canvas: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9, 9, 9]]> : tensor<1x5xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13, 14]> : tensor<5xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.6], [0.9], [0.95], [0.99]]> : tensor<5x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 5, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 5, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[5.0, 5.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 5, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[9, 9, 12, 13, 14]]> : tensor<1x5xi32>, dense<[[1, 5, 0, 0]]> : tensor<1x4xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "transfer" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// The first failure at the last index: all are committed, as published.
// CHECK-LABEL: @factor_commits_the_last_one_that_fails
// CHECK: llm.unmask {{.*}} rule "transfer"
func.func @factor_commits_the_last_one_that_fails(%canvas: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9, 9, 9]]> : tensor<1x5xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13, 14]> : tensor<5xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.99], [0.95], [0.9], [0.85], [0.5]]> : tensor<5x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 5, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 5, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[5.0, 5.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 5, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[10, 11, 12, 13, 14]]> : tensor<1x5xi32>, dense<[[1, 5, 0, 0]]> : tensor<1x4xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "transfer" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}


// CHECK-LABEL: @factor_commits_one_of_one
// CHECK: llm.unmask {{.*}} rule "transfer"
func.func @factor_commits_one_of_one(%canvas: tensor<?x?xi32> {llm.value = dense<[[9]]> : tensor<1x1xi32>}, %t: tensor<?xi32> {llm.value = dense<[10]> : tensor<1xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.2]]> : tensor<1x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 1, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 1, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[5.0, 5.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 1, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[10]]> : tensor<1x1xi32>, dense<[[1, 1, 0, 0]]> : tensor<1x4xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "transfer" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}


// CHECK-LABEL: @factor_commits_two_of_two
// CHECK: llm.unmask {{.*}} rule "transfer"
func.func @factor_commits_two_of_two(%canvas: tensor<?x?xi32> {llm.value = dense<[[9, 9]]> : tensor<1x2xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11]> : tensor<2xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.9], [0.2]]> : tensor<2x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 2, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 2, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[5.0, 5.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 2, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[10, 11]]> : tensor<1x2xi32>, dense<[[1, 2, 0, 0]]> : tensor<1x4xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "transfer" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// More than the share of 4 positions in 4 steps pass.
// CHECK-LABEL: @dynamic_commits_the_confident
// CHECK: llm.unmask {{.*}} rule "dynamic"
func.func @dynamic_commits_the_confident(%canvas: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9, 9]]> : tensor<1x4xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13]> : tensor<4xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.875], [0.96875], [0.984375]]> : tensor<4x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 4, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[4.0, 4.0, 0.0, 0.75, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 4, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[9, 11, 12, 13]]> : tensor<1x4xi32>, dense<[[1, 4, 0, 0]]> : tensor<1x4xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "dynamic" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// A prompt's tail is in the block: its position keeps its token, though it looks like a mask.
// CHECK-LABEL: @dynamic_commits_its_share
// CHECK: llm.unmask {{.*}} rule "dynamic"
func.func @dynamic_commits_its_share(%canvas: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9, 9]]> : tensor<1x4xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13]> : tensor<4xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[1.0], [0.5], [0.25], [0.125]]> : tensor<4x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[1, 4, 1, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[4.0, 2.0, 0.0, 0.75, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 3, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[9, 11, 12, 9]]> : tensor<1x4xi32>, dense<[[1, 3, 0, 0]]> : tensor<1x4xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "dynamic" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// Of 8 masks in 4 steps 1, 2, 2, 3: the last step takes all.
// CHECK-LABEL: @timestep_commits_by_time
// CHECK: llm.unmask {{.*}} rule "timestep"
func.func @timestep_commits_by_time(%canvas: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9, 9, 9, 9, 9, 9]]> : tensor<1x8xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13, 14, 15, 16, 17]> : tensor<8xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.25], [0.75], [0.125], [0.0625], [0.03125], [0.015625], [0.0078125]]> : tensor<8x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 8, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 8, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[8.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.001]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 8, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[9, 9, 12, 9, 9, 9, 9, 9]]> : tensor<1x8xi32>, dense<[[1, 8, 0, 0]]> : tensor<1x4xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "timestep" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}


// CHECK-LABEL: @timestep_commits_all_at_the_end
// CHECK: llm.unmask {{.*}} rule "timestep"
func.func @timestep_commits_all_at_the_end(%canvas: tensor<?x?xi32> {llm.value = dense<[[5, 5, 5, 5, 5, 9, 9, 9]]> : tensor<1x8xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12]> : tensor<3xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.25], [0.75]]> : tensor<3x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 3, 5]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 8, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[8.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.001]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[3, 8, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[5, 5, 5, 5, 5, 10, 11, 12]]> : tensor<1x8xi32>, dense<[[4, 8, 0, 0]]> : tensor<1x4xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "timestep" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// 0.96875 > 0.875 changes the 5 at position 1, 0.75 does not change that at position 2; the mask at position 3 is filled as the best one.
// CHECK-LABEL: @edit_fills_and_changes
// CHECK: llm.unmask {{.*}} rule "edit"
func.func @edit_fills_and_changes(%canvas: tensor<?x?xi32> {llm.value = dense<[[5, 5, 5, 9]]> : tensor<1x4xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13]> : tensor<4xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.96875], [0.75], [0.5]]> : tensor<4x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[1, 4, 1, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[4.0, 4.0, 0.0, 0.9375, 16.0, 0.0, 0.0, 0.875]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 2, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[5, 11, 5, 13]]> : tensor<1x4xi32>, dense<[[1, 2, 0, 0]]> : tensor<1x4xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "edit" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}


// CHECK-LABEL: @edit_ends_without_a_change
// CHECK: llm.unmask {{.*}} rule "edit"
func.func @edit_ends_without_a_change(%canvas: tensor<?x?xi32> {llm.value = dense<[[5, 5, 5, 5]]> : tensor<1x4xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13]> : tensor<4xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.75], [0.75], [0.5]]> : tensor<4x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 4, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[4.0, 4.0, 0.0, 0.9375, 16.0, 0.0, 0.0, 0.875]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[2, 2, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[5, 5, 5, 5]]> : tensor<1x4xi32>, dense<[[3, 2, 0, -1]]> : tensor<1x4xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "edit" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}


// CHECK-LABEL: @edit_goes_on_after_a_change
// CHECK: llm.unmask {{.*}} rule "edit"
func.func @edit_goes_on_after_a_change(%canvas: tensor<?x?xi32> {llm.value = dense<[[5, 5, 5, 5]]> : tensor<1x4xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13]> : tensor<4xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.984375], [0.75], [0.5]]> : tensor<4x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 4, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[4.0, 4.0, 0.0, 0.9375, 16.0, 0.0, 0.0, 0.875]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[2, 2, 0, 1]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[5, 11, 5, 5]]> : tensor<1x4xi32>, dense<[[3, 2, 0, 2]]> : tensor<1x4xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "edit" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// The third of 3 steps without a mask changes a token, and is the last.
// CHECK-LABEL: @edit_ends_after_its_steps
// CHECK: llm.unmask {{.*}} rule "edit"
func.func @edit_ends_after_its_steps(%canvas: tensor<?x?xi32> {llm.value = dense<[[5, 5, 5, 5]]> : tensor<1x4xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13]> : tensor<4xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.984375], [0.75], [0.5]]> : tensor<4x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 4, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[4.0, 4.0, 0.0, 0.9375, 3.0, 0.0, 0.0, 0.875]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[6, 2, 0, 2]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[5, 11, 5, 5]]> : tensor<1x4xi32>, dense<[[7, 2, 0, -1]]> : tensor<1x4xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "edit" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// The last mask is filled: another step may edit.
// CHECK-LABEL: @edit_reads_once_more_when_masks_are_gone
// CHECK: llm.unmask {{.*}} rule "edit"
func.func @edit_reads_once_more_when_masks_are_gone(%canvas: tensor<?x?xi32> {llm.value = dense<[[5, 9]]> : tensor<1x2xi32>}, %t: tensor<?xi32> {llm.value = dense<[5, 11]> : tensor<2xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.5]]> : tensor<2x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 2, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 2, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[2.0, 2.0, 0.0, 0.9375, 1.0, 0.0, 0.0, 0.875]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 1, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[5, 11]]> : tensor<1x2xi32>, dense<[[1, 1, 0, 0]]> : tensor<1x4xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "edit" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// No steps without a mask: the block ends with its last one.
// CHECK-LABEL: @edit_without_steps_ends_with_the_masks
// CHECK: llm.unmask {{.*}} rule "edit"
func.func @edit_without_steps_ends_with_the_masks(%canvas: tensor<?x?xi32> {llm.value = dense<[[5, 9]]> : tensor<1x2xi32>}, %t: tensor<?xi32> {llm.value = dense<[5, 11]> : tensor<2xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.5]]> : tensor<2x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 2, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 2, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[2.0, 2.0, 0.0, 0.9375, 0.0, 0.0, 0.0, 0.875]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 1, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[5, 11]]> : tensor<1x2xi32>, dense<[[1, 1, 0, -1]]> : tensor<1x4xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "edit" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// Confidence 1 does not exceed a threshold of 1.
// CHECK-LABEL: @edit_at_one_is_off
// CHECK: llm.unmask {{.*}} rule "edit"
func.func @edit_at_one_is_off(%canvas: tensor<?x?xi32> {llm.value = dense<[[5, 9]]> : tensor<1x2xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11]> : tensor<2xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[1.0], [0.5]]> : tensor<2x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 2, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 2, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[2.0, 2.0, 0.0, 0.9375, 16.0, 0.0, 0.0, 1.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 1, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[5, 11]]> : tensor<1x2xi32>, dense<[[1, 1, 0, -1]]> : tensor<1x4xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "edit" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// Parts of 2 from position 4: the first one is full, of the second one 13 passes; the surer masks after it wait.
// CHECK-LABEL: @subblock_fills_one_part
// CHECK: llm.unmask {{.*}} rule "subblock"
func.func @subblock_fills_one_part(%canvas: tensor<?x?xi32> {llm.value = dense<[[1, 1, 1, 1, 5, 5, 9, 9, 9, 9]]> : tensor<1x10xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13, 14, 15]> : tensor<6xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.5], [0.5], [0.75], [0.984375], [0.984375]]> : tensor<6x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 6, 4]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[4, 10, 4, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[6.0, 0.0, 0.0, 0.625, 0.0, 0.0, 0.0, 2.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[3, 5, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[1, 1, 1, 1, 5, 5, 9, 13, 9, 9]]> : tensor<1x10xi32>, dense<[[4, 5, 0, 0]]> : tensor<1x4xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "subblock" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// Both masks of the part pass; those after it remain.
// CHECK-LABEL: @subblock_goes_on_to_the_next_part
// CHECK: llm.unmask {{.*}} rule "subblock"
func.func @subblock_goes_on_to_the_next_part(%canvas: tensor<?x?xi32> {llm.value = dense<[[1, 1, 1, 1, 9, 9, 9, 9]]> : tensor<1x8xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13]> : tensor<4xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.75], [0.75], [0.984375], [0.984375]]> : tensor<4x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 4, 4]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[4, 8, 4, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[4.0, 0.0, 0.0, 0.625, 0.0, 0.0, 0.0, 2.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[1, 4, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[1, 1, 1, 1, 10, 11, 9, 9]]> : tensor<1x8xi32>, dense<[[2, 4, 0, 0]]> : tensor<1x4xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "subblock" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// The last part is shorter than 3; of equal masks the lower one is filled.
// CHECK-LABEL: @subblock_commits_its_best_when_none_passes
// CHECK: llm.unmask {{.*}} rule "subblock"
func.func @subblock_commits_its_best_when_none_passes(%canvas: tensor<?x?xi32> {llm.value = dense<[[1, 5, 5, 5, 9, 9]]> : tensor<1x6xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13, 14]> : tensor<5xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.5], [0.5], [0.5], [0.5], [0.5]]> : tensor<5x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 5, 1]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[1, 6, 1, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[5.0, 0.0, 0.0, 0.625, 0.0, 0.0, 0.0, 3.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[3, 5, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[1, 5, 5, 5, 13, 9]]> : tensor<1x6xi32>, dense<[[4, 5, 0, 0]]> : tensor<1x4xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "subblock" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// A block that begins at 4: its first step commits position 4 alone, however unsure.
// CHECK-LABEL: @subblock_begins_with_the_first_token
// CHECK: llm.unmask {{.*}} rule "subblock"
func.func @subblock_begins_with_the_first_token(%canvas: tensor<?x?xi32> {llm.value = dense<[[1, 1, 1, 1, 9, 9, 9, 9]]> : tensor<1x8xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13]> : tensor<4xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.25], [0.75], [0.984375], [0.984375]]> : tensor<4x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 4, 4]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[4, 8, 4, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[4.0, 0.0, 0.0, 0.625, 0.0, 0.0, 0.0, 4.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 4, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[1, 1, 1, 1, 10, 9, 9, 9]]> : tensor<1x8xi32>, dense<[[1, 4, 0, 0]]> : tensor<1x4xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "subblock" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// Position 4 is the prompt's: the first step is as any.
// CHECK-LABEL: @subblock_has_no_first_token_after_a_part_of_the_prompt
// CHECK: llm.unmask {{.*}} rule "subblock"
func.func @subblock_has_no_first_token_after_a_part_of_the_prompt(%canvas: tensor<?x?xi32> {llm.value = dense<[[1, 1, 1, 1, 1, 9, 9, 9]]> : tensor<1x8xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, 11, 12, 13]> : tensor<4xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.25], [0.75], [0.984375], [0.5]]> : tensor<4x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 4, 4]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[5, 8, 5, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[4.0, 0.0, 0.0, 0.625, 0.0, 0.0, 0.0, 4.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[0, 3, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[1, 1, 1, 1, 1, 11, 12, 9]]> : tensor<1x8xi32>, dense<[[1, 3, 0, 0]]> : tensor<1x4xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "subblock" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}

// Setting 1.5: u + 2.5 (x - u). Setting 0: x, whatever the other holds.
// CHECK-LABEL: @guides
// CHECK: llm.guide
func.func @guides(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf64>},
    %u: tensor<?x2xf32> {llm.value = dense<[[0.5, 4.0], [3.0, 0.0], [0x7FF8000000000000, 0x7FF0000000000000]]> : tensor<3x2xf64>},
    %block: !llm.sequences {llm.rows = dense<[[1, 0, 2, 3], [0, 2, 1, 0]]> : tensor<2x4xi32>},
    %settings: tensor<?x8xf32> {llm.value = dense<[[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5, 0.0], [9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 0.0, 9.0]]> : tensor<2x8xf64>}) -> tensor<?x2xf32>
    attributes {llm.expect = [dense<[[1.75, -1.0], [3.0, 10.0], [5.0, 6.0]]> : tensor<3x2xf64>]} {
  %g = llm.guide %x, %u, %block, %settings : (tensor<?x2xf32>, tensor<?x2xf32>, !llm.sequences, tensor<?x8xf32>) -> tensor<?x2xf32>
  return %g : tensor<?x2xf32>
}

// A finished block, in a step that another sequence needs: nothing changes, the count of steps neither.
// CHECK-LABEL: @edit_leaves_what_is_finished
// CHECK: llm.unmask {{.*}} rule "edit"
func.func @edit_leaves_what_is_finished(%canvas: tensor<?x?xi32> {llm.value = dense<[[5, 5]]> : tensor<1x2xi32>}, %t: tensor<?xi32> {llm.value = dense<[10, -1]> : tensor<2xi32>},
    %c: tensor<?x1xf32> {llm.value = dense<[[0.984375], [0.984375]]> : tensor<2x1xf64>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 2, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[0, 2, 0, 0]]> : tensor<1x4xi32>}, %settings: tensor<?x8xf32> {llm.value = dense<[[2.0, 2.0, 0.0, 0.9375, 16.0, 0.0, 0.0, 0.875]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[4, 1, 0, -1]]> : tensor<1x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[5, 5]]> : tensor<1x2xi32>, dense<[[4, 1, 0, -1]]> : tensor<1x4xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %u, %p, %m = llm.unmask %canvas, %t, %c, %block, %bounds, %settings, %progress rule "edit" {mask = 9 : i64} : (tensor<?x?xi32>, tensor<?xi32>, tensor<?x1xf32>, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>)
  return %u, %p, %m : tensor<?x?xi32>, tensor<?x4xi32>, tensor<?x1xi32>
}
