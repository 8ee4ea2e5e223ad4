// Slices, reshapes, padding, and the shapes of dynamic tensors.
// RUN: llmc-reference %s --expect

func.func @slices_drop_unit_dimensions_and_step() -> (tensor<3xi32>, tensor<2x2xi32>, tensor<3x4xi32>) attributes {llm.expect = [
    dense<[1, 5, 9]> : tensor<3xi32>, dense<[[0, 2], [8, 10]]> : tensor<2x2xi32>, dense<[[0, 1, 2, 3], [4, 7, 7, 7], [8, 9, 10, 11]]> : tensor<3x4xi32>]} {
  %t = arith.constant dense<[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]> : tensor<3x4xi32>
  %column = tensor.extract_slice %t[0, 1] [3, 1] [1, 1] : tensor<3x4xi32> to tensor<3xi32>
  %steps = tensor.extract_slice %t[0, 0] [2, 2] [2, 2] : tensor<3x4xi32> to tensor<2x2xi32>
  %seven = arith.constant 7 : i32
  %row = tensor.splat %seven : tensor<3xi32>
  %new = tensor.insert_slice %row into %t[1, 1] [1, 3] [1, 1] : tensor<3xi32> into tensor<3x4xi32>
  return %column, %steps, %new : tensor<3xi32>, tensor<2x2xi32>, tensor<3x4xi32>
}

func.func @reshapes_keep_the_order(%t: tensor<?x2xf32> {llm.value = dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]> : tensor<4x2xf64>})
    -> (tensor<?xf32>, tensor<?x2x2xf32>, index, tensor<6x2xf32>) attributes {llm.expect = [
    dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]> : tensor<8xf64>, dense<[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]> : tensor<2x2x2xf64>,
    dense<8> : tensor<index>, dense<[[9.0, 9.0], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0], [9.0, 9.0]]> : tensor<6x2xf64>]} {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %nine = arith.constant 9.0 : f32
  %flat = tensor.collapse_shape %t [[0, 1]] : tensor<?x2xf32> into tensor<?xf32>
  %n = tensor.dim %flat, %c0 : tensor<?xf32>
  %split = tensor.expand_shape %t [[0, 1], [2]] output_shape [%c2, 2, 2] : tensor<?x2xf32> into tensor<?x2x2xf32>
  %padded = tensor.pad %t low[1, 0] high[1, 0] {
  ^bb0(%i: index, %j: index):
    tensor.yield %nine : f32
  } : tensor<?x2xf32> to tensor<6x2xf32>
  return %flat, %split, %n, %padded : tensor<?xf32>, tensor<?x2x2xf32>, index, tensor<6x2xf32>
}

func.func @makes_tensors_of_elements() -> (tensor<2x2xindex>, tensor<3xi32>, i32, tensor<2xf32>) attributes {llm.expect = [
    dense<[[0, 1], [10, 11]]> : tensor<2x2xindex>, dense<[5, 6, 5]> : tensor<3xi32>, dense<6> : tensor<i32>,
    dense<[0x7FF8000000000000, 1.0]> : tensor<2xf64>]} {
  %c1 = arith.constant 1 : index
  %c10 = arith.constant 10 : index
  %generated = tensor.generate {
  ^bb0(%i: index, %j: index):
    %a = arith.muli %i, %c10 : index
    %b = arith.addi %a, %j : index
    tensor.yield %b : index
  } : tensor<2x2xindex>
  %five = arith.constant 5 : i32
  %six = arith.constant 6 : i32
  %given = tensor.from_elements %five, %six, %five : tensor<3xi32>
  %e = tensor.extract %given[%c1] : tensor<3xi32>
  // What nobody wrote is NaN.
  %empty = tensor.empty() : tensor<2xf32>
  %one = arith.constant 1.0 : f32
  %half = tensor.insert %one into %empty[%c1] : tensor<2xf32>
  return %generated, %given, %e, %half : tensor<2x2xindex>, tensor<3xi32>, i32, tensor<2xf32>
}

// The old value of a tensor stays what it was.
func.func @writes_make_new_values() -> (tensor<2xi32>, tensor<2xi32>) attributes {llm.expect = [dense<[1, 2]> : tensor<2xi32>, dense<[9, 2]> : tensor<2xi32>]} {
  %c0 = arith.constant 0 : index
  %nine = arith.constant 9 : i32
  %t = arith.constant dense<[1, 2]> : tensor<2xi32>
  %new = tensor.insert %nine into %t[%c0] : tensor<2xi32>
  return %t, %new : tensor<2xi32>, tensor<2xi32>
}
