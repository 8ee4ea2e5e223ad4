// Tokens from logits, equal to the evaluator's: vocabularies about the block of 1,024 logits, every filter, ties, rows without a token.
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tokens=1,50 --sequences=50 --rows-alone

func.func @one_token(%z: tensor<?x1xf32> {llm.dims = ["S"]}, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>) -> tensor<?x1xi32> {
  %t = llm.sample %z, %s, %d : (tensor<?x1xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?x1xi32>
  return %t : tensor<?x1xi32>
}
func.func @tokens_33(%z: tensor<?x33xf32> {llm.dims = ["S"]}, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>) -> tensor<?x1xi32> {
  %t = llm.sample %z, %s, %d : (tensor<?x33xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?x1xi32>
  return %t : tensor<?x1xi32>
}
func.func @tokens_1024(%z: tensor<?x1024xf32> {llm.dims = ["S"], llm.range = [-12.0, 0.0]}, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>) -> tensor<?x1xi32> {
  %t = llm.sample %z, %s, %d : (tensor<?x1024xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?x1xi32>
  return %t : tensor<?x1xi32>
}
func.func @tokens_2500(%z: tensor<?x2500xf32> {llm.dims = ["S"], llm.range = [-12.0, 0.0]}, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>) -> tensor<?x1xi32> {
  %t = llm.sample %z, %s, %d : (tensor<?x2500xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?x1xi32>
  return %t : tensor<?x1xi32>
}
func.func @any_options(%z: tensor<?x100xf32> {llm.dims = ["S"], llm.range = [-6.0, 0.0]}, %s: tensor<?x4xf32> {llm.dims = ["S"], llm.range = [-0.1, 1.1]}, %d: tensor<?x4xi64>)
    -> tensor<?x1xi32> {
  %t = llm.sample %z, %s, %d : (tensor<?x100xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?x1xi32>
  return %t : tensor<?x1xi32>
}
// Parameters that are put together on the way.
func.func @draws_with_computed_parameters(%z: tensor<?x100xf32> {llm.dims = ["S"], llm.range = [-6.0, 0.0]}, %t: tensor<?x1xf32> {llm.dims = ["S"], llm.range = [-0.1, 2.0]},
    %p: tensor<?x1xf32> {llm.dims = ["S"], llm.range = [0.0, 1.0]}, %s: tensor<?x4xf32> {llm.dims = ["S"], llm.range = [0.0, 0.2]}, %d: tensor<?x4xi64>) -> tensor<?x1xi32> {
  %m = llm.slice %s at 2 : (tensor<?x4xf32>) -> tensor<?x2xf32>
  %c = llm.concat %t, %p, %m : (tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x2xf32>) -> tensor<?x4xf32>
  %n = llm.sample %z, %c, %d : (tensor<?x100xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?x1xi32>
  return %n : tensor<?x1xi32>
}
// Logits of few different values, some of them two blocks apart.
func.func @ties(%x: tensor<?x1100xf32> {llm.dims = ["S"], llm.range = [-2.5, 2.5]}, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>) -> tensor<?x1xi32> {
  %z = llm.map %x : (tensor<?x1100xf32>) -> tensor<?x1100xf32> {
  ^bb0(%a: f32):
    %r = math.roundeven %a : f32
    llm.yield %r : f32
  }
  %t = llm.sample %z, %s, %d : (tensor<?x1100xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?x1xi32>
  return %t : tensor<?x1xi32>
}
// NaN, +infinity and nothing but -infinity, each greedy and drawn; then one -infinity; NaN, negative and tiny temperatures; NaN for the other options.
func.func @bad_numbers(%z: tensor<?x3xf32> {llm.value = dense<[
      [0x7FF8000000000000, 1.0, 2.0], [1.0, 0x7FF0000000000000, 2.0], [0xFFF0000000000000, 0xFFF0000000000000, 0xFFF0000000000000],
      [1.0, 2.0, 0x7FF8000000000000], [1.0, 2.0, 0x7FF0000000000000], [0xFFF0000000000000, 0xFFF0000000000000, 0xFFF0000000000000],
      [0xFFF0000000000000, 1.0, 1.0], [0xFFF0000000000000, 0xFFF0000000000000, -3.0], [0.0, 1.0, 0.5], [0.0, 1.0, 0.5], [0.0, 1.0, 0.5], [0.0, 1.0, 0.5],
      [0.0, 1.0, 0.5], [1.0e30, -1.0e30, 3.0e38]]> : tensor<14x3xf64>},
    %s: tensor<?x4xf32> {llm.value = dense<[
      [0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [1.0, 0.5, 0.1, 0.0], [1.0, 0.5, 0.1, 0.0], [1.0, 0.5, 0.1, 0.0], [1.0, 0.9, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0],
      [0x7FF8000000000000, 1.0, 0.0, 0.0], [-1.0, 1.0, 0.0, 0.0], [1.0e-37, 1.0, 0.0, 0.0], [1.0, 0x7FF8000000000000, 0.0, 0.0], [1.0, 1.0, 0x7FF8000000000000, 0.0],
      [1.0, 1.0, 0.0, 0.0]]> : tensor<14x4xf64>},
    %d: tensor<?x4xi64> {llm.value = dense<[[9, 0, 1, 0], [9, 0, 2, 0], [9, 0, 3, 0], [9, 1, 4, 0], [9, 0, 5, 0], [9, 2, 6, 0], [9, 2, 7, 0], [9, 2, 8, 0], [9, 0, 9, 0], [9, 0, 10, 0],
      [9, -3, 11, 0], [9, 99, 12, 0], [9, 1, 13, 0], [9, 9223372036854775807, -1, 0]]> : tensor<14x4xi64>},
    %q: !llm.sequences {llm.rows = dense<[[0, 0, 1, 0], [1, 1, 1, 0], [2, 2, 1, 0], [3, 3, 1, 0], [4, 4, 1, 0], [5, 5, 1, 0], [6, 6, 1, 0], [7, 7, 1, 0], [8, 8, 1, 0], [9, 9, 1, 0],
      [10, 10, 1, 0], [11, 11, 1, 0], [12, 12, 1, 0], [13, 13, 1, 0]]> : tensor<14x4xi32>})
    -> tensor<?x1xi32> {
  %t = llm.sample %z, %s, %d : (tensor<?x3xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?x1xi32>
  return %t : tensor<?x1xi32>
}
