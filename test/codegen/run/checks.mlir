// The checks themselves: what they say of a kernel that is not exact, of one whose rows know of each other, and of a level that there is not.
// RUN: not llmc-reference %s --compiled=x86-64-v3 --function=inexact --tolerance=0 --tokens=9 2>&1 | FileCheck %s --check-prefix=INEXACT
// RUN: llmc-reference %s --compiled=x86-64-v3 --function=counts_rows --tokens=9 --sequences=3 | FileCheck %s --check-prefix=EXACT
// RUN: not llmc-reference %s --compiled=x86-64-v3 --function=counts_rows --tokens=9 --sequences=3 --rows-alone 2>&1 | FileCheck %s --check-prefix=ALONE
// RUN: not llmc-reference %s --compiled=x86-64-v9 2>&1 | FileCheck %s --check-prefix=LEVEL

// INEXACT-DAG: inexact x86-64-v3 T=9: result 0: f32[9, 8] relative L2 error {{.*}} BEYOND TOLERANCE
// INEXACT-DAG: error: inexact x86-64-v3 T=9: results differ by more than the tolerance
func.func @inexact(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = llm.launch @exponentials(%x) {tied = array<i64: -1>} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
func.func private @exponentials(%x: tensor<?x8xf32> {llm.dims = ["T"]}, %o: tensor<?x8xf32> {llm.dims = ["T"], llm.written}) -> tensor<?x8xf32> attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %rows = tensor.dim %x, %c0 : tensor<?x8xf32>
  %r = scf.forall (%t) in (%rows) shared_outs(%oo = %o) -> (tensor<?x8xf32>) {
    %s = tensor.extract_slice %x[%t, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<1x8xf32>
    %y = math.exp %s : tensor<1x8xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %y into %oo[%t, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<?x8xf32>
    }
  }
  return %r : tensor<?x8xf32>
}

// EXACT: counts_rows x86-64-v3 T=9: result 0: f32[9, 1] relative L2 error 0, largest 0
// ALONE: error: counts_rows x86-64-v3 T=9: result 0, row 0 of rows 0 .. 2 of sequence 0 alone differs from that of the whole call in column 0
func.func @counts_rows(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %y = llm.launch @count(%x) {tied = array<i64: -1>} : (tensor<?x1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}
func.func private @count(%x: tensor<?x1xf32> {llm.dims = ["T"]}, %o: tensor<?x1xf32> {llm.dims = ["T"], llm.written}) -> tensor<?x1xf32> attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %rows = tensor.dim %x, %c0 : tensor<?x1xf32>
  %i = arith.index_cast %rows : index to i32
  %n = arith.sitofp %i : i32 to f32
  %r = scf.forall (%t) in (%rows) shared_outs(%oo = %o) -> (tensor<?x1xf32>) {
    %e = tensor.empty() : tensor<1x1xf32>
    %y = linalg.fill ins(%n : f32) outs(%e : tensor<1x1xf32>) -> tensor<1x1xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %y into %oo[%t, 0] [1, 1] [1, 1] : tensor<1x1xf32> into tensor<?x1xf32>
    }
  }
  return %r : tensor<?x1xf32>
}

// LEVEL: error: unknown CPU level 'x86-64-v9': expects x86-64-v3, x86-64-v4 or native
