// Grouping of tokens by expert, expert linears and their weighted sums. With one token most experts get no rows.
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=1,3,65,700 --sequences=3 --rows-alone --function=moe_layer
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=1,3,65 --function=grouping
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --function=experts_without_rows

func.func @grouping(%ids: tensor<?x3xi32> {llm.limit = 9}) -> (tensor<?xi32>, tensor<?x3xi32>, tensor<9x3xi32>) {
  %o, %p, %g = llm.dispatch_experts %ids : (tensor<?x3xi32>) -> (tensor<?xi32>, tensor<?x3xi32>, tensor<9x3xi32>)
  return %o, %p, %g : tensor<?xi32>, tensor<?x3xi32>, tensor<9x3xi32>
}
// All rows go to two of eight experts, the first and the last have none.
func.func @experts_without_rows(%ids: tensor<?x2xi32> {llm.value = dense<[[5, 2], [2, 5], [5, 2], [5, 2], [2, 5], [5, 2], [5, 2], [5, 2], [2, 5], [5, 2], [5, 2]]> : tensor<11x2xi32>},
    %x: tensor<?x24xf32> {llm.dims = ["T"]}, %s: !llm.sequences {llm.rows = dense<[[0, 0, 11, 0]]> : tensor<1x4xi32>}) -> (tensor<?x33xf32>, tensor<8x3xi32>) {
  %w = llm.weight "experts.{}.w" stack 8 : tensor<8x33x24xbf16>
  %o, %p, %g = llm.dispatch_experts %ids : (tensor<?x2xi32>) -> (tensor<?xi32>, tensor<?x2xi32>, tensor<8x3xi32>)
  %y = llm.expert_linear %x, %o, %g, %w {gather = 2 : i64, top_k = 2 : i64} : (tensor<?x24xf32>, tensor<?xi32>, tensor<8x3xi32>, tensor<8x33x24xbf16>) -> tensor<?x33xf32>
  return %y, %g : tensor<?x33xf32>, tensor<8x3xi32>
}
// Norm, router, gate and up of the experts, silu(gate) * up, down, combination with the residual; 12 experts, 3 for each token.
func.func @moe_layer(%x: tensor<?x40xf32>) -> tensor<?x40xf32> {
  %n = llm.weight "norm" : tensor<40xbf16>
  %wr = llm.weight "router" : tensor<12x40xbf16>
  %bias = llm.weight "bias" : tensor<12xf32>
  %wg = llm.weight "experts.{}.gate" stack 12 : tensor<12x33x40xbf16>
  %wu = llm.weight "experts.{}.up" stack 12 : tensor<12x33x40xbf16>
  %wd = llm.weight "experts.{}.down" stack 12 : tensor<12x40x33xf16>
  %h = llm.rms_norm %x, %n {eps = 1.0e-6 : f64} : (tensor<?x40xf32>, tensor<40xbf16>) -> tensor<?x40xf32>
  %z = llm.linear %h, %wr : (tensor<?x40xf32>, tensor<12x40xbf16>) -> tensor<?x12xf32>
  %ids, %p = llm.route %z bias %bias {scoring = "sigmoid", top_k = 3 : i64, renormalize = true, scale = 2.0 : f64} : (tensor<?x12xf32>, tensor<12xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
  %order, %place, %groups = llm.dispatch_experts %ids : (tensor<?x3xi32>) -> (tensor<?xi32>, tensor<?x3xi32>, tensor<12x3xi32>)
  %g = llm.expert_linear %h, %order, %groups, %wg {gather = 3 : i64, top_k = 3 : i64} : (tensor<?x40xf32>, tensor<?xi32>, tensor<12x3xi32>, tensor<12x33x40xbf16>) -> tensor<?x33xf32>
  %u = llm.expert_linear %h, %order, %groups, %wu {gather = 3 : i64, top_k = 3 : i64} : (tensor<?x40xf32>, tensor<?xi32>, tensor<12x3xi32>, tensor<12x33x40xbf16>) -> tensor<?x33xf32>
  %a = llm.map %g, %u : (tensor<?x33xf32>, tensor<?x33xf32>) -> tensor<?x33xf32> {
  ^bb0(%v: f32, %q: f32):
    %one = arith.constant 1.0 : f32
    %m = arith.negf %v : f32
    %e = math.exp %m : f32
    %d = arith.addf %one, %e : f32
    %s = arith.divf %v, %d : f32
    %o = arith.mulf %s, %q : f32
    llm.yield %o : f32
  }
  %y = llm.expert_linear %a, %order, %groups, %wd {gather = 0 : i64, top_k = 3 : i64} : (tensor<?x33xf32>, tensor<?xi32>, tensor<12x3xi32>, tensor<12x40x33xf16>) -> tensor<?x40xf32>
  %c = llm.combine_experts %y, %place, %p : (tensor<?x40xf32>, tensor<?x3xi32>, tensor<?x3xf32>) -> tensor<?x40xf32>
  %r = llm.map %c, %x : (tensor<?x40xf32>, tensor<?x40xf32>) -> tensor<?x40xf32> {
  ^bb0(%v: f32, %q: f32):
    %s = arith.addf %v, %q : f32
    llm.yield %s : f32
  }
  return %r : tensor<?x40xf32>
}
