// Statistics of logits, equal to the evaluator's: vocabularies about the parts and the block of 1,024 logits, flat and sharp rows, temperatures to 0; of
// logits that are there and of those that a linear makes beside them.
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=1,50 --sequences=50 --rows-alone

func.func @two_tokens(%z: tensor<?x2xf32>, %t: tensor<?x1xf32> {llm.range = [0.1, 2.0]}) -> tensor<?x4xf32> {
  %s = llm.logit_statistics %z, %t : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %s : tensor<?x4xf32>
}
func.func @tokens_257(%z: tensor<?x257xf32> {llm.range = [-9.0, 9.0]}, %t: tensor<?x1xf32> {llm.range = [0.0, 2.0]}) -> tensor<?x4xf32> {
  %s = llm.logit_statistics %z, %t : (tensor<?x257xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %s : tensor<?x4xf32>
}
func.func @tokens_1024(%z: tensor<?x1024xf32> {llm.range = [-12.0, 0.0]}, %t: tensor<?x1xf32> {llm.range = [0.0, 2.0]}) -> tensor<?x4xf32> {
  %s = llm.logit_statistics %z, %t : (tensor<?x1024xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %s : tensor<?x4xf32>
}
// The entropy's 1e-8 shows in its fourth digit where probabilities are so small.
func.func @tokens_30011(%z: tensor<?x30011xf32> {llm.range = [-40.0, 0.0]}, %t: tensor<?x1xf32> {llm.range = [0.9, 1.1]}) -> tensor<?x4xf32> {
  %s = llm.logit_statistics %z, %t : (tensor<?x30011xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %s : tensor<?x4xf32>
}
// Few different values, so that there are equals among the largest; every other token taken out.
func.func @steps_and_holes(%t: tensor<?x1xf32> {llm.range = [0.5, 2.0]}) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %one = llm.map %t : (tensor<?x1xf32>) -> tensor<?x1xf32> {
  ^bb0(%a: f32):
    %c = arith.constant 1.0 : f32
    llm.yield %c : f32
  }
  %w = llm.weight "logits" : tensor<2500x1xf32>
  %z = llm.linear %one, %w : (tensor<?x1xf32>, tensor<2500x1xf32>) -> tensor<?x2500xf32>
  %steps = llm.map %z : (tensor<?x2500xf32>) -> tensor<?x2500xf32> {
  ^bb0(%a: f32):
    %three = arith.constant 3.0 : f32
    %b = arith.mulf %a, %three : f32
    %r = math.roundeven %b : f32
    llm.yield %r : f32
  }
  %holes = llm.map %z : (tensor<?x2500xf32>) -> tensor<?x2500xf32> {
  ^bb0(%a: f32):
    %bound = arith.constant 0.0 : f32
    %none = arith.constant 0xFF800000 : f32
    %out = arith.cmpf olt, %a, %bound : f32
    %r = arith.select %out, %none, %a : f32
    llm.yield %r : f32
  }
  %s = llm.logit_statistics %steps, %t : (tensor<?x2500xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %u = llm.logit_statistics %holes, %t : (tensor<?x2500xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %s, %u : tensor<?x4xf32>, tensor<?x4xf32>
}
// A row that begins with more than a block of -infinity.
func.func @begins_late(%x: tensor<?x1100xf32> {llm.range = [-3.0, 3.0]}, %t: tensor<?x1xf32> {llm.range = [0.5, 2.0]}) -> tensor<?x4xf32> {
  %none = llm.map %x : (tensor<?x1100xf32>) -> tensor<?x1100xf32> {
  ^bb0(%a: f32):
    %c = arith.constant 0xFF800000 : f32
    llm.yield %c : f32
  }
  %z = llm.concat %none, %x, %none : (tensor<?x1100xf32>, tensor<?x1100xf32>, tensor<?x1100xf32>) -> tensor<?x3300xf32>
  %s = llm.logit_statistics %z, %t : (tensor<?x3300xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %s : tensor<?x4xf32>
}
// Logits and statistics in one go, read again by another.
func.func @with_the_linear(%x: tensor<?x33xf32>, %g: tensor<33xf32>, %w: tensor<1237x33xbf16> {llm.range = [-1.0, 1.0]}, %t: tensor<?x1xf32> {llm.range = [0.1, 2.0]},
    %s: tensor<?x4xf32> {llm.dims = ["T"]}, %d: tensor<?x4xi64> {llm.dims = ["T"]}) -> (tensor<?x1237xf32>, tensor<?x4xf32>, tensor<?x1xi32>) {
  %y = llm.rms_norm %x, %g {eps = 1.0e-06 : f64} : (tensor<?x33xf32>, tensor<33xf32>) -> tensor<?x33xf32>
  %z = llm.linear %y, %w : (tensor<?x33xf32>, tensor<1237x33xbf16>) -> tensor<?x1237xf32>
  %u = llm.map %t : (tensor<?x1xf32>) -> tensor<?x1xf32> {
  ^bb0(%a: f32):
    %b = arith.addf %a, %a : f32
    llm.yield %b : f32
  }
  %q = llm.logit_statistics %z, %u : (tensor<?x1237xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %n = llm.sample %z, %s, %d : (tensor<?x1237xf32>, tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?x1xi32>
  return %z, %q, %n : tensor<?x1237xf32>, tensor<?x4xf32>, tensor<?x1xi32>
}
func.func @with_a_small_linear(%x: tensor<?x16xf32>, %w: tensor<3x16xf32>, %t: tensor<?x1xf32> {llm.range = [0.1, 2.0]}) -> (tensor<?x3xf32>, tensor<?x4xf32>) {
  %z = llm.linear %x, %w : (tensor<?x16xf32>, tensor<3x16xf32>) -> tensor<?x3xf32>
  %q = llm.logit_statistics %z, %t : (tensor<?x3xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %z, %q : tensor<?x3xf32>, tensor<?x4xf32>
}
func.func @all_equal(%t: tensor<?x1xf32> {llm.range = [0.0, 2.0]}) -> tensor<?x4xf32> {
  %z = llm.map %t : (tensor<?x1xf32>) -> tensor<?x1xf32> {
  ^bb0(%a: f32):
    %c = arith.constant 2.0 : f32
    llm.yield %c : f32
  }
  %w = llm.weight "ones" : tensor<900x1xf32>
  %l = llm.linear %z, %w : (tensor<?x1xf32>, tensor<900x1xf32>) -> tensor<?x900xf32>
  %e = llm.map %l : (tensor<?x900xf32>) -> tensor<?x900xf32> {
  ^bb0(%a: f32):
    %c = arith.constant 0.25 : f32
    llm.yield %c : f32
  }
  %q = llm.logit_statistics %e, %t : (tensor<?x900xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %q : tensor<?x4xf32>
}
