func.func @follows_the_worked_example(
%q: tensor<?x2xf32>,
%k: tensor<?x2xf32>,
%v: tensor<?x2xf32>,
%f: tensor<?x2xf32>,
%b: tensor<?x1xf32>,
%a_log: tensor<1x1x1x1xf32>,
%dt: tensor<2xf32>,
%state: tensor<?x1x2x2xf32>, %s: !llm.sequences {llm.rows = #rows})
-> (tensor<?x2xf32>, tensor<?x1xf32>, tensor<?x2xf32>, tensor<?x1x2x2xf32>) {
%qn = llm.l2_norm %q {heads = 1 : i64, eps = 1.0e-6, scale = 0.70710678118654757} : (tensor<?x2xf32>) -> tensor<?x2xf32>
%kn = llm.l2_norm %k {heads = 1 : i64, eps = 1.0e-6} : (tensor<?x2xf32>) -> tensor<?x2xf32>
%g = llm.decay_gate %f, %a_log, %dt : (tensor<?x2xf32>, tensor<1x1x1x1xf32>, tensor<2xf32>) -> tensor<?x2xf32>
%beta = llm.map %b : (tensor<?x1xf32>) -> tensor<?x1xf32> {
^bb0(%x: f32):
%one = arith.constant 1.0 : f32
%n = arith.negf %x : f32
%e = math.exp %n : f32
%d = arith.addf %e, %one : f32
%y = arith.divf %one, %d : f32
llm.yield %y : f32
}
%o, %new = llm.delta_rule %qn, %kn, %v, %g, %beta, %state, %s : (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x1xf32>, tensor<?x1x2x2xf32>, !llm.sequences) -> (tensor<?x2xf32>, tensor<?x1x2x2xf32>)
return %g, %beta, %o, %new : tensor<?x2xf32>, tensor<?x1xf32>, tensor<?x2xf32>, tensor<?x1x2x2xf32>
}
