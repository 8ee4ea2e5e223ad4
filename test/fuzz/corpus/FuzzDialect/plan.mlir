plan.buffer "input" @x : tensor<?x4xf32> dims ["T"]
plan.buffer "output" @y : tensor<?x4xf32> dims ["T"]
plan.buffer "weight" @w : tensor<1x2x4x32xbf16> holds ["a", "b"] layout {groups = 1 : i64, panel = 32 : i64}
plan.buffer "state" @s : tensor<?x?x4xf32> dims ["SLOTS", "CTX"]
plan.buffer "transient" @t : tensor<?x4xf32> dims ["8*T"] at 64
func.func private @k(%x: tensor<?x4xf32>, %y: tensor<?x4xf32>) attributes {llm.kernel} {
  return
}
plan.program @ingest inputs [@x] outputs [@y] arena 128 {
  plan.dispatch @k [@x, @t]
  plan.dispatch @k [@t, @y]
}
plan.program @does_nothing inputs [] outputs [] {
}
