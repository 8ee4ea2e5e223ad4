// Columns side by side: alone, in front of a linear and behind one.
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=1,65 --sequences=3 --rows-alone

func.func @alone(%x: tensor<?x33xf32>, %y: tensor<?x1xf32>) -> tensor<?x67xf32> {
  %z = llm.concat %x, %y, %x : (tensor<?x33xf32>, tensor<?x1xf32>, tensor<?x33xf32>) -> tensor<?x67xf32>
  return %z : tensor<?x67xf32>
}
// What is computed on the way: a norm, a slice.
func.func @in_front_of_a_linear(%x: tensor<?x36xf32>, %y: tensor<?x7xf32>) -> tensor<?x40xf32> {
  %n = llm.weight "norm" : tensor<36xbf16>
  %w = llm.weight "linear" : tensor<40x41xbf16>
  %a = llm.rms_norm %x, %n {eps = 1.0e-6 : f64} : (tensor<?x36xf32>, tensor<36xbf16>) -> tensor<?x36xf32>
  %b = llm.slice %y at 2 : (tensor<?x7xf32>) -> tensor<?x5xf32>
  %c = llm.concat %a, %b : (tensor<?x36xf32>, tensor<?x5xf32>) -> tensor<?x41xf32>
  %d = llm.linear %c, %w : (tensor<?x41xf32>, tensor<40x41xbf16>) -> tensor<?x40xf32>
  return %d : tensor<?x40xf32>
}
func.func @behind_a_linear(%x: tensor<?x36xf32>) -> tensor<?x78xf32> {
  %w = llm.weight "linear" : tensor<39x36xbf16>
  %a = llm.linear %x, %w : (tensor<?x36xf32>, tensor<39x36xbf16>) -> tensor<?x39xf32>
  %b = llm.concat %a, %a : (tensor<?x39xf32>, tensor<?x39xf32>) -> tensor<?x78xf32>
  return %b : tensor<?x78xf32>
}
