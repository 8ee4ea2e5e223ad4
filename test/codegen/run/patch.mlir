// Kernels of patches at awkward sizes, equal to the evaluator's: layer norms before products, a part of a weight's columns, and the largest
// column of a product that is made panel by panel and never written.
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=1,7,8,29 --rows-alone

func.func @norm_then_linear(%x: tensor<?x37xf32>, %n: tensor<37xf32>, %c: tensor<37xf32>, %w: tensor<45x37xbf16>) -> tensor<?x45xf32> {
  %y = llm.layer_norm %x, %n, %c {eps = 1.0e-06 : f64} : (tensor<?x37xf32>, tensor<37xf32>, tensor<37xf32>) -> tensor<?x37xf32>
  %z = llm.linear %y, %w : (tensor<?x37xf32>, tensor<45x37xbf16>) -> tensor<?x45xf32>
  return %z : tensor<?x45xf32>
}
func.func @norm_alone(%x: tensor<?x129xf32>, %n: tensor<129xbf16>, %c: tensor<129xbf16>) -> tensor<?x129xf32> {
  %y = llm.layer_norm %x, %n, %c {eps = 1.0e-06 : f64} : (tensor<?x129xf32>, tensor<129xbf16>, tensor<129xbf16>) -> tensor<?x129xf32>
  return %y : tensor<?x129xf32>
}
// Both halves of one weight, one of them with an epilogue that adds the other.
func.func @halves(%x: tensor<?x19xf32>, %y: tensor<?x19xf32>, %w: tensor<70x38xf32>) -> tensor<?x70xf32> {
  %a = llm.linear %y, %w {column = 19 : i64} : (tensor<?x19xf32>, tensor<70x38xf32>) -> tensor<?x70xf32>
  %b = llm.linear %x, %w : (tensor<?x19xf32>, tensor<70x38xf32>) -> tensor<?x70xf32>
  %c = llm.map %b, %a : (tensor<?x70xf32>, tensor<?x70xf32>) -> tensor<?x70xf32> {
  ^bb0(%u: f32, %v: f32):
    %s = arith.addf %u, %v : f32
    llm.yield %s : f32
  }
  return %c : tensor<?x70xf32>
}
func.func @largest_of_few(%x: tensor<?x16xf32>, %w: tensor<5x16xf32>) -> tensor<?xi32> {
  %z = llm.linear %x, %w : (tensor<?x16xf32>, tensor<5x16xf32>) -> tensor<?x5xf32>
  %t = llm.argmax %z : (tensor<?x5xf32>) -> tensor<?xi32>
  return %t : tensor<?xi32>
}
func.func @largest_of_many(%x: tensor<?x33xf32>, %g: tensor<33xf32>, %w: tensor<1237x33xbf16>) -> tensor<?xi32> {
  %y = llm.rms_norm %x, %g {eps = 1.0e-06 : f64} : (tensor<?x33xf32>, tensor<33xf32>) -> tensor<?x33xf32>
  %z = llm.linear %y, %w : (tensor<?x33xf32>, tensor<1237x33xbf16>) -> tensor<?x1237xf32>
  %t = llm.argmax %z : (tensor<?x1237xf32>) -> tensor<?xi32>
  return %t : tensor<?xi32>
}
func.func @largest_of_whole_panels(%x: tensor<?x16xf32>, %w: tensor<512x16xf32>) -> tensor<?xi32> {
  %z = llm.linear %x, %w : (tensor<?x16xf32>, tensor<512x16xf32>) -> tensor<?x512xf32>
  %t = llm.argmax %z : (tensor<?x512xf32>) -> tensor<?xi32>
  return %t : tensor<?xi32>
}
// Equal numbers in different lanes, panels and segments.
func.func @lowest_of_equals(%x: tensor<?x600xf32> {llm.range = [-1.5, 1.5]}) -> tensor<?xi32> {
  %z = llm.map %x : (tensor<?x600xf32>) -> tensor<?x600xf32> {
  ^bb0(%a: f32):
    %r = math.roundeven %a : f32
    llm.yield %r : f32
  }
  %t = llm.argmax %z : (tensor<?x600xf32>) -> tensor<?xi32>
  return %t : tensor<?xi32>
}
