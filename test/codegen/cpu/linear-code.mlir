// The inner loop of a linear tile: 8 rows times 32 columns are 16 accumulators of 512 bits, or two blocks of 4 rows
// times 16 columns in 8 of 256 bits. Weights are widened by a shift; no accumulator goes to the stack.
// RUN: llmc-compile-tiles %s x86-64-v4 | FileCheck %s --check-prefix=V4 --implicit-check-not='(%rsp)'
// RUN: llmc-compile-tiles %s x86-64-v3 | FileCheck %s --check-prefix=V3

// V4-LABEL: linear:
// V4: [[LOOP:.LBB[0-9_]+]]:
// V4: vpmovzxwd {{.*}}%zmm
// V4: vpslld $16, {{.*}}%zmm
// V4-COUNT-16: vfmadd231ps {{.*}}%zmm
// V4-NOT: vfmadd
// V4: j{{.*}}[[LOOP]]

// V3-LABEL: linear:
// V3: vpmovzxwd {{.*}}%ymm
// V3: vpslld $16, {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm
// V3-NOT: rsp
// V3: vfmadd231ps {{.*}}%ymm

#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (k, n)>
#c = affine_map<(m, n, k) -> (m, n)>
func.func @linear(%x: tensor<?x72xf32> {llm.dims = ["T"]}, %w: tensor<3x72x32xbf16>, %r: tensor<?x96xf32> {llm.dims = ["T"]},
                  %o: tensor<?x96xf32> {llm.dims = ["T"], llm.written}) -> tensor<?x96xf32> attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %cw = arith.constant 32 : index
  %zero = arith.constant 0.0 : f32
  %T = tensor.dim %x, %c0 : tensor<?x72xf32>
  %rest = arith.remui %T, %c8 : index
  %main = arith.subi %T, %rest : index
  %res = scf.forall (%p) in (3) shared_outs(%oo = %o) -> (tensor<?x96xf32>) {
    %n0 = arith.muli %p, %cw : index
    %wp = tensor.extract_slice %w[%p, 0, 0] [1, 72, 32] [1, 1, 1] : tensor<3x72x32xbf16> to tensor<72x32xbf16>
    %column = tensor.extract_slice %oo[0, %n0] [%T, 32] [1, 1] : tensor<?x96xf32> to tensor<?x32xf32>
    %blocks = scf.for %t = %c0 to %main step %c8 iter_args(%acc = %column) -> (tensor<?x32xf32>) {
      %xt = tensor.extract_slice %x[%t, 0] [8, 72] [1, 1] : tensor<?x72xf32> to tensor<8x72xf32>
      %rt = tensor.extract_slice %r[%t, %n0] [8, 32] [1, 1] : tensor<?x96xf32> to tensor<8x32xf32>
      %e = tensor.empty() : tensor<8x32xf32>
      %z = linalg.fill ins(%zero : f32) outs(%e : tensor<8x32xf32>) -> tensor<8x32xf32>
      %mm = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]}
          ins(%xt, %wp : tensor<8x72xf32>, tensor<72x32xbf16>) outs(%z : tensor<8x32xf32>) {
      ^bb0(%l: f32, %q: bf16, %s: f32):
        %f = arith.extf %q : bf16 to f32
        %m = arith.mulf %l, %f : f32
        %d = arith.addf %s, %m : f32
        linalg.yield %d : f32
      } -> tensor<8x32xf32>
      %ep = arith.addf %mm, %rt : tensor<8x32xf32>
      %ins = tensor.insert_slice %ep into %acc[%t, 0] [8, 32] [1, 1] : tensor<8x32xf32> into tensor<?x32xf32>
      scf.yield %ins : tensor<?x32xf32>
    }
    %rows = scf.for %t = %main to %T step %c1 iter_args(%acc = %blocks) -> (tensor<?x32xf32>) {
      %xt = tensor.extract_slice %x[%t, 0] [1, 72] [1, 1] : tensor<?x72xf32> to tensor<1x72xf32>
      %rt = tensor.extract_slice %r[%t, %n0] [1, 32] [1, 1] : tensor<?x96xf32> to tensor<1x32xf32>
      %e = tensor.empty() : tensor<1x32xf32>
      %z = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32xf32>) -> tensor<1x32xf32>
      %mm = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]}
          ins(%xt, %wp : tensor<1x72xf32>, tensor<72x32xbf16>) outs(%z : tensor<1x32xf32>) {
      ^bb0(%l: f32, %q: bf16, %s: f32):
        %f = arith.extf %q : bf16 to f32
        %m = arith.mulf %l, %f : f32
        %d = arith.addf %s, %m : f32
        linalg.yield %d : f32
      } -> tensor<1x32xf32>
      %ep = arith.addf %mm, %rt : tensor<1x32xf32>
      %ins = tensor.insert_slice %ep into %acc[%t, 0] [1, 32] [1, 1] : tensor<1x32xf32> into tensor<?x32xf32>
      scf.yield %ins : tensor<?x32xf32>
    }
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %rows into %oo[0, %n0] [%T, 32] [1, 1] : tensor<?x32xf32> into tensor<?x96xf32>
    }
  }
  return %res : tensor<?x96xf32>
}
