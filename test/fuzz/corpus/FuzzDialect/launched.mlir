func.func @launched(%x: tensor<?x4xf32>, %state: tensor<?x4xf32>, %s: !llm.sequences) -> (tensor<?x8xf32>, tensor<?x4xf32>) {
%y, %new = llm.launch @sums(%x, %state, %s) {tied = array<i64: -1, 1>} : (tensor<?x4xf32>, tensor<?x4xf32>, !llm.sequences) -> (tensor<?x8xf32>, tensor<?x4xf32>)
return %y, %new : tensor<?x8xf32>, tensor<?x4xf32>
}
