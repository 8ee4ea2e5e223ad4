// y[t, n] = 2 sum_k x[t, k] (w[2, n / 32, k, n % 32] + w[0, 1 + n / 32, k, n % 32]): two products of a tile of 128 rows and @C@ columns, the
// first of matrix 2, the second of matrix 0 one panel on, so that neither begins where its argument does.
#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (n floordiv 32, k, n mod 32)>
#c = affine_map<(m, n, k) -> (m, n)>
#d = affine_map<(m, n) -> (m, n)>
func.func @k(%x: tensor<?x@D@xbf16> {llm.dims = ["T"]}, %w: tensor<3x@PANELS@x@K@x32xbf16>, %o: tensor<?x@N@xf32> {llm.dims = ["T"], llm.written})
    -> tensor<?x@N@xf32> attributes {llm.kernel@ORDER@} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %columns = arith.constant @C@ : index
  %panels = arith.constant @P@ : index
  %c128 = arith.constant 128 : index
  %zero = arith.constant 0.0 : f32
  %t = tensor.dim %x, %c0 : tensor<?x@D@xbf16>
  %blocks = arith.ceildivui %t, %c128 : index
  %done = scf.forall (%c, %b) in (@TILES@, %blocks) shared_outs(%oo = %o) -> (tensor<?x@N@xf32>) {
    %row = arith.muli %b, %c128 : index
    %below = arith.subi %t, %row : index
    %rest = arith.maxsi %below, %c0 : index
    %rows = arith.minsi %rest, %c128 : index
    %column = arith.muli %c, %columns : index
    %panel = arith.muli %c, %panels : index
    %next = arith.addi %panel, %c1 : index
    %a = tensor.extract_slice %x[%row, @AT@] [%rows, @K@] [1, 1] : tensor<?x@D@xbf16> to tensor<?x@K@xbf16>
    %p = tensor.extract_slice %w[2, %panel, 0, 0] [1, @P@, @K@, 32] [1, 1, 1, 1] : tensor<3x@PANELS@x@K@x32xbf16> to tensor<@P@x@K@x32xbf16>
    %q = tensor.extract_slice %w[0, %next, 0, 0] [1, @P@, @K@, 32] [1, 1, 1, 1] : tensor<3x@PANELS@x@K@x32xbf16> to tensor<@P@x@K@x32xbf16>
    %e = tensor.empty(%rows) : tensor<?x@C@xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<?x@C@xf32>) -> tensor<?x@C@xf32>
    %first = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]}
        ins(%a, %p : tensor<?x@K@xbf16>, tensor<@P@x@K@x32xbf16>) outs(%f : tensor<?x@C@xf32>) {
    ^bb0(%u: bf16, %v: bf16, %acc: f32):
      %u32 = arith.extf %u : bf16 to f32
      %v32 = arith.extf %v : bf16 to f32
      %uv = arith.mulf %u32, %v32 : f32
      %sum = arith.addf %acc, %uv : f32
      linalg.yield %sum : f32
    } -> tensor<?x@C@xf32>
    %second = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]}
        ins(%a, %q : tensor<?x@K@xbf16>, tensor<@P@x@K@x32xbf16>) outs(%first : tensor<?x@C@xf32>) {
    ^bb0(%u: bf16, %v: bf16, %acc: f32):
      %u32 = arith.extf %u : bf16 to f32
      %v32 = arith.extf %v : bf16 to f32
      %uv = arith.mulf %u32, %v32 : f32
      %sum = arith.addf %acc, %uv : f32
      linalg.yield %sum : f32
    } -> tensor<?x@C@xf32>
    %into = tensor.extract_slice %oo[%row, %column] [%rows, @C@] [1, 1] : tensor<?x@N@xf32> to tensor<?x@C@xf32>
    %y = linalg.generic {indexing_maps = [#d, #d], iterator_types = ["parallel", "parallel"]}
        ins(%second : tensor<?x@C@xf32>) outs(%into : tensor<?x@C@xf32>) {
    ^bb0(%u: f32, %old: f32):
      %twice = arith.addf %u, %u : f32
      linalg.yield %twice : f32
    } -> tensor<?x@C@xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %y into %oo[%row, %column] [%rows, @C@] [1, 1] : tensor<?x@C@xf32> into tensor<?x@N@xf32>
    }
  }
  return %done : tensor<?x@N@xf32>
}
