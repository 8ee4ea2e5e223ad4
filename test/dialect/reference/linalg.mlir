// Structured ops: named ones by their bodies, broadcasts, transposes, reductions, indices, bodies with more than scalar ops.
// RUN: llmc-reference %s --expect

func.func @multiplies_matrices() -> (tensor<2x2xf32>, tensor<2x2xf32>) attributes {llm.expect = [
    dense<[[5.0, 11.0], [14.0, 32.0]]> : tensor<2x2xf64>, dense<[[15.0, 21.0], [24.0, 42.0]]> : tensor<2x2xf64>]} {
  %a = arith.constant dense<[[1.0, 2.0], [4.0, 5.0]]> : tensor<2x2xf32>
  %b = arith.constant dense<[[1.0, 3.0], [2.0, 4.0]]> : tensor<2x2xbf16>
  %zero = arith.constant 0.0 : f32
  %ten = arith.constant dense<10.0> : tensor<2x2xf32>
  %e = tensor.empty() : tensor<2x2xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<2x2xf32>) -> tensor<2x2xf32>
  %c = linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>],
      iterator_types = ["parallel", "parallel", "reduction"]} ins(%a, %b : tensor<2x2xf32>, tensor<2x2xbf16>) outs(%z : tensor<2x2xf32>) {
  ^bb0(%x: f32, %y: bf16, %s: f32):
    %w = arith.extf %y : bf16 to f32
    %p = math.fma %x, %w, %s : f32
    linalg.yield %p : f32
  } -> tensor<2x2xf32>
  %wide = arith.extf %b : tensor<2x2xbf16> to tensor<2x2xf32>
  %d = linalg.matmul ins(%a, %wide : tensor<2x2xf32>, tensor<2x2xf32>) outs(%ten : tensor<2x2xf32>) -> tensor<2x2xf32>
  return %c, %d : tensor<2x2xf32>, tensor<2x2xf32>
}

func.func @permutes_and_broadcasts() -> (tensor<3x2xf32>, tensor<2x3xf32>, tensor<2xf32>, tensor<2x3xf32>) attributes {llm.expect = [
    dense<[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]> : tensor<3x2xf64>, dense<[[1.0, 1.0, 1.0], [4.0, 4.0, 4.0]]> : tensor<2x3xf64>,
    dense<[3.0, 6.0]> : tensor<2xf64>, dense<[[0.0, 2.0, 3.0], [3.0, 3.0, 6.0]]> : tensor<2x3xf64>]} {
  %t = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %v = arith.constant dense<[1.0, 4.0]> : tensor<2xf32>
  %e32 = tensor.empty() : tensor<3x2xf32>
  %e23 = tensor.empty() : tensor<2x3xf32>
  %low = arith.constant dense<0xFF800000> : tensor<2xf32>
  %transposed = linalg.transpose ins(%t : tensor<2x3xf32>) outs(%e32 : tensor<3x2xf32>) permutation = [1, 0]
  %spread = linalg.broadcast ins(%v : tensor<2xf32>) outs(%e23 : tensor<2x3xf32>) dimensions = [1]
  %top = linalg.reduce { arith.maximumf } ins(%t : tensor<2x3xf32>) outs(%low : tensor<2xf32>) dimensions = [1]
  // Column index against row index, with a value from outside and a constant-0 map.
  %first = tensor.extract_slice %t[0, 2] [1, 1] [1, 1] : tensor<2x3xf32> to tensor<1x1xf32>
  %masked = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (0, 0)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]} ins(%t, %first : tensor<2x3xf32>, tensor<1x1xf32>) outs(%e23 : tensor<2x3xf32>) {
  ^bb0(%x: f32, %three: f32, %o: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %above = arith.cmpi ugt, %j, %i : index
    %same = arith.cmpi eq, %i, %j : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1 : index
    %row = arith.cmpi eq, %i, %one : index
    %other = arith.select %row, %three, %zero : f32
    %y = arith.select %above, %x, %other : f32
    linalg.yield %y : f32
  } -> tensor<2x3xf32>
  return %transposed, %spread, %top, %masked : tensor<3x2xf32>, tensor<2x3xf32>, tensor<2xf32>, tensor<2x3xf32>
}

// A gather in the body (not only scalars), and maps that are sums or quotients of loops.
func.func @runs_any_body_and_any_map() -> (tensor<3xi32>, tensor<2xi32>, tensor<4xi32>) attributes {llm.expect = [
    dense<[30, 10, 20]> : tensor<3xi32>, dense<[60, 90]> : tensor<2xi32>, dense<[10, 10, 20, 20]> : tensor<4xi32>]} {
  %table = arith.constant dense<[10, 20, 30, 40]> : tensor<4xi32>
  %ids = arith.constant dense<[2, 0, 1]> : tensor<3xi32>
  %e3 = tensor.empty() : tensor<3xi32>
  %gathered = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%ids : tensor<3xi32>) outs(%e3 : tensor<3xi32>) {
  ^bb0(%id: i32, %o: i32):
    %at = arith.index_cast %id : i32 to index
    %x = tensor.extract %table[%at] : tensor<4xi32>
    linalg.yield %x : i32
  } -> tensor<3xi32>
  %zero2 = arith.constant dense<0> : tensor<2xi32>
  %taps = arith.constant dense<1> : tensor<3xi32>
  %windows = linalg.generic {indexing_maps = [affine_map<(i, w) -> (i + w)>, affine_map<(i, w) -> (w)>, affine_map<(i, w) -> (i)>],
      iterator_types = ["parallel", "reduction"]} ins(%table, %taps : tensor<4xi32>, tensor<3xi32>) outs(%zero2 : tensor<2xi32>) {
  ^bb0(%x: i32, %tap: i32, %s: i32):
    %p = arith.muli %x, %tap : i32
    %y = arith.addi %p, %s : i32
    linalg.yield %y : i32
  } -> tensor<2xi32>
  %e4 = tensor.empty() : tensor<4xi32>
  %pairs = linalg.generic {indexing_maps = [affine_map<(i) -> (i floordiv 2)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%table : tensor<4xi32>) outs(%e4 : tensor<4xi32>) {
  ^bb0(%x: i32, %o: i32):
    linalg.yield %x : i32
  } -> tensor<4xi32>
  return %gathered, %windows, %pairs : tensor<3xi32>, tensor<2xi32>, tensor<4xi32>
}
