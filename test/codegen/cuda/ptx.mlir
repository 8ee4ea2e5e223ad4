// RUN: llmc-compile-tiles %s sm_80 | FileCheck %s --check-prefixes=PTX,SM80
// RUN: llmc-compile-tiles %s sm_90a | FileCheck %s --check-prefixes=PTX,SM90
// RUN: llmc-compile-tiles %s sm_80 assemble | FileCheck %s --check-prefix=CUBIN
// RUN: llmc-compile-tiles %s sm_90a assemble | FileCheck %s --check-prefix=CUBIN
// RUN: not llmc-compile-tiles %s sm_70 2>&1 | FileCheck %s --check-prefix=ARCH
// ARCH: unknown GPU architecture 'sm_70': expects sm_80 or sm_90a
// CUBIN: {{assembled for sm_(80|90a)|no ptxas on this machine: PTX is not assembled}}

// exp(x * w / sum(x^2)) of each row: address spaces are inferred, read-only buffers go through the read-only cache, nothing is in local memory.
// SM80: .version 7.0
// SM80: .target sm_80
// SM90: .version 8.0
// SM90: .target sm_90a
// PTX: .extern .shared .align 128 .b8 add_shared[];
// PTX: .visible .entry add(
// PTX: .maxntid 64
// PTX-NOT: .local
// PTX-DAG: ld.global.nc.b32
// PTX-DAG: fma.rn.f32
// PTX-DAG: shfl.sync.bfly.b32
// PTX-DAG: st.shared.b32
// PTX-DAG: bar.sync
// PTX-DAG: st.global.b32
// PTX-NOT: {{(ld|st)\.b32}}
// PTX: ret;
func.func @add(%x: tensor<?x64xf32> {llm.dims = ["T"]}, %w: tensor<64xbf16>, %o: tensor<?x64xf32> {llm.dims = ["T"], llm.written}) -> tensor<?x64xf32> attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %z = arith.constant 0.0 : f32
  %t = tensor.dim %x, %c0 : tensor<?x64xf32>
  %r = scf.forall (%p) in (%t) shared_outs(%oo = %o) -> (tensor<?x64xf32>) {
    %s = tensor.extract_slice %x[%p, 0] [1, 64] [1, 1] : tensor<?x64xf32> to tensor<64xf32>
    %e = tensor.empty() : tensor<f32>
    %f = linalg.fill ins(%z : f32) outs(%e : tensor<f32>) -> tensor<f32>
    %n = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> ()>], iterator_types = ["reduction"]} ins(%s : tensor<64xf32>) outs(%f : tensor<f32>) {
    ^bb0(%a: f32, %b: f32):
      %m = arith.mulf %a, %a : f32
      %q = arith.addf %b, %m : f32
      linalg.yield %q : f32
    } -> tensor<f32>
    %sum = tensor.extract %n[] : tensor<f32>
    %d = tensor.extract_slice %oo[%p, 0] [1, 64] [1, 1] : tensor<?x64xf32> to tensor<64xf32>
    %g = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%s, %w : tensor<64xf32>, tensor<64xbf16>) outs(%d : tensor<64xf32>) {
    ^bb0(%a: f32, %b: bf16, %c: f32):
      %be = arith.extf %b : bf16 to f32
      %q = arith.mulf %a, %be : f32
      %h = arith.divf %q, %sum : f32
      %ex = math.exp %h : f32
      linalg.yield %ex : f32
    } -> tensor<64xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %g into %oo[%p, 0] [1, 64] [1, 1] : tensor<64xf32> into tensor<?x64xf32>
    }
  }
  return %r : tensor<?x64xf32>
}
