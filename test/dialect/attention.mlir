// llm.append and llm.attention: caches by slot and position, blocks of keys, grouped queries, a window.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

// CHECK-LABEL: @appends_side_by_side_at_the_position
// CHECK: llm.append %{{.*}}, %{{.*}} into %{{.*}}, %{{.*}} : (
func.func @appends_side_by_side_at_the_position(%a: tensor<?x1xf32> {llm.value = dense<[[1.0], [2.0], [3.0]]> : tensor<3x1xf64>},
    %b: tensor<?x2xf32> {llm.value = dense<[[4.0, 5.0], [6.0, 7.0], [8.0, 9.0]]> : tensor<3x2xf64>},
    %cache: tensor<?x?x3xf32> {llm.value = dense<0.5> : tensor<2x3x3xf64>},
    %s: !llm.sequences {llm.rows = dense<[[1, 0, 2, 1], [0, 2, 1, 0]]> : tensor<2x4xi32>}) -> tensor<?x?x3xf32> attributes {llm.expect = [dense<[
    [[3.0, 8.0, 9.0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]], [[0.5, 0.5, 0.5], [1.0, 4.0, 5.0], [2.0, 6.0, 7.0]]]> : tensor<2x3x3xf64>]} {
  %new = llm.append %a, %b into %cache, %s : (tensor<?x1xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>, !llm.sequences) -> tensor<?x?x3xf32>
  return %new : tensor<?x?x3xf32>
}

// CHECK-LABEL: @keeps_positions_of_a_block_innermost
// CHECK: key_block = 2 : i64
func.func @keeps_positions_of_a_block_innermost(%a: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf64>},
    %cache: tensor<?x?x2x2xf32> {llm.value = dense<0.0> : tensor<1x2x2x2xf64>},
    %s: !llm.sequences {llm.rows = dense<[[0, 0, 3, 1]]> : tensor<1x4xi32>}) -> tensor<?x?x2x2xf32> attributes {llm.expect = [dense<[
    [[[0.0, 1.0], [0.0, 2.0]], [[3.0, 5.0], [4.0, 6.0]]]]> : tensor<1x2x2x2xf64>]} {
  %new = llm.append %a into %cache, %s {key_block = 2 : i64} : (tensor<?x2xf32>, tensor<?x?x2x2xf32>, !llm.sequences) -> tensor<?x?x2x2xf32>
  return %new : tensor<?x?x2x2xf32>
}

// Position 0 is put into the caches by one append, positions 1 and 2 by another: NaN elsewhere would show a read too far.
// CHECK-LABEL: @attends_to_the_past_and_itself
// CHECK: llm.attention %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} {heads = 2 : i64, kv_heads = 1 : i64, scale = 5.000000e-01 : f64}
func.func @attends_to_the_past_and_itself(%q: tensor<?x4xf32> {llm.value = dense<[[1.0, 1.0, 0.0, 2.0], [-1.0, 0.5, 2.0, 0.0]]> : tensor<2x4xf64>},
    %k: tensor<?x2xf32> {llm.value = dense<[[0.5, -1.0], [2.0, 1.0]]> : tensor<2x2xf64>},
    %v: tensor<?x2xf32> {llm.value = dense<[[3.0, -1.0], [0.0, 5.0]]> : tensor<2x2xf64>},
    %s: !llm.sequences {llm.rows = dense<[[1, 0, 2, 1]]> : tensor<1x4xi32>}) -> (tensor<?x4xf32>, tensor<?x4xf32>) attributes {llm.expect = [
    dense<[[1.641642602, 1.037536098, 1.537882843, 1.193175736], [1.439469869, 1.761192794, 0.6519570471, 3.464862008]]> : tensor<2x4xf64>,
    dense<[[1.641642602, 1.037536098, 1.537882843, 1.193175736], [1.686529503, 1.626940995, 0.5472765714, 3.905446857]]> : tensor<2x4xf64>]} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %two = arith.constant 2.0 : f32
  %ke = tensor.empty() : tensor<2x1x2x32xf32>
  %k0 = tensor.insert %one into %ke[%c1, %c0, %c0, %c0] : tensor<2x1x2x32xf32>
  %k1 = tensor.insert %zero into %k0[%c1, %c0, %c1, %c0] : tensor<2x1x2x32xf32>
  %keys0 = tensor.cast %k1 : tensor<2x1x2x32xf32> to tensor<?x?x2x32xf32>
  %ve = tensor.empty() : tensor<2x32x2xf32>
  %v0 = tensor.insert %one into %ve[%c1, %c0, %c0] : tensor<2x32x2xf32>
  %v1 = tensor.insert %two into %v0[%c1, %c0, %c1] : tensor<2x32x2xf32>
  %values0 = tensor.cast %v1 : tensor<2x32x2xf32> to tensor<?x?x2xf32>
  %keys = llm.append %k into %keys0, %s {key_block = 32 : i64} : (tensor<?x2xf32>, tensor<?x?x2x32xf32>, !llm.sequences) -> tensor<?x?x2x32xf32>
  %values = llm.append %v into %values0, %s : (tensor<?x2xf32>, tensor<?x?x2xf32>, !llm.sequences) -> tensor<?x?x2xf32>
  %o = llm.attention %q, %keys, %values, %s {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64} : (tensor<?x4xf32>, tensor<?x?x2x32xf32>, tensor<?x?x2xf32>, !llm.sequences) -> tensor<?x4xf32>
  %w = llm.attention %q, %keys, %values, %s {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64, window = 2 : i64} : (tensor<?x4xf32>, tensor<?x?x2x32xf32>, tensor<?x?x2xf32>, !llm.sequences) -> tensor<?x4xf32>
  return %o, %w : tensor<?x4xf32>, tensor<?x4xf32>
}

// Scores are log 1, log 2, log 4, ... by position, values 1 at the row's own position, so that a row's result is its key's share of those that it sees. The one row
// is at position 1; the sequence's rows in the wider table reach to position 3: all of them with `seen` alone, those of its block of 2 with `block`, with a block of 4 as far as the
// wider table's rows reach, or its own.
// CHECK-LABEL: @attends_as_far_as_another_table_reaches
// CHECK: llm.attention %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} seen %{{.*}} {heads
func.func @attends_as_far_as_another_table_reaches(%one: tensor<?x1xf32> {llm.value = dense<[[1.0]]> : tensor<1x1xf64>},
    %k: tensor<?x1xf32> {llm.value = dense<[[0.0], [0.6931471805599453], [1.3862943611198906], [2.0794415416798357]]> : tensor<4x1xf64>},
    %v: tensor<?x1xf32> {llm.value = dense<[[0.0], [1.0], [0.0], [0.0]]> : tensor<4x1xf64>},
    %s: !llm.sequences {llm.rows = dense<[[0, 0, 1, 1]]> : tensor<1x4xi32>}, %whole: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0]]> : tensor<1x4xi32>},
    %some: !llm.sequences {llm.rows = dense<[[0, 0, 3, 0]]> : tensor<1x4xi32>}) -> (tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>)
    attributes {llm.expect = [dense<[[0.13333333333333333]]> : tensor<1x1xf64>, dense<[[0.6666666666666666]]> : tensor<1x1xf64>,
                              dense<[[0.2857142857142857]]> : tensor<1x1xf64>, dense<[[0.6666666666666666]]> : tensor<1x1xf64>]} {
  %ke = tensor.empty() : tensor<1x1x1x32xf32>
  %kc = tensor.cast %ke : tensor<1x1x1x32xf32> to tensor<?x?x1x32xf32>
  %ve = tensor.empty() : tensor<1x32x1xf32>
  %vc = tensor.cast %ve : tensor<1x32x1xf32> to tensor<?x?x1xf32>
  %keys = llm.append %k into %kc, %whole {key_block = 32 : i64} : (tensor<?x1xf32>, tensor<?x?x1x32xf32>, !llm.sequences) -> tensor<?x?x1x32xf32>
  %values = llm.append %v into %vc, %whole : (tensor<?x1xf32>, tensor<?x?x1xf32>, !llm.sequences) -> tensor<?x?x1xf32>
  %all = llm.attention %one, %keys, %values, %s seen %whole {heads = 1 : i64, kv_heads = 1 : i64, scale = 1.0 : f64} : (tensor<?x1xf32>, tensor<?x?x1x32xf32>, tensor<?x?x1xf32>, !llm.sequences, !llm.sequences) -> tensor<?x1xf32>
  %two = llm.attention %one, %keys, %values, %s seen %whole {heads = 1 : i64, kv_heads = 1 : i64, scale = 1.0 : f64, block = 2 : i64} : (tensor<?x1xf32>, tensor<?x?x1x32xf32>, tensor<?x?x1xf32>, !llm.sequences, !llm.sequences) -> tensor<?x1xf32>
  %four = llm.attention %one, %keys, %values, %s seen %some {heads = 1 : i64, kv_heads = 1 : i64, scale = 1.0 : f64, block = 4 : i64} : (tensor<?x1xf32>, tensor<?x?x1x32xf32>, tensor<?x?x1xf32>, !llm.sequences, !llm.sequences) -> tensor<?x1xf32>
  %own = llm.attention %one, %keys, %values, %s {heads = 1 : i64, kv_heads = 1 : i64, scale = 1.0 : f64, block = 4 : i64} : (tensor<?x1xf32>, tensor<?x?x1x32xf32>, tensor<?x?x1xf32>, !llm.sequences) -> tensor<?x1xf32>
  return %all, %two, %four, %own : tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>
}
