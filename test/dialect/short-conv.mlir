// llm.short_conv: two sequences in other slots than rows; the tail before and after; a tail longer than the call.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

#rows = dense<[[2, 0, 3, 0], [0, 3, 1, 2]]> : tensor<2x4xi32>
#tail = dense<[[[1.0, -1.0], [2.0, 0.5]], [[9.0, 9.0], [9.0, 9.0]], [[0.0, 0.0], [0.0, 0.0]]]> : tensor<3x2x2xf64>

// CHECK-LABEL: @convolves_each_sequence_with_its_tail
// CHECK: llm.short_conv %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : (tensor<?x2xf32>, tensor<2x1x3xf32>, tensor<?x2x2xf32>, !llm.sequences) -> (tensor<?x2xf32>, tensor<?x2x2xf32>)
func.func @convolves_each_sequence_with_its_tail(%s: !llm.sequences {llm.rows = #rows}, %tail: tensor<?x2x2xf32> {llm.value = #tail},
    %x: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0], [3.0, -1.0], [0.5, 1.0], [-2.0, 4.0]]> : tensor<4x2xf64>})
    -> (tensor<?x2xf32>, tensor<?x2x2xf32>) attributes {llm.expect = [
    dense<[[1.761594156, -0.2689414214], [4.966535745, 2.31035455], [-0.2736382857, -0.2689414214], [-0.02238575744, -0.2590825966]]> : tensor<4x2xf64>,
    dense<[[[2.0, 0.5], [-2.0, 4.0]], [[9.0, 9.0], [9.0, 9.0]], [[3.0, -1.0], [0.5, 1.0]]]> : tensor<3x2x2xf64>]} {
  %w = arith.constant dense<[[[0.5, -1.0, 2.0]], [[0.25, 1.0, -0.5]]]> : tensor<2x1x3xf32>
  %y, %new = llm.short_conv %x, %w, %tail, %s : (tensor<?x2xf32>, tensor<2x1x3xf32>, tensor<?x2x2xf32>, !llm.sequences) -> (tensor<?x2xf32>, tensor<?x2x2xf32>)
  return %y, %new : tensor<?x2xf32>, tensor<?x2x2xf32>
}
