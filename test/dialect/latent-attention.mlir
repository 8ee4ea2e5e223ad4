// llm.latent_attention: both forms give the same, and that is attention over expanded keys and values.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --expect
// RUN: llmc-reference %s --function=absorbed --compare-function=expanded --tokens=9 --sequences=2 --past=5,0 --tolerance=1e-13

// CHECK-LABEL: @absorbed
// CHECK: llm.latent_attention %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} {heads = 3 : i64, nope = 4 : i64, rope = 2 : i64, scale
func.func @absorbed(%q: tensor<?x18xf32>, %cache: tensor<?x?x7xf32> {llm.dims = ["SLOTS", "CTX"], llm.range = [-2.0, 2.0]}, %s: !llm.sequences) -> tensor<?x9xf32> {
  %up = llm.weight "up" : tensor<21x5xbf16>
  %o = llm.latent_attention %q, %cache, %up, %s {heads = 3 : i64, nope = 4 : i64, rope = 2 : i64, scale = 0.4 : f64} : (tensor<?x18xf32>, tensor<?x?x7xf32>, tensor<21x5xbf16>, !llm.sequences) -> tensor<?x9xf32>
  return %o : tensor<?x9xf32>
}

// CHECK-LABEL: @expanded
// CHECK: form = "expanded"
func.func @expanded(%q: tensor<?x18xf32>, %cache: tensor<?x?x7xf32>, %s: !llm.sequences) -> tensor<?x9xf32> {
  %up = llm.weight "up" : tensor<21x5xbf16>
  %o = llm.latent_attention %q, %cache, %up, %s {heads = 3 : i64, nope = 4 : i64, rope = 2 : i64, scale = 0.4 : f64, form = "expanded"} : (tensor<?x18xf32>, tensor<?x?x7xf32>, tensor<21x5xbf16>, !llm.sequences) -> tensor<?x9xf32>
  return %o : tensor<?x9xf32>
}

// One head, nope 1, rope 1, latent 2, v 1: keys are (1 c0 + 2 c1, k_r), values c0 - c1. Scores of the last row: 0.5 (2 * (3, 5) + (-1) * (1, 0))
// = (2.5, 5); weights 1 / (1 + e^2.5) and its rest; values -1, 1.
// CHECK-LABEL: @attends_to_expanded_keys_and_values
func.func @attends_to_expanded_keys_and_values(%q: tensor<?x2xf32> {llm.value = dense<[[2.0, -1.0]]> : tensor<1x2xf64>},
    %cache: tensor<?x?x3xf32> {llm.value = dense<[[[0.333333333333333315, 1.333333333333333259, 1.0], [2.333333333333333481, 1.333333333333333259, 0.0]]]> : tensor<1x2x3xf64>},
    %up: tensor<2x2xf32> {llm.value = dense<[[1.0, 2.0], [1.0, -1.0]]> : tensor<2x2xf64>},
    %s: !llm.sequences {llm.rows = dense<[[0, 0, 1, 1]]> : tensor<1x4xi32>}) -> tensor<?x1xf32> attributes {llm.expect = [dense<[[0.8482836400]]> : tensor<1x1xf64>]} {
  %o = llm.latent_attention %q, %cache, %up, %s {heads = 1 : i64, nope = 1 : i64, rope = 1 : i64, scale = 0.5 : f64} : (tensor<?x2xf32>, tensor<?x?x3xf32>, tensor<2x2xf32>, !llm.sequences) -> tensor<?x1xf32>
  return %o : tensor<?x1xf32>
}
