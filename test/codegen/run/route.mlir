// Routing: both scorings, bias, groups, scale, ties, one expert; logits as an argument and from a linear.
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=1,65 --sequences=3 --rows-alone

func.func @softmax(%z: tensor<?x33xf32> {llm.range = [-4.0, 4.0]}) -> (tensor<?x5xi32>, tensor<?x5xf32>) {
  %i, %w = llm.route %z {scoring = "softmax", top_k = 5 : i64, renormalize = false, scale = 1.0 : f64} : (tensor<?x33xf32>) -> (tensor<?x5xi32>, tensor<?x5xf32>)
  return %i, %w : tensor<?x5xi32>, tensor<?x5xf32>
}
func.func @softmax_renormalized(%z: tensor<?x100xf32> {llm.range = [-30.0, 30.0]}) -> (tensor<?x8xi32>, tensor<?x8xf32>) {
  %i, %w = llm.route %z {scoring = "softmax", top_k = 8 : i64, renormalize = true, scale = 2.5 : f64} : (tensor<?x100xf32>) -> (tensor<?x8xi32>, tensor<?x8xf32>)
  return %i, %w : tensor<?x8xi32>, tensor<?x8xf32>
}
func.func @sigmoid_with_bias(%z: tensor<?x24xf32>) -> (tensor<?x6xi32>, tensor<?x6xf32>) {
  %b = llm.weight "bias" : tensor<24xf32>
  %i, %w = llm.route %z bias %b {scoring = "sigmoid", top_k = 6 : i64, renormalize = true, scale = 2.446 : f64} : (tensor<?x24xf32>, tensor<24xf32>) -> (tensor<?x6xi32>, tensor<?x6xf32>)
  return %i, %w : tensor<?x6xi32>, tensor<?x6xf32>
}
func.func @best_groups(%z: tensor<?x40xf32>) -> (tensor<?x4xi32>, tensor<?x4xf32>) {
  %b = llm.weight "bias" : tensor<40xf32>
  %i, %w = llm.route %z bias %b {scoring = "sigmoid", top_k = 4 : i64, renormalize = false, scale = 1.0 : f64, groups = 8 : i64, top_groups = 3 : i64} : (tensor<?x40xf32>, tensor<40xf32>) -> (tensor<?x4xi32>, tensor<?x4xf32>)
  return %i, %w : tensor<?x4xi32>, tensor<?x4xf32>
}
func.func @groups_of_one(%z: tensor<?x7xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %i, %w = llm.route %z {scoring = "softmax", top_k = 2 : i64, renormalize = true, scale = 1.0 : f64, groups = 7 : i64, top_groups = 2 : i64} : (tensor<?x7xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return %i, %w : tensor<?x2xi32>, tensor<?x2xf32>
}
func.func @one_expert(%z: tensor<?x1xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>) {
  %i, %w = llm.route %z {scoring = "sigmoid", top_k = 1 : i64, renormalize = true, scale = 1.0 : f64} : (tensor<?x1xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>)
  return %i, %w : tensor<?x1xi32>, tensor<?x1xf32>
}
// Logits of few different values: most choices are between equals, of experts and of groups.
func.func @ties(%x: tensor<?x24xf32> {llm.range = [-1.5, 1.5]}) -> (tensor<?x6xi32>, tensor<?x6xf32>, tensor<?x5xi32>, tensor<?x5xf32>) {
  %z = llm.map %x : (tensor<?x24xf32>) -> tensor<?x24xf32> {
  ^bb0(%a: f32):
    %r = math.roundeven %a : f32
    llm.yield %r : f32
  }
  %i, %w = llm.route %z {scoring = "sigmoid", top_k = 6 : i64, renormalize = true, scale = 1.0 : f64} : (tensor<?x24xf32>) -> (tensor<?x6xi32>, tensor<?x6xf32>)
  %j, %v = llm.route %z {scoring = "softmax", top_k = 5 : i64, renormalize = true, scale = 1.0 : f64, groups = 6 : i64, top_groups = 3 : i64} : (tensor<?x24xf32>) -> (tensor<?x5xi32>, tensor<?x5xf32>)
  return %i, %w, %j, %v : tensor<?x6xi32>, tensor<?x6xf32>, tensor<?x5xi32>, tensor<?x5xf32>
}
