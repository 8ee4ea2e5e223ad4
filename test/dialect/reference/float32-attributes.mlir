// Attributes are doubles unless they are to be what kernels hold.
// RUN: llmc-reference %s --function=scaled --print | FileCheck %s --check-prefix=DOUBLE
// RUN: llmc-reference %s --function=scaled --print --float32-attributes | FileCheck %s --check-prefix=FLOAT
// RUN: llmc-reference %s --function=scaled --trace | FileCheck %s --check-prefix=TRACE

// DOUBLE: 0.1, 0
// FLOAT: 0.100000001, 0
// TRACE: llm.l2_norm#0 f32[1, 2] norm 0.1
func.func @scaled(%x: tensor<?x2xf32> {llm.value = dense<[[1.0, 0.0]]> : tensor<1x2xf64>}) -> tensor<?x2xf32> {
  %y = llm.l2_norm %x {heads = 1 : i64, eps = 0.0 : f64, scale = 0.1 : f64} : (tensor<?x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
