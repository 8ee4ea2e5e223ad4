// llm.logit_statistics: largest q, entropy, unbiased variance, five largest of q = softmax(logits / (temperature + 1e-8)).
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect --tolerance=1e-11

// Temperatures 1 and 1/2; 0, where one token has everything and the entropy is -ln(1 + 1e-8); equal logits; tokens taken out.
// CHECK-LABEL: @describes_rows
// CHECK: llm.logit_statistics %{{.*}}, %{{.*}} : (tensor<?x7xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
func.func @describes_rows(%z: tensor<?x7xf32> {llm.value = dense<[
      [0.0, 1.0, 2.0, 3.0, -1.0, 2.5, 0.5], [0.0, 1.0, 2.0, 3.0, -1.0, 2.5, 0.5], [0.0, 1.0, 2.0, 3.0, -1.0, 2.5, 0.5],
      [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [0xFFF0000000000000, 0.0, 1.0, 0xFFF0000000000000, 2.0, 3.0, -4.0]]> : tensor<5x7xf64>},
    %t: tensor<?x1xf32> {llm.value = dense<[[1.0], [0.5], [0.0], [1.3], [2.0]]> : tensor<5x1xf64>}) -> tensor<?x4xf32>
    attributes {llm.expect = [dense<[
      [0.442490973898, 1.421393614944, 0.026154359334, 0.969865165756], [0.653132651989, 0.924353397065, 0.058239169534, 0.998161944192],
      [1.0, -1.0e-08, 0.142857142857, 1.0], [0.142857142857, 1.945910079055, 0.0, 0.714285714286],
      [0.448885891027, 1.299937031875, 0.028375699934, 1.0]]> : tensor<5x4xf64>]} {
  %s = llm.logit_statistics %z, %t : (tensor<?x7xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %s : tensor<?x4xf32>
}

// Fewer tokens than five: q = 1/2, 3/10, 3/20, 1/20, whose squares sum to 0.365.
// CHECK-LABEL: @has_fewer_tokens_than_five
func.func @has_fewer_tokens_than_five(%z: tensor<?x4xf32> {llm.value = dense<[[-0.693147180559945, -1.203972804325936, -1.897119984885881,
      -2.995732273553991]]> : tensor<1x4xf64>}, %t: tensor<?x1xf32> {llm.value = dense<[[1.0]]> : tensor<1x1xf64>}) -> tensor<?x4xf32>
    attributes {llm.expect = [dense<[[0.499999997755, 1.142120006581, 0.038333332766, 1.0]]> : tensor<1x4xf64>]} {
  %s = llm.logit_statistics %z, %t : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %s : tensor<?x4xf32>
}
