// Rows of another length, which two tables of sequences tell apart.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

// CHECK-LABEL: @joins_rows
// CHECK: llm.regroup_rows %{{.*}}, %{{.*}}, %{{.*}} :
func.func @joins_rows(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]> : tensor<6x2xf64>},
    %f: !llm.sequences {llm.rows = dense<[[0, 0, 4, 8], [1, 4, 2, 0]]> : tensor<2x4xi32>}, %i: !llm.sequences {llm.rows = dense<[[0, 0, 2, 4], [1, 2, 1, 0]]> : tensor<2x4xi32>}) -> tensor<?x4xf32>
    attributes {llm.expect = [dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [9.0, 10.0, 11.0, 12.0]]> : tensor<3x4xf64>]} {
  %y = llm.regroup_rows %x, %f, %i : (tensor<?x2xf32>, !llm.sequences, !llm.sequences) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// CHECK-LABEL: @splits_rows
func.func @splits_rows(%x: tensor<?x4xf32> {llm.value = dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xf64>},
    %f: !llm.sequences {llm.rows = dense<[[0, 0, 1, 4], [1, 1, 1, 0]]> : tensor<2x4xi32>}, %i: !llm.sequences {llm.rows = dense<[[0, 0, 2, 0], [1, 2, 2, 0]]> : tensor<2x4xi32>}) -> tensor<?x2xf32>
    attributes {llm.expect = [dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]> : tensor<4x2xf64>]} {
  %y = llm.regroup_rows %x, %f, %i : (tensor<?x4xf32>, !llm.sequences, !llm.sequences) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
