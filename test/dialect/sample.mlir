// llm.sample: greedy, every filter, the counter-based generator, rows without a possible token.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect

// Probabilities of logits (1, 2, 0.5, 2, -1) at temperature 1: 0.139, 0.379, 0.084, 0.379, 0.019. Draws u by (seed, position):
// (0, 0) 0.3990, (1, 0) 0.8903, (0, 1) 0.9722, (123456789012345, 7) 0.9537.
// CHECK-LABEL: @draws_in_proportion
// CHECK: llm.sample %{{.*}}, %{{.*}}, %{{.*}} : (tensor<?x5xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?xi32>
func.func @draws_in_proportion(%z: tensor<?x5xf32> {llm.value = dense<[
      [1.0, 2.0, 0.5, 2.0, -1.0], [1.0, 2.0, 0.5, 2.0, -1.0], [1.0, 2.0, 0.5, 2.0, -1.0], [1.0, 2.0, 0.5, 2.0, -1.0],
      [1.0, 2.0, 0.5, 2.0, -1.0], [1.0, 2.0, 0.5, 2.0, -1.0], [0.5, 1.0, 0.25, 1.0, 8.0]]> : tensor<7x5xf64>}) -> tensor<?xi32>
    attributes {llm.expect = [dense<[1, 1, 3, 3, 3, 3, 4]> : tensor<7xi32>]} {
  %s = arith.constant dense<[
    [0.0, 1.0, 0.0, 0.0],   // greedy: the lower of two equals
    [1.0, 1.0, 0.0, 0.0],   // 0.3990 in [0.139, 0.518)
    [1.0, 1.0, 0.0, 0.0],   // 0.8903 in [0.602, 0.981)
    [1.0, 1.0, 0.0, 0.0],   // top_k 1 keeps both equals: 0.9722 is in the upper half
    [1.0, 0.5, 0.0, 0.0],   // top_p 0.5 needs both
    [1.0, 1.0, 0.9, 0.0],   // min_p 0.9 keeps both
    [1.0, 1.0, 0.0, 0.0]]> : tensor<7x4xf32>
  %d = arith.constant dense<[[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [123456789012345, 0, 7, 0], [0, 0, 1, 0], [0, 0, 0, 0]]> : tensor<7x4xi64>
  %sampling = tensor.cast %s : tensor<7x4xf32> to tensor<?x4xf32>
  %draws = tensor.cast %d : tensor<7x4xi64> to tensor<?x4xi64>
  %t = llm.sample %z, %sampling, %draws : (tensor<?x5xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?xi32>
  return %t : tensor<?xi32>
}

// Without the filters the same draws fall elsewhere: 0.9722 of seed 0 at position 1 is still token 3, at temperature 4 it is 4.
// CHECK-LABEL: @divides_by_the_temperature
func.func @divides_by_the_temperature(%z: tensor<?x5xf32> {llm.value = dense<[[1.0, 2.0, 0.5, 2.0, -1.0], [1.0, 2.0, 0.5, 2.0, -1.0]]> : tensor<2x5xf64>})
    -> tensor<?xi32> attributes {llm.expect = [dense<[3, 4]> : tensor<2xi32>]} {
  %s = arith.constant dense<[[1.0, 1.0, 0.0, 0.0], [4.0, 1.0, 0.0, 0.0]]> : tensor<2x4xf32>
  %d = arith.constant dense<[[0, 0, 1, 0], [0, 0, 1, 0]]> : tensor<2x4xi64>
  %sampling = tensor.cast %s : tensor<2x4xf32> to tensor<?x4xf32>
  %draws = tensor.cast %d : tensor<2x4xi64> to tensor<?x4xi64>
  %t = llm.sample %z, %sampling, %draws : (tensor<?x5xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?xi32>
  return %t : tensor<?xi32>
}

// NaN, +infinity and no finite logit at all; -infinity alone only takes a token out.
// CHECK-LABEL: @gives_no_token_for_bad_rows
func.func @gives_no_token_for_bad_rows(%z: tensor<?x2xf32> {llm.value = dense<[[0x7FF8000000000000, 1.0], [1.0, 0x7FF0000000000000],
      [0xFFF0000000000000, 0xFFF0000000000000], [0xFFF0000000000000, -3.0]]> : tensor<4x2xf64>}) -> tensor<?xi32>
    attributes {llm.expect = [dense<[-1, -1, -1, 1]> : tensor<4xi32>]} {
  %s = arith.constant dense<[[0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]> : tensor<4x4xf32>
  %d = arith.constant dense<0> : tensor<4x4xi64>
  %sampling = tensor.cast %s : tensor<4x4xf32> to tensor<?x4xf32>
  %draws = tensor.cast %d : tensor<4x4xi64> to tensor<?x4xi64>
  %t = llm.sample %z, %sampling, %draws : (tensor<?x2xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?xi32>
  return %t : tensor<?xi32>
}

// Probabilities 0.032, 0.087, 0.237, 0.644. top_k 2 leaves the last two, of whose mass 0.644 is 0.731: enough for top_p 0.7, not for
// 0.74. The draw of seed 4, 0.1324, would take the lower of two. Of the whole mass 0.644 is not enough for 0.7.
// CHECK-LABEL: @takes_top_p_of_what_top_k_leaves
func.func @takes_top_p_of_what_top_k_leaves(%z: tensor<?x4xf32> {llm.value = dense<[[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0]]> : tensor<3x4xf64>})
    -> tensor<?xi32> attributes {llm.expect = [dense<[3, 2, 2]> : tensor<3xi32>]} {
  %s = arith.constant dense<[[1.0, 0.7, 0.0, 0.0], [1.0, 0.74, 0.0, 0.0], [1.0, 0.7, 0.0, 0.0]]> : tensor<3x4xf32>
  %d = arith.constant dense<[[4, 2, 0, 0], [4, 2, 0, 0], [4, 0, 0, 0]]> : tensor<3x4xi64>
  %sampling = tensor.cast %s : tensor<3x4xf32> to tensor<?x4xf32>
  %draws = tensor.cast %d : tensor<3x4xi64> to tensor<?x4xi64>
  %t = llm.sample %z, %sampling, %draws : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?xi32>
  return %t : tensor<?xi32>
}
