// Statistics of logits, equal to the evaluator's: vocabularies about the block of 1,024 logits, flat and sharp rows, temperatures to 0.
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
