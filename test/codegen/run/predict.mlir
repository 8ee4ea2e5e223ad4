// Tokens and confidences on a canvas, equal to the evaluator's, over logits that a linear makes part by part or that are there. Twenty sequences:
// every kind of confidence (the third setting) greedy, drawn from all ids, and from those that top_k and top_p keep. Vocabularies about parts and
// blocks, masks at their ends; equal logits in many parts; rows without a token.
// RUN: llmc-reference %s --compiled=x86-64-v3,x86-64-v4 --tolerance=1e-6 --tokens=20,61,300 --sequences=20 --rows-alone

#settings = dense<[[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<20x8xf64>

func.func @norm_and_linear(%x: tensor<?x33xf32>, %g: tensor<33xf32>, %w: tensor<1237x33xbf16>, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32> {llm.dims = ["S"], llm.value = #settings}, %p: tensor<?x4xi32>)
    -> (tensor<?xi32>, tensor<?x1xf32>) {
  %y = llm.rms_norm %x, %g {eps = 1.0e-06 : f64} : (tensor<?x33xf32>, tensor<33xf32>) -> tensor<?x33xf32>
  %z = llm.linear %y, %w : (tensor<?x33xf32>, tensor<1237x33xbf16>) -> tensor<?x1237xf32>
  %t, %c = llm.predict %z, %q, %s, %d, %e, %p {mask = 5 : i64} : (tensor<?x1237xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
  return %t, %c : tensor<?xi32>, tensor<?x1xf32>
}
func.func @tempered_linear(%x: tensor<?x40xf32> {llm.range = [-4.0, 4.0]}, %w: tensor<2100x40xbf16>, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32> {llm.dims = ["S"], llm.value = #settings}, %p: tensor<?x4xi32>)
    -> (tensor<?xi32>, tensor<?x1xf32>) {
  %z = llm.linear %x, %w : (tensor<?x40xf32>, tensor<2100x40xbf16>) -> tensor<?x2100xf32>
  %t, %c = llm.predict %z, %q, %s, %d, %e, %p {mask = 2099 : i64, tempered} : (tensor<?x2100xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
  return %t, %c : tensor<?xi32>, tensor<?x1xf32>
}
func.func @whole_parts(%x: tensor<?x16xf32>, %w: tensor<512x16xf32> {llm.range = [-0.5, 0.5]}, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32> {llm.dims = ["S"], llm.value = #settings}, %p: tensor<?x4xi32>)
    -> (tensor<?xi32>, tensor<?x1xf32>) {
  %z = llm.linear %x, %w : (tensor<?x16xf32>, tensor<512x16xf32>) -> tensor<?x512xf32>
  %t, %c = llm.predict %z, %q, %s, %d, %e, %p {mask = 0 : i64} : (tensor<?x512xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
  return %t, %c : tensor<?xi32>, tensor<?x1xf32>
}
func.func @few_columns(%x: tensor<?x16xf32>, %w: tensor<5x16xf32>, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32> {llm.dims = ["S"], llm.value = #settings}, %p: tensor<?x4xi32>)
    -> (tensor<?xi32>, tensor<?x1xf32>) {
  %z = llm.linear %x, %w : (tensor<?x16xf32>, tensor<5x16xf32>) -> tensor<?x5xf32>
  %t, %c = llm.predict %z, %q, %s, %d, %e, %p {mask = 2 : i64, tempered} : (tensor<?x5xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
  return %t, %c : tensor<?xi32>, tensor<?x1xf32>
}
func.func @two_columns(%x: tensor<?x16xf32>, %w: tensor<2x16xf32>, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32> {llm.dims = ["S"], llm.value = #settings}, %p: tensor<?x4xi32>)
    -> (tensor<?xi32>, tensor<?x1xf32>) {
  %z = llm.linear %x, %w : (tensor<?x16xf32>, tensor<2x16xf32>) -> tensor<?x2xf32>
  %t, %c = llm.predict %z, %q, %s, %d, %e, %p {mask = 1 : i64} : (tensor<?x2xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
  return %t, %c : tensor<?xi32>, tensor<?x1xf32>
}
func.func @given_logits(%z: tensor<?x1100xf32> {llm.range = [-12.0, 0.0]}, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32> {llm.dims = ["S"], llm.value = #settings}, %p: tensor<?x4xi32>)
    -> (tensor<?xi32>, tensor<?x1xf32>) {
  %t, %c = llm.predict %z, %q, %s, %d, %e, %p {mask = 1099 : i64, tempered} : (tensor<?x1100xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
  return %t, %c : tensor<?xi32>, tensor<?x1xf32>
}
// Equal logits in many parts: the lowest column, and no margin.
func.func @equal_logits(%x: tensor<?x700xf32> {llm.range = [-1.5, 1.5]}, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32> {llm.dims = ["S"], llm.value = #settings}, %p: tensor<?x4xi32>)
    -> (tensor<?xi32>, tensor<?x1xf32>) {
  %z = llm.map %x : (tensor<?x700xf32>) -> tensor<?x700xf32> {
  ^bb0(%a: f32):
    %r = math.roundeven %a : f32
    llm.yield %r : f32
  }
  %t, %c = llm.predict %z, %q, %s, %d, %e, %p {mask = 3 : i64} : (tensor<?x700xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
  return %t, %c : tensor<?xi32>, tensor<?x1xf32>
}
func.func @all_equal(%x: tensor<?x300xf32> {llm.range = [-0.4, 0.4]}, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32> {llm.dims = ["S"], llm.value = #settings}, %p: tensor<?x4xi32>)
    -> (tensor<?xi32>, tensor<?x1xf32>) {
  %z = llm.map %x : (tensor<?x300xf32>) -> tensor<?x300xf32> {
  ^bb0(%a: f32):
    %r = math.roundeven %a : f32
    llm.yield %r : f32
  }
  %t, %c = llm.predict %z, %q, %s, %d, %e, %p {mask = 0 : i64, tempered} : (tensor<?x300xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
  return %t, %c : tensor<?xi32>, tensor<?x1xf32>
}
// About one row in four has such a logit.
func.func @some_rows_have_nan(%x: tensor<?x600xf32>, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32> {llm.dims = ["S"], llm.value = #settings}, %p: tensor<?x4xi32>)
    -> (tensor<?xi32>, tensor<?x1xf32>) {
  %z = llm.map %x : (tensor<?x600xf32>) -> tensor<?x600xf32> {
  ^bb0(%a: f32):
    %bound = arith.constant 3.3 : f32
    %bad = arith.constant 0x7FC00000 : f32
    %is = arith.cmpf ogt, %a, %bound : f32
    %r = arith.select %is, %bad, %a : f32
    llm.yield %r : f32
  }
  %t, %c = llm.predict %z, %q, %s, %d, %e, %p {mask = 7 : i64} : (tensor<?x600xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
  return %t, %c : tensor<?xi32>, tensor<?x1xf32>
}
func.func @some_rows_have_infinity(%x: tensor<?x600xf32>, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32> {llm.dims = ["S"], llm.value = #settings}, %p: tensor<?x4xi32>)
    -> (tensor<?xi32>, tensor<?x1xf32>) {
  %z = llm.map %x : (tensor<?x600xf32>) -> tensor<?x600xf32> {
  ^bb0(%a: f32):
    %bound = arith.constant 3.3 : f32
    %bad = arith.constant 0x7F800000 : f32
    %is = arith.cmpf ogt, %a, %bound : f32
    %r = arith.select %is, %bad, %a : f32
    llm.yield %r : f32
  }
  %t, %c = llm.predict %z, %q, %s, %d, %e, %p {mask = 7 : i64} : (tensor<?x600xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
  return %t, %c : tensor<?xi32>, tensor<?x1xf32>
}
func.func @half_taken_out(%x: tensor<?x600xf32>, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32> {llm.dims = ["S"], llm.value = #settings}, %p: tensor<?x4xi32>)
    -> (tensor<?xi32>, tensor<?x1xf32>) {
  %z = llm.map %x : (tensor<?x600xf32>) -> tensor<?x600xf32> {
  ^bb0(%a: f32):
    %bound = arith.constant 0.0 : f32
    %bad = arith.constant 0xFF800000 : f32
    %is = arith.cmpf ogt, %a, %bound : f32
    %r = arith.select %is, %bad, %a : f32
    llm.yield %r : f32
  }
  %t, %c = llm.predict %z, %q, %s, %d, %e, %p {mask = 7 : i64, tempered} : (tensor<?x600xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
  return %t, %c : tensor<?xi32>, tensor<?x1xf32>
}
func.func @nothing_left(%x: tensor<?x600xf32>, %q: !llm.sequences, %s: tensor<?x4xf32>, %d: tensor<?x4xi64>, %e: tensor<?x8xf32> {llm.dims = ["S"], llm.value = #settings}, %p: tensor<?x4xi32>)
    -> (tensor<?xi32>, tensor<?x1xf32>) {
  %z = llm.map %x : (tensor<?x600xf32>) -> tensor<?x600xf32> {
  ^bb0(%a: f32):
    %bound = arith.constant -9.0 : f32
    %bad = arith.constant 0xFF800000 : f32
    %is = arith.cmpf ogt, %a, %bound : f32
    %r = arith.select %is, %bad, %a : f32
    llm.yield %r : f32
  }
  %t, %c = llm.predict %z, %q, %s, %d, %e, %p {mask = 7 : i64} : (tensor<?x600xf32>, !llm.sequences, tensor<?x4xf32>, tensor<?x4xi64>, tensor<?x8xf32>, tensor<?x4xi32>) -> (tensor<?xi32>, tensor<?x1xf32>)
  return %t, %c : tensor<?xi32>, tensor<?x1xf32>
}
