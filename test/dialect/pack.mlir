// llm.pack: panels of rows, zero padded, of several weights and groups; a range of rows left as it is.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

// CHECK-LABEL: @cuts_into_panels
// CHECK: llm.pack %{{.*}}, %{{.*}} {groups = 1 : i64, panel = 2 : i64} : (tensor<3x2xf32>, tensor<1x2xf32>) -> tensor<1x3x2x2xf32>
func.func @cuts_into_panels() -> tensor<1x3x2x2xf32> attributes {llm.expect = [
    dense<[[[[1.0, 3.0], [2.0, 4.0]], [[5.0, 0.0], [6.0, 0.0]], [[7.0, 0.0], [8.0, 0.0]]]]> : tensor<1x3x2x2xf64>]} {
  %a = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %b = arith.constant dense<[[7.0, 8.0]]> : tensor<1x2xf32>
  %p = llm.pack %a, %b {groups = 1 : i64, panel = 2 : i64} : (tensor<3x2xf32>, tensor<1x2xf32>) -> tensor<1x3x2x2xf32>
  return %p : tensor<1x3x2x2xf32>
}

// Two groups of three rows each, whatever the rank: rows 1 and 2 of each.
// CHECK-LABEL: @takes_rows_of_each_group
func.func @takes_rows_of_each_group() -> (tensor<2x2x1xbf16>, tensor<2x1x1x4xbf16>) attributes {llm.expect = [
    dense<[[[2.0], [3.0]], [[5.0], [6.0]]]> : tensor<2x2x1xf64>, dense<[[[[2.0, 3.0, 0.0, 0.0]]], [[[5.0, 6.0, 0.0, 0.0]]]]> : tensor<2x1x1x4xf64>]} {
  %a = arith.constant dense<[[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]]> : tensor<6x1xbf16>
  %rows = llm.pack %a {groups = 2 : i64, panel = 0 : i64, from = 1 : i64, count = 2 : i64} : (tensor<6x1xbf16>) -> tensor<2x2x1xbf16>
  %panels = llm.pack %a {groups = 2 : i64, panel = 4 : i64, from = 1 : i64, count = 2 : i64} : (tensor<6x1xbf16>) -> tensor<2x1x1x4xbf16>
  return %rows, %panels : tensor<2x2x1xbf16>, tensor<2x1x1x4xbf16>
}

// Rows of each group, packed again: two parts of one stored tensor side by side.
// CHECK-LABEL: @packs_rows_of_groups
func.func @packs_rows_of_groups() -> tensor<2x2x1x2xf32> attributes {llm.expect = [
    dense<[[[[1.0, 0.0]], [[2.0, 3.0]]], [[[4.0, 0.0]], [[5.0, 6.0]]]]> : tensor<2x2x1x2xf64>]} {
  %w = arith.constant dense<[[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]]> : tensor<2x3x1xf32>
  %a = llm.pack %w {groups = 2 : i64, panel = 0 : i64, from = 0 : i64, count = 1 : i64} : (tensor<2x3x1xf32>) -> tensor<2x1x1xf32>
  %b = llm.pack %w {groups = 2 : i64, panel = 0 : i64, from = 1 : i64, count = 2 : i64} : (tensor<2x3x1xf32>) -> tensor<2x2x1xf32>
  %p = llm.pack %a, %b {groups = 2 : i64, panel = 2 : i64} : (tensor<2x1x1xf32>, tensor<2x2x1xf32>) -> tensor<2x2x1x2xf32>
  return %p : tensor<2x2x1x2xf32>
}
