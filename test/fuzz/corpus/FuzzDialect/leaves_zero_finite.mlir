func.func @leaves_zero_finite(%x: tensor<?x2xf32>) -> tensor<?x2xf32>
{
%y = llm.l2_norm %x {heads = 1 : i64, eps = 1.0e-06 : f64} : (tensor<?x2xf32>) -> tensor<?x2xf32>
return %y : tensor<?x2xf32>
}
