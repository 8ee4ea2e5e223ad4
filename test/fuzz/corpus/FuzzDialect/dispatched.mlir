func.func @dispatched(%x: tensor<?x4xf32> {llm.dims = ["T"]}, %state: tensor<?x4xf32> {llm.dims = ["SLOTS"]}, %s: !llm.sequences) -> (tensor<?x8xf32>, tensor<?x4xf32>) {
%y, %new = llm.dispatch(%x, %state) {tied = array<i64: -1, 1>} : (tensor<?x4xf32>, tensor<?x4xf32>) -> (tensor<?x8xf32>, tensor<?x4xf32>) {
^bb0(%a: tensor<?x4xf32>, %b: tensor<?x4xf32>):
%w = arith.constant dense<2.0> : tensor<8x4xf32>
%c = llm.linear %a, %w : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
%d = llm.map %b : (tensor<?x4xf32>) -> tensor<?x4xf32> {
^bb0(%v: f32):
%two = arith.constant 2.0 : f32
%r = arith.mulf %v, %two : f32
llm.yield %r : f32
}
llm.yield %c, %d : tensor<?x8xf32>, tensor<?x4xf32>
}
return %y, %new : tensor<?x8xf32>, tensor<?x4xf32>
}
