// Ops of a canvas that read two tables of sequences.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

// Sequence 0 in slot 1 has 3 known tokens of 6, sequence 1 in slot 0 all 2. The block of sequence 0 is 3 .. 5.
// CHECK-LABEL: @opens
// CHECK: llm.open_block %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} {mask = 9 : i64}
func.func @opens(%canvas: tensor<?x?xi32> {llm.value = dense<[[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8]]> : tensor<2x8xi32>},
    %s: !llm.sequences {llm.rows = dense<[[1, 0, 6, 0], [0, 6, 2, 0]]> : tensor<2x4xi32>},
    %block: !llm.sequences {llm.rows = dense<[[1, 0, 2, 3], [0, 2, 1, 1]]> : tensor<2x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[3, 6, 3, 0], [2, 2, 1, 0]]> : tensor<2x4xi32>}) -> (tensor<?x?xi32>, tensor<?x4xi32>)
    attributes {llm.expect = [dense<[[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 9, 9, 9, 7, 8]]> : tensor<2x8xi32>, dense<[[0, 2, 0, 0], [0, 0, 0, 0]]> : tensor<2x4xi32>]} {
  %c, %p = llm.open_block %canvas, %s, %block, %bounds {mask = 9 : i64} : (tensor<?x?xi32>, !llm.sequences, !llm.sequences, tensor<?x4xi32>) -> (tensor<?x?xi32>, tensor<?x4xi32>)
  return %c, %p : tensor<?x?xi32>, tensor<?x4xi32>
}

// Rows of positions 2 and 3 come from positions 1 and 2; those of positions 0 and 1 of the other sequence both from position 0.
// CHECK-LABEL: @selects_shifted_rows
func.func @selects_shifted_rows(%x: tensor<?x1xf32> {llm.value = dense<[[10.0], [11.0], [12.0], [13.0], [20.0], [21.0]]> : tensor<6x1xf64>},
    %from: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0], [1, 4, 2, 0]]> : tensor<2x4xi32>},
    %wanted: !llm.sequences {llm.rows = dense<[[0, 0, 2, 2], [1, 2, 2, 0]]> : tensor<2x4xi32>}) -> tensor<?x1xf32>
    attributes {llm.expect = [dense<[[11.0], [12.0], [20.0], [20.0]]> : tensor<4x1xf64>]} {
  %y = llm.select_rows %x, %from, %wanted {shift = 1 : i64} : (tensor<?x1xf32>, !llm.sequences, !llm.sequences) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// A sequence without rows in the first table gives 0, though its first row would be another one's.
// CHECK-LABEL: @selects_nothing_of_a_sequence_without_rows
func.func @selects_nothing_of_a_sequence_without_rows(%x: tensor<?x1xf32> {llm.value = dense<[[10.0], [11.0]]> : tensor<2x1xf64>},
    %from: !llm.sequences {llm.rows = dense<[[0, 0, 0, 0], [1, 0, 2, 3]]> : tensor<2x4xi32>},
    %wanted: !llm.sequences {llm.rows = dense<[[0, 0, 1, 5], [1, 1, 1, 4]]> : tensor<2x4xi32>}) -> tensor<?x1xf32>
    attributes {llm.expect = [dense<[[0.0], [11.0]]> : tensor<2x1xf64>]} {
  %y = llm.select_rows %x, %from, %wanted : (tensor<?x1xf32>, !llm.sequences, !llm.sequences) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// Blocks of 8 in parts of 3: of the first sequence the part 3 .. 5, whose first token is known; of the second its whole block, as position 3 is a mask; of the third, whose last
// part is short, positions 6 and 7 of its block (14 and 15). The rows of a sequence follow those of the one before.
// CHECK-LABEL: @next_rows_are_a_part_once_its_first_token_is_known
// CHECK: llm.next_rows
func.func @next_rows_are_a_part_once_its_first_token_is_known(%canvas: tensor<?x?xi32> {llm.value = dense<[[20, 21, 22, 99, 24, 99, 99, 99, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 40, 41, 42, 43, 44, 45, 46, 99], [10, 11, 12, 13, 99, 99, 99, 99, 0, 0, 0, 0, 0, 0, 0, 0]]> : tensor<3x16xi32>},
    %most: !llm.sequences {llm.rows = dense<[[2, 0, 8, 0], [0, 8, 8, 0], [1, 16, 8, 8]]> : tensor<3x4xi32>}, %block: !llm.sequences {llm.rows = dense<[[2, 0, 8, 0], [0, 8, 8, 0], [1, 16, 8, 8]]> : tensor<3x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[1, 8, 1, 0], [1, 8, 1, 0], [9, 16, 9, 0]]> : tensor<3x4xi32>},
    %settings: tensor<?x8xf32> {llm.value = dense<[[8.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 3.0], [8.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 3.0], [8.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 3.0]]> : tensor<3x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[1, 7, 0, 0], [3, 7, 0, 0], [2, 7, 0, 0]]> : tensor<3x4xi32>}) -> (tensor<?xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[13, 99, 99, 20, 21, 22, 99, 24, 99, 99, 99, 46, 99]> : tensor<13xi32>, dense<[[3], [8], [2]]> : tensor<3x1xi32>]} {
  %rows, %n = llm.next_rows %canvas, %most, %block, %bounds, %settings, %progress {mask = 99 : i64} : (tensor<?x?xi32>, !llm.sequences, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (!llm.sequences, tensor<?x1xi32>)
  %t = llm.read_canvas %canvas, %rows : (tensor<?x?xi32>, !llm.sequences) -> tensor<?xi32>
  return %t, %n : tensor<?xi32>, tensor<?x1xi32>
}

// Without the cache, before the first step of a block that begins with the prompt's end, and after the first step of one that begins at `known`: the whole block.
// CHECK-LABEL: @next_rows_are_all_of_the_block
// CHECK: llm.next_rows
func.func @next_rows_are_all_of_the_block(%canvas: tensor<?x?xi32> {llm.value = dense<[[10, 11, 99, 99, 0, 0, 0, 0], [20, 99, 99, 99, 0, 0, 0, 0], [0, 0, 0, 0, 30, 99, 99, 99]]> : tensor<3x8xi32>},
    %most: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0], [1, 4, 4, 0], [2, 8, 4, 4]]> : tensor<3x4xi32>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0], [1, 4, 4, 0], [2, 8, 4, 4]]> : tensor<3x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[1, 4, 1, 0], [1, 4, 1, 0], [4, 8, 4, 0]]> : tensor<3x4xi32>},
    %settings: tensor<?x8xf32> {llm.value = dense<[[8.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0], [8.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 4.0], [8.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 4.0]]> : tensor<3x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[5, 3, 0, 0], [0, 3, 0, 0], [1, 4, 0, 0]]> : tensor<3x4xi32>}) -> (tensor<?xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[10, 11, 99, 99, 20, 99, 99, 99, 30, 99, 99, 99]> : tensor<12xi32>, dense<[[4], [4], [4]]> : tensor<3x1xi32>]} {
  %rows, %n = llm.next_rows %canvas, %most, %block, %bounds, %settings, %progress {mask = 99 : i64} : (tensor<?x?xi32>, !llm.sequences, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (!llm.sequences, tensor<?x1xi32>)
  %t = llm.read_canvas %canvas, %rows : (tensor<?x?xi32>, !llm.sequences) -> tensor<?xi32>
  return %t, %n : tensor<?xi32>, tensor<?x1xi32>
}

// A block without a mask (one of the prompt's tokens equals it: that is known), one with a mask, and one whose logits were not finite.
// CHECK-LABEL: @next_rows_are_none_of_a_finished_block
// CHECK: llm.next_rows
func.func @next_rows_are_none_of_a_finished_block(%canvas: tensor<?x?xi32> {llm.value = dense<[[99, 11, 12, 13], [20, 21, 99, 23], [30, 99, 99, 99]]> : tensor<3x4xi32>},
    %most: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0], [1, 4, 4, 0], [2, 8, 4, 0]]> : tensor<3x4xi32>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 4, 0], [1, 4, 4, 0], [2, 8, 4, 0]]> : tensor<3x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[1, 4, 1, 0], [1, 4, 1, 0], [1, 4, 1, 0]]> : tensor<3x4xi32>},
    %settings: tensor<?x8xf32> {llm.value = dense<[[8.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 4.0], [8.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 4.0], [8.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 4.0]]> : tensor<3x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[2, 3, 0, 0], [2, 3, 0, 0], [2, 3, 1, 0]]> : tensor<3x4xi32>}) -> (tensor<?xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[20, 21, 99, 23]> : tensor<4xi32>, dense<[[0], [4], [0]]> : tensor<3x1xi32>]} {
  %rows, %n = llm.next_rows %canvas, %most, %block, %bounds, %settings, %progress {mask = 99 : i64} : (tensor<?x?xi32>, !llm.sequences, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (!llm.sequences, tensor<?x1xi32>)
  %t = llm.read_canvas %canvas, %rows : (tensor<?x?xi32>, !llm.sequences) -> tensor<?xi32>
  return %t, %n : tensor<?xi32>, tensor<?x1xi32>
}

// A part begins with a mask again: its block comes whole, of what `most` has.
// CHECK-LABEL: @next_rows_are_those_of_most
// CHECK: llm.next_rows
func.func @next_rows_are_those_of_most(%canvas: tensor<?x?xi32> {llm.value = dense<[[10, 11, 99, 13, 14, 15, 99, 99]]> : tensor<1x8xi32>},
    %most: !llm.sequences {llm.rows = dense<[[0, 0, 6, 2]]> : tensor<1x4xi32>}, %block: !llm.sequences {llm.rows = dense<[[0, 0, 8, 0]]> : tensor<1x4xi32>},
    %bounds: tensor<?x4xi32> {llm.value = dense<[[1, 8, 1, 0]]> : tensor<1x4xi32>},
    %settings: tensor<?x8xf32> {llm.value = dense<[[8.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 2.0]]> : tensor<1x8xf64>},
    %progress: tensor<?x4xi32> {llm.value = dense<[[9, 7, 0, 0]]> : tensor<1x4xi32>}) -> (tensor<?xi32>, tensor<?x1xi32>)
    attributes {llm.expect = [dense<[99, 13, 14, 15, 99, 99]> : tensor<6xi32>, dense<[[6]]> : tensor<1x1xi32>]} {
  %rows, %n = llm.next_rows %canvas, %most, %block, %bounds, %settings, %progress {mask = 99 : i64} : (tensor<?x?xi32>, !llm.sequences, !llm.sequences, tensor<?x4xi32>, tensor<?x8xf32>, tensor<?x4xi32>) -> (!llm.sequences, tensor<?x1xi32>)
  %t = llm.read_canvas %canvas, %rows : (tensor<?x?xi32>, !llm.sequences) -> tensor<?xi32>
  return %t, %n : tensor<?xi32>, tensor<?x1xi32>
}
