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
