func.func @forgets_under_strong_decay(%s: !llm.sequences {llm.rows = dense<[[0, 0, 1, 5]]> : tensor<1x4xi32>},
%q: tensor<?x2xf32>, %k: tensor<?x2xf32>,
%v: tensor<?x2xf32>, %g: tensor<?x2xf32>,
%beta: tensor<?x1xf32>,
%state: tensor<?x1x2x2xf32>)
-> (tensor<?x2xf32>, tensor<?x1x2x2xf32>) {
%o, %new = llm.delta_rule %q, %k, %v, %g, %beta, %state, %s {form = "step", chunk = 32 : i64} : (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x1xf32>, tensor<?x1x2x2xf32>, !llm.sequences) -> (tensor<?x2xf32>, tensor<?x1x2x2xf32>)
return %o, %new : tensor<?x2xf32>, tensor<?x1x2x2xf32>
}
