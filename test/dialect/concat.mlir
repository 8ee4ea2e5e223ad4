// llm.concat: columns side by side.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

// CHECK-LABEL: @puts_columns_side_by_side
// CHECK: llm.concat %{{.*}}, %{{.*}}, %{{.*}} : (tensor<?x2xf32>, tensor<?x1xf32>, tensor<?x2xf32>) -> tensor<?x5xf32>
func.func @puts_columns_side_by_side(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf64>},
    %y: tensor<?x1xf32> {llm.value = dense<[[5.0], [6.0]]> : tensor<2x1xf64>}) -> tensor<?x5xf32>
    attributes {llm.expect = [dense<[[1.0, 2.0, 5.0, 1.0, 2.0], [3.0, 4.0, 6.0, 3.0, 4.0]]> : tensor<2x5xf64>]} {
  %z = llm.concat %x, %y, %x : (tensor<?x2xf32>, tensor<?x1xf32>, tensor<?x2xf32>) -> tensor<?x5xf32>
  return %z : tensor<?x5xf32>
}
