// The delta rule in chunks against the recurrence over 4,096 tokens: with one gate in twenty at -1000, which underflows to no memory at all, with
// gates near 0, where everything is remembered, and with beta up to 2.
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-5 --tokens=4096 --function=extreme_gates
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-5 --tokens=1024 --sequences=3 --rows-alone

func.func @extreme_gates(%q0: tensor<?x32xf32>, %k0: tensor<?x32xf32>, %v: tensor<?x24xf32>, %u: tensor<?x32xf32> {llm.range = [0.0, 1.0]},
    %beta: tensor<?x1xf32> {llm.range = [0.0, 1.0]}, %state: tensor<?x1x32x24xf32>, %s: !llm.sequences) -> (tensor<?x24xf32>, tensor<?x1x32x24xf32>) {
  %q = llm.l2_norm %q0 {heads = 1 : i64, eps = 1.0e-6 : f64} : (tensor<?x32xf32>) -> tensor<?x32xf32>
  %k = llm.l2_norm %k0 {heads = 1 : i64, eps = 1.0e-6 : f64} : (tensor<?x32xf32>) -> tensor<?x32xf32>
  %g = llm.map %u : (tensor<?x32xf32>) -> tensor<?x32xf32> {
  ^bb0(%a: f32):
    %bound = arith.constant 0.05 : f32
    %strong = arith.constant -1000.0 : f32
    %rare = arith.cmpf olt, %a, %bound : f32
    %weak = arith.negf %a : f32
    %y = arith.select %rare, %strong, %weak : f32
    llm.yield %y : f32
  }
  %o, %new = llm.delta_rule %q, %k, %v, %g, %beta, %state, %s : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x24xf32>, tensor<?x32xf32>, tensor<?x1xf32>, tensor<?x1x32x24xf32>, !llm.sequences) -> (tensor<?x24xf32>, tensor<?x1x32x24xf32>)
  return %o, %new : tensor<?x24xf32>, tensor<?x1x32x24xf32>
}
func.func @weak_gates(%q0: tensor<?x32xf32>, %k0: tensor<?x32xf32>, %v: tensor<?x24xf32>, %g: tensor<?x32xf32> {llm.range = [-1.0e-3, 0.0]},
    %beta: tensor<?x1xf32> {llm.range = [0.0, 2.0]}, %state: tensor<?x1x32x24xf32>, %s: !llm.sequences) -> (tensor<?x24xf32>, tensor<?x1x32x24xf32>) {
  %q = llm.l2_norm %q0 {heads = 1 : i64, eps = 1.0e-6 : f64} : (tensor<?x32xf32>) -> tensor<?x32xf32>
  %k = llm.l2_norm %k0 {heads = 1 : i64, eps = 1.0e-6 : f64} : (tensor<?x32xf32>) -> tensor<?x32xf32>
  %o, %new = llm.delta_rule %q, %k, %v, %g, %beta, %state, %s : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x24xf32>, tensor<?x32xf32>, tensor<?x1xf32>, tensor<?x1x32x24xf32>, !llm.sequences) -> (tensor<?x24xf32>, tensor<?x1x32x24xf32>)
  return %o, %new : tensor<?x24xf32>, tensor<?x1x32x24xf32>
}
