// Tokens by the patch: noise, the largest column, and which draws become the patch.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4

// Philox4x32-10 keyed by 7 at position 12: the first sequence has made 5 draws, its second row is number 6.
// CHECK-LABEL: @counts_draws
// CHECK: llm.noise %{{.*}}, %{{.*}} progress %{{.*}} : (
func.func @counts_draws(%q: !llm.sequences {llm.rows = dense<[[0, 0, 2, 0], [1, 2, 1, 0]]> : tensor<2x4xi32>}, %d: tensor<?x4xi64> {llm.value = dense<[[7, 0, 12, 0], [9, 0, 3, 0]]> : tensor<2x4xi64>},
    %p: tensor<?x4xi32> {llm.value = dense<[[5, 0, 0, 0], [0, 0, 0, 0]]> : tensor<2x4xi32>}) -> tensor<?x3xf32>
    attributes {llm.expect = [dense<[[-0.424965500831604, 0.4472913146018982, 0.45541441440582275], [-0.24722659587860107, 0.3198792338371277, 0.2890421152114868],
                                     [0.440476655960083, -0.017677247524261475, -0.46539145708084106]]> : tensor<3x3xf64>]} {
  %n = llm.noise %q, %d progress %p : (!llm.sequences, tensor<?x4xi64>, tensor<?x4xi32>) -> tensor<?x3xf32>
  return %n : tensor<?x3xf32>
}

// Without progress rows are numbered by their position; the stream is in the position's upper half.
// CHECK-LABEL: @counts_positions
// CHECK: llm.noise %{{.*}}, %{{.*}} {stream = 4 : i64}
func.func @counts_positions(%q: !llm.sequences {llm.rows = dense<[[0, 0, 2, 2], [1, 2, 1, 0]]> : tensor<2x4xi32>}, %d: tensor<?x4xi64> {llm.value = dense<[[7, 0, 12, 0], [9, 0, 3, 0]]> : tensor<2x4xi64>}) -> tensor<?x3xf32>
    attributes {llm.expect = [dense<[[-0.17594391107559204, -0.2689592242240906, 0.4559319019317627], [-0.10947763919830322, -0.14894258975982666, 0.4480131268501282],
                                     [-0.4503589868545532, 0.1571449637413025, 0.31283217668533325]]> : tensor<3x3xf64>]} {
  %n = llm.noise %q, %d {stream = 4 : i64} : (!llm.sequences, tensor<?x4xi64>) -> tensor<?x3xf32>
  return %n : tensor<?x3xf32>
}

// The lower of two equals; no token where a number is NaN or +infinity, or all are -infinity.
// CHECK-LABEL: @finds_the_largest
// CHECK: llm.argmax
func.func @finds_the_largest(%z: tensor<?x3xf32> {llm.value = dense<[[1.0, 3.0, 3.0], [0.0, 0x7FF8000000000000, 1.0], [0.0, 1.0, 0x7FF0000000000000], [0xFFF0000000000000, 0xFFF0000000000000, 0xFFF0000000000000],
      [0xFFF0000000000000, -5.0, 0xFFF0000000000000], [0x7FF8000000000000, 0x7FF8000000000000, 0x7FF8000000000000]]> : tensor<6x3xf64>}) -> tensor<?xi32>
    attributes {llm.expect = [dense<[1, -1, -1, -1, 1, -1]> : tensor<6xi32>]} {
  %t = llm.argmax %z : (tensor<?x3xf32>) -> tensor<?xi32>
  return %t : tensor<?xi32>
}

// CHECK-LABEL: @opens
// CHECK: llm.open_draws
func.func @opens(%b: tensor<?x4xi32> {llm.value = dense<[[2, 6, 2, 0], [4, 8, 0, 0]]> : tensor<2x4xi32>}) -> (tensor<?x4xi32>, tensor<?x6xi32>)
    attributes {llm.expect = [dense<0> : tensor<2x4xi32>, dense<0> : tensor<2x6xi32>]} {
  %p, %o = llm.open_draws %b : (tensor<?x4xi32>) -> (tensor<?x4xi32>, tensor<?x6xi32>)
  return %p, %o : tensor<?x4xi32>, tensor<?x6xi32>
}

// Temperature 1/2 asks for two equal draws. The third is not looked at.
// CHECK-LABEL: @takes_two_equal
// CHECK: llm.accept_patch {{.*}} {patch = 2 : i64}
func.func @takes_two_equal(%t: tensor<?xi32> {llm.value = dense<[1, 2, 1, 2, 3, 4]> : tensor<6xi32>}, %q: !llm.sequences {llm.rows = dense<[[0, 0, 6, 0]]> : tensor<1x4xi32>},
    %b: tensor<?x4xi32> {llm.value = dense<[[2, 6, 2, 0]]> : tensor<1x4xi32>}, %s: tensor<?x4xf32> {llm.value = dense<[[0.5, 1.0, 0.0, 0.0]]> : tensor<1x4xf64>},
    %d: tensor<?x4xi64> {llm.value = dense<[[7, 0, 4, 0]]> : tensor<1x4xi64>}, %e: tensor<?x8xf32> {llm.value = dense<[[1.0, 3.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %p: tensor<?x4xi32> {llm.value = dense<[[0, 0, 0, 0]]> : tensor<1x4xi32>}, %o: tensor<?x8xi32> {llm.value = dense<[[0, 0, 0, 0, 0, 0, 0, 0]]> : tensor<1x8xi32>},
    %c: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9, 9, 9, 9]]> : tensor<1x6xi32>}) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[2, 2, 0, 1]]> : tensor<1x4xi32>, dense<[[1, 2, 1, 2, 1, 2, 0, 0]]> : tensor<1x8xi32>, dense<[[9, 9, 1, 2, 9, 9]]> : tensor<1x6xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %r:4 = llm.accept_patch %t, %q, %b, %s, %d, %e, %p, %o, %c {patch = 2 : i64} : (tensor<?xi32>, !llm.sequences, tensor<?x4xi32>, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
  return %r#0, %r#1, %r#2, %r#3 : tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>
}

// Two that differ are forgotten; the next one is alone.
// CHECK-LABEL: @begins_anew
// CHECK: llm.accept_patch {{.*}} {patch = 2 : i64}
func.func @begins_anew(%t: tensor<?xi32> {llm.value = dense<[1, 2, 1, 3, 5, 6]> : tensor<6xi32>}, %q: !llm.sequences {llm.rows = dense<[[0, 0, 6, 0]]> : tensor<1x4xi32>},
    %b: tensor<?x4xi32> {llm.value = dense<[[2, 6, 2, 0]]> : tensor<1x4xi32>}, %s: tensor<?x4xf32> {llm.value = dense<[[0.5, 1.0, 0.0, 0.0]]> : tensor<1x4xf64>},
    %d: tensor<?x4xi64> {llm.value = dense<[[7, 0, 4, 0]]> : tensor<1x4xi64>}, %e: tensor<?x8xf32> {llm.value = dense<[[1.0, 3.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %p: tensor<?x4xi32> {llm.value = dense<[[0, 0, 0, 0]]> : tensor<1x4xi32>}, %o: tensor<?x8xi32> {llm.value = dense<[[0, 0, 0, 0, 0, 0, 0, 0]]> : tensor<1x8xi32>},
    %c: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9, 9, 9, 9]]> : tensor<1x6xi32>}) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[3, 1, 0, 0]]> : tensor<1x4xi32>, dense<[[5, 6, 1, 2, 1, 3, 5, 6]]> : tensor<1x8xi32>, dense<[[9, 9, 9, 9, 9, 9]]> : tensor<1x6xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %r:4 = llm.accept_patch %t, %q, %b, %s, %d, %e, %p, %o, %c {patch = 2 : i64} : (tensor<?xi32>, !llm.sequences, tensor<?x4xi32>, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
  return %r#0, %r#1, %r#2, %r#3 : tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>
}

// The first draw of this call equals what is left of the one before, which made all draws that are kept.
// CHECK-LABEL: @goes_on
// CHECK: llm.accept_patch {{.*}} {patch = 2 : i64}
func.func @goes_on(%t: tensor<?xi32> {llm.value = dense<[5, 6, 1, 1]> : tensor<4xi32>}, %q: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0]]> : tensor<1x4xi32>},
    %b: tensor<?x4xi32> {llm.value = dense<[[2, 6, 2, 0]]> : tensor<1x4xi32>}, %s: tensor<?x4xf32> {llm.value = dense<[[0.5, 1.0, 0.0, 0.0]]> : tensor<1x4xf64>},
    %d: tensor<?x4xi64> {llm.value = dense<[[7, 0, 4, 0]]> : tensor<1x4xi64>}, %e: tensor<?x8xf32> {llm.value = dense<[[1.0, 3.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %p: tensor<?x4xi32> {llm.value = dense<[[3, 1, 0, 0]]> : tensor<1x4xi32>}, %o: tensor<?x8xi32> {llm.value = dense<[[5, 6, 1, 2, 1, 3, 5, 6]]> : tensor<1x8xi32>},
    %c: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9, 9, 9, 9]]> : tensor<1x6xi32>}) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[4, 2, 0, 1]]> : tensor<1x4xi32>, dense<[[5, 6, 1, 2, 1, 3, 5, 6]]> : tensor<1x8xi32>, dense<[[9, 9, 5, 6, 9, 9]]> : tensor<1x6xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %r:4 = llm.accept_patch %t, %q, %b, %s, %d, %e, %p, %o, %c {patch = 2 : i64} : (tensor<?xi32>, !llm.sequences, tensor<?x4xi32>, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
  return %r#0, %r#1, %r#2, %r#3 : tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>
}

// 1/T = 1 + 1/3. Draw 1 differs, and its coin, 0.2026, is below 1/3: all is forgotten. Draw 3 equals draw 2.
// CHECK-LABEL: @tosses_coins
// CHECK: llm.accept_patch {{.*}} {patch = 2 : i64}
func.func @tosses_coins(%t: tensor<?xi32> {llm.value = dense<[1, 1, 2, 2, 3, 3, 3, 3]> : tensor<8xi32>}, %q: !llm.sequences {llm.rows = dense<[[0, 0, 8, 0]]> : tensor<1x4xi32>},
    %b: tensor<?x4xi32> {llm.value = dense<[[2, 6, 2, 0]]> : tensor<1x4xi32>}, %s: tensor<?x4xf32> {llm.value = dense<[[0.75, 1.0, 0.0, 0.0]]> : tensor<1x4xf64>},
    %d: tensor<?x4xi64> {llm.value = dense<[[7, 0, 4, 0]]> : tensor<1x4xi64>}, %e: tensor<?x8xf32> {llm.value = dense<[[1.0, 3.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %p: tensor<?x4xi32> {llm.value = dense<[[0, 0, 0, 0]]> : tensor<1x4xi32>}, %o: tensor<?x8xi32> {llm.value = dense<[[0, 0, 0, 0, 0, 0, 0, 0]]> : tensor<1x8xi32>},
    %c: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9, 9, 9, 9]]> : tensor<1x6xi32>}) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[4, 0, 0, 1]]> : tensor<1x4xi32>, dense<[[3, 3, 1, 1, 2, 2, 3, 3]]> : tensor<1x8xi32>, dense<[[9, 9, 3, 3, 9, 9]]> : tensor<1x6xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %r:4 = llm.accept_patch %t, %q, %b, %s, %d, %e, %p, %o, %c {patch = 2 : i64} : (tensor<?xi32>, !llm.sequences, tensor<?x4xi32>, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
  return %r#0, %r#1, %r#2, %r#3 : tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>
}

// Whatever the rule.
// CHECK-LABEL: @takes_one_at_temperature_1
// CHECK: llm.accept_patch {{.*}} {patch = 2 : i64}
func.func @takes_one_at_temperature_1(%t: tensor<?xi32> {llm.value = dense<[4, 5, 1, 1]> : tensor<4xi32>}, %q: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0]]> : tensor<1x4xi32>},
    %b: tensor<?x4xi32> {llm.value = dense<[[2, 6, 2, 0]]> : tensor<1x4xi32>}, %s: tensor<?x4xf32> {llm.value = dense<[[1.0, 1.0, 0.0, 0.0]]> : tensor<1x4xf64>},
    %d: tensor<?x4xi64> {llm.value = dense<[[7, 0, 4, 0]]> : tensor<1x4xi64>}, %e: tensor<?x8xf32> {llm.value = dense<[[0.0, 3.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %p: tensor<?x4xi32> {llm.value = dense<[[0, 0, 0, 0]]> : tensor<1x4xi32>}, %o: tensor<?x8xi32> {llm.value = dense<[[0, 0, 0, 0, 0, 0, 0, 0]]> : tensor<1x8xi32>},
    %c: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9, 9, 9, 9]]> : tensor<1x6xi32>}) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[1, 1, 0, 1]]> : tensor<1x4xi32>, dense<[[4, 5, 4, 5, 0, 0, 0, 0]]> : tensor<1x8xi32>, dense<[[9, 9, 4, 5, 9, 9]]> : tensor<1x6xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %r:4 = llm.accept_patch %t, %q, %b, %s, %d, %e, %p, %o, %c {patch = 2 : i64} : (tensor<?xi32>, !llm.sequences, tensor<?x4xi32>, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
  return %r#0, %r#1, %r#2, %r#3 : tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>
}

// At temperature 1/2 a patch that occurs once has no weight beside one that occurs twice.
// CHECK-LABEL: @takes_what_occurs_twice
// CHECK: llm.accept_patch {{.*}} {patch = 2 : i64}
func.func @takes_what_occurs_twice(%t: tensor<?xi32> {llm.value = dense<[1, 1, 2, 2, 1, 1]> : tensor<6xi32>}, %q: !llm.sequences {llm.rows = dense<[[0, 0, 6, 0]]> : tensor<1x4xi32>},
    %b: tensor<?x4xi32> {llm.value = dense<[[2, 6, 2, 0]]> : tensor<1x4xi32>}, %s: tensor<?x4xf32> {llm.value = dense<[[0.5, 1.0, 0.0, 0.0]]> : tensor<1x4xf64>},
    %d: tensor<?x4xi64> {llm.value = dense<[[4, 0, 4, 0]]> : tensor<1x4xi64>}, %e: tensor<?x8xf32> {llm.value = dense<[[0.0, 3.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %p: tensor<?x4xi32> {llm.value = dense<[[0, 0, 0, 0]]> : tensor<1x4xi32>}, %o: tensor<?x8xi32> {llm.value = dense<[[0, 0, 0, 0, 0, 0, 0, 0]]> : tensor<1x8xi32>},
    %c: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9, 9, 9, 9]]> : tensor<1x6xi32>}) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[3, 0, 0, 1]]> : tensor<1x4xi32>, dense<[[1, 1, 1, 1, 2, 2, 1, 1]]> : tensor<1x8xi32>, dense<[[9, 9, 1, 1, 9, 9]]> : tensor<1x6xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %r:4 = llm.accept_patch %t, %q, %b, %s, %d, %e, %p, %o, %c {patch = 2 : i64} : (tensor<?xi32>, !llm.sequences, tensor<?x4xi32>, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
  return %r#0, %r#1, %r#2, %r#3 : tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>
}

// Weights 1 and 2^-(4/3) = 0.397; u = 0.8975 is beyond 1 / 1.397.
// CHECK-LABEL: @weighs_counts
// CHECK: llm.accept_patch {{.*}} {patch = 2 : i64}
func.func @weighs_counts(%t: tensor<?xi32> {llm.value = dense<[1, 1, 2, 2, 1, 1]> : tensor<6xi32>}, %q: !llm.sequences {llm.rows = dense<[[0, 0, 6, 0]]> : tensor<1x4xi32>},
    %b: tensor<?x4xi32> {llm.value = dense<[[2, 6, 2, 0]]> : tensor<1x4xi32>}, %s: tensor<?x4xf32> {llm.value = dense<[[0.75, 1.0, 0.0, 0.0]]> : tensor<1x4xf64>},
    %d: tensor<?x4xi64> {llm.value = dense<[[4, 0, 4, 0]]> : tensor<1x4xi64>}, %e: tensor<?x8xf32> {llm.value = dense<[[0.0, 3.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %p: tensor<?x4xi32> {llm.value = dense<[[0, 0, 0, 0]]> : tensor<1x4xi32>}, %o: tensor<?x8xi32> {llm.value = dense<[[0, 0, 0, 0, 0, 0, 0, 0]]> : tensor<1x8xi32>},
    %c: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9, 9, 9, 9]]> : tensor<1x6xi32>}) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[3, 0, 0, 1]]> : tensor<1x4xi32>, dense<[[2, 2, 1, 1, 2, 2, 1, 1]]> : tensor<1x8xi32>, dense<[[9, 9, 2, 2, 9, 9]]> : tensor<1x6xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %r:4 = llm.accept_patch %t, %q, %b, %s, %d, %e, %p, %o, %c {patch = 2 : i64} : (tensor<?xi32>, !llm.sequences, tensor<?x4xi32>, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
  return %r#0, %r#1, %r#2, %r#3 : tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>
}

// Two of three.
// CHECK-LABEL: @waits_for_candidates
// CHECK: llm.accept_patch {{.*}} {patch = 2 : i64}
func.func @waits_for_candidates(%t: tensor<?xi32> {llm.value = dense<[1, 1, 2, 2]> : tensor<4xi32>}, %q: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0]]> : tensor<1x4xi32>},
    %b: tensor<?x4xi32> {llm.value = dense<[[2, 6, 2, 0]]> : tensor<1x4xi32>}, %s: tensor<?x4xf32> {llm.value = dense<[[0.5, 1.0, 0.0, 0.0]]> : tensor<1x4xf64>},
    %d: tensor<?x4xi64> {llm.value = dense<[[4, 0, 4, 0]]> : tensor<1x4xi64>}, %e: tensor<?x8xf32> {llm.value = dense<[[0.0, 3.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %p: tensor<?x4xi32> {llm.value = dense<[[0, 0, 0, 0]]> : tensor<1x4xi32>}, %o: tensor<?x8xi32> {llm.value = dense<[[0, 0, 0, 0, 0, 0, 0, 0]]> : tensor<1x8xi32>},
    %c: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9, 9, 9, 9]]> : tensor<1x6xi32>}) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[2, 0, 0, 0]]> : tensor<1x4xi32>, dense<[[0, 0, 1, 1, 2, 2, 0, 0]]> : tensor<1x8xi32>, dense<[[9, 9, 9, 9, 9, 9]]> : tensor<1x6xi32>, dense<[[1]]> : tensor<1x1xi32>]} {
  %r:4 = llm.accept_patch %t, %q, %b, %s, %d, %e, %p, %o, %c {patch = 2 : i64} : (tensor<?xi32>, !llm.sequences, tensor<?x4xi32>, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
  return %r#0, %r#1, %r#2, %r#3 : tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>
}

// Three draws are all that the exact rule may make here: the most frequent of them.
// CHECK-LABEL: @gives_way
// CHECK: llm.accept_patch {{.*}} {patch = 2 : i64}
func.func @gives_way(%t: tensor<?xi32> {llm.value = dense<[1, 1, 2, 2, 1, 1, 2, 2]> : tensor<8xi32>}, %q: !llm.sequences {llm.rows = dense<[[0, 0, 8, 0]]> : tensor<1x4xi32>},
    %b: tensor<?x4xi32> {llm.value = dense<[[2, 6, 2, 0]]> : tensor<1x4xi32>}, %s: tensor<?x4xf32> {llm.value = dense<[[0.25, 1.0, 0.0, 0.0]]> : tensor<1x4xf64>},
    %d: tensor<?x4xi64> {llm.value = dense<[[4, 0, 4, 0]]> : tensor<1x4xi64>}, %e: tensor<?x8xf32> {llm.value = dense<[[1.0, 3.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>},
    %p: tensor<?x4xi32> {llm.value = dense<[[0, 0, 0, 0]]> : tensor<1x4xi32>}, %o: tensor<?x8xi32> {llm.value = dense<[[0, 0, 0, 0, 0, 0, 0, 0]]> : tensor<1x8xi32>},
    %c: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9, 9, 9, 9]]> : tensor<1x6xi32>}) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[3, 1, 0, 1]]> : tensor<1x4xi32>, dense<[[1, 1, 1, 1, 2, 2, 1, 1]]> : tensor<1x8xi32>, dense<[[9, 9, 1, 1, 9, 9]]> : tensor<1x6xi32>, dense<[[0]]> : tensor<1x1xi32>]} {
  %r:4 = llm.accept_patch %t, %q, %b, %s, %d, %e, %p, %o, %c {patch = 2 : i64} : (tensor<?xi32>, !llm.sequences, tensor<?x4xi32>, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
  return %r#0, %r#1, %r#2, %r#3 : tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>
}

// The first sequence meets a negative token; the second is done.
// CHECK-LABEL: @stops_at_bad_draws
// CHECK: llm.accept_patch {{.*}} {patch = 2 : i64}
func.func @stops_at_bad_draws(%t: tensor<?xi32> {llm.value = dense<[1, 1, 1, -1, 7, 7, 7, 7]> : tensor<8xi32>}, %q: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0], [1, 4, 4, 0]]> : tensor<2x4xi32>},
    %b: tensor<?x4xi32> {llm.value = dense<[[2, 6, 2, 0], [2, 6, 2, 0]]> : tensor<2x4xi32>}, %s: tensor<?x4xf32> {llm.value = dense<[[0.5, 1.0, 0.0, 0.0], [0.5, 1.0, 0.0, 0.0]]> : tensor<2x4xf64>},
    %d: tensor<?x4xi64> {llm.value = dense<[[7, 0, 4, 0], [7, 0, 4, 0]]> : tensor<2x4xi64>}, %e: tensor<?x8xf32> {llm.value = dense<[[1.0, 3.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 3.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<2x8xf64>},
    %p: tensor<?x4xi32> {llm.value = dense<[[0, 0, 0, 0], [4, 2, 0, 1]]> : tensor<2x4xi32>}, %o: tensor<?x8xi32> {llm.value = dense<[[0, 0, 0, 0, 0, 0, 0, 0], [5, 6, 5, 6, 5, 6, 0, 0]]> : tensor<2x8xi32>},
    %c: tensor<?x?xi32> {llm.value = dense<[[9, 9, 9, 9, 9, 9], [8, 8, 5, 6, 8, 8]]> : tensor<2x6xi32>}) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[[1, 1, 1, 0], [4, 2, 0, 1]]> : tensor<2x4xi32>, dense<[[1, 1, 1, 1, 1, -1, 0, 0], [5, 6, 5, 6, 5, 6, 0, 0]]> : tensor<2x8xi32>, dense<[[9, 9, 9, 9, 9, 9], [8, 8, 5, 6, 8, 8]]> : tensor<2x6xi32>, dense<[[0], [0]]> : tensor<2x1xi32>]} {
  %r:4 = llm.accept_patch %t, %q, %b, %s, %d, %e, %p, %o, %c {patch = 2 : i64} : (tensor<?xi32>, !llm.sequences, tensor<?x4xi32>, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>) -> (tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>)
  return %r#0, %r#1, %r#2, %r#3 : tensor<?x4xi32>, tensor<?x8xi32>, tensor<?x?xi32>, tensor<?x1xi32>
}
