func.func @normalises_each_head(%x: tensor<?x4xf32>)
-> tensor<?x4xf32> {
%y = llm.l2_norm %x {heads = 2 : i64, eps = 1.0e-06 : f64, scale = 0.5 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
return %y : tensor<?x4xf32>
}
