// RUN: llmc-opt %s --prepare-tiles --bufferize-tiles --distribute-tiles --lower-blocks --merge-kernels=name=steps | FileCheck %s
// RUN: llmc-compile-tiles %s sm_80 merge | FileCheck %s --check-prefixes=PTX,SM80
// RUN: llmc-compile-tiles %s sm_90a merge | FileCheck %s --check-prefixes=PTX,SM90
// RUN: llmc-compile-tiles %s sm_80 merge-assemble | FileCheck %s --check-prefix=CUBIN
// RUN: llmc-compile-tiles %s sm_90a merge-assemble | FileCheck %s --check-prefix=CUBIN
// What a function saves of its caller's registers counts as spilled.
// CUBIN: {{assembled for sm_(80|90a), the merged kernel with [1-9][0-9]* registers and [0-9][0-9]? bytes spilled|no ptxas on this machine: PTX is not assembled}}

// What fewer threads run meets at a barrier of its own.
// CHECK-LABEL: func.func private @steps_narrow(
// CHECK-SAME: !llvm.ptr<1>
// CHECK-SAME: attributes {llm.body}
// CHECK-NOT: nvvm.barrier0
// CHECK: nvvm.barrier id = %{{.*}} number_of_threads = %{{.*}}
// CHECK-LABEL: func.func private @steps_wide(
// CHECK: nvvm.barrier0

// CHECK-LABEL: func.func @steps(
// CHECK-SAME: llm.bodies = ["narrow", "wide"]
// CHECK-SAME: llm.threads = 128
// CHECK: %[[FOUND:.*]] = llvm.load %{{.*}} atomic syncscope("device") monotonic
// CHECK: scf.while
// CHECK: scf.index_switch
// CHECK: case 0 {
// CHECK: scf.if
// CHECK: call @steps_narrow(
// CHECK: case 1 {
// CHECK: scf.if
// CHECK: call @steps_wide(
// CHECK: default {
// CHECK: scf.for
// CHECK: llvm.inline_asm has_side_effects "prefetch.global.L2
// CHECK: scf.if
// CHECK: nvvm.barrier0
// CHECK: llvm.fence syncscope("device") acq_rel
// CHECK: llvm.atomicrmw add %{{.*}} syncscope("device") monotonic
// CHECK: llvm.load %{{.*}} atomic syncscope("device") acquire
// CHECK: nvvm.barrier0

// One kernel beside those that it is made of. It calls their bodies, where weights come through the read-only cache and activations do not, as
// global memory both; the barrier releases and acquires for the whole GPU.
// PTX: .func llmc_steps_narrow(
// PTX-NOT: ld.b
// PTX-NOT: st.b
// PTX-DAG: ld.global.nc.b16
// PTX-DAG: ld.global.b32
// PTX: .func llmc_steps_wide(
// PTX-NOT: ld.b
// PTX: ld.global.b32
// PTX: .visible .entry llmc_steps(
// PTX: .maxntid 128
// PTX-NOT: .local
// PTX: ld.relaxed.gpu.global.b64
// PTX-DAG: call.uni{{[[:space:]]+}}{{.*}}llmc_steps_narrow
// PTX-DAG: call.uni{{[[:space:]]+}}{{.*}}llmc_steps_wide
// SM80: prefetch.global.L2
// SM90: cp.async.bulk.prefetch.L2.global
// PTX: bar.sync 0
// PTX: fence.acq_rel.gpu
// PTX: atom.global.add.u64
// PTX: ld.acquire.gpu.global.b64
#rows = affine_map<(d0) -> (d0)>
func.func @narrow(%x: tensor<64xf32>, %w: tensor<64xbf16> {llm.constant}, %o: tensor<64xf32> {llm.written}) -> tensor<64xf32> attributes {llm.kernel} {
  %r = scf.forall (%p) in (2) shared_outs(%oo = %o) -> (tensor<64xf32>) {
    %at = affine.apply affine_map<(d0) -> (d0 * 32)>(%p)
    %xs = tensor.extract_slice %x[%at] [32] [1] : tensor<64xf32> to tensor<32xf32>
    %ws = tensor.extract_slice %w[%at] [32] [1] : tensor<64xbf16> to tensor<32xbf16>
    %os = tensor.extract_slice %oo[%at] [32] [1] : tensor<64xf32> to tensor<32xf32>
    %g = linalg.generic {indexing_maps = [#rows, #rows, #rows], iterator_types = ["parallel"]}
        ins(%xs, %ws : tensor<32xf32>, tensor<32xbf16>) outs(%os : tensor<32xf32>) {
    ^bb0(%a: f32, %b: bf16, %c: f32):
      %wide = arith.extf %b : bf16 to f32
      %s = arith.mulf %a, %wide : f32
      linalg.yield %s : f32
    } -> tensor<32xf32>
    scf.forall.in_parallel { tensor.parallel_insert_slice %g into %oo[%at] [32] [1] : tensor<32xf32> into tensor<64xf32> }
  }
  return %r : tensor<64xf32>
}
func.func @wide(%x: tensor<?x128xf32> {llm.dims = ["T"]}, %o: tensor<?x128xf32> {llm.dims = ["T"], llm.written}) -> tensor<?x128xf32> attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %t = tensor.dim %x, %c0 : tensor<?x128xf32>
  %r = scf.forall (%p) in (%t) shared_outs(%oo = %o) -> (tensor<?x128xf32>) {
    %xs = tensor.extract_slice %x[%p, 0] [1, 128] [1, 1] : tensor<?x128xf32> to tensor<128xf32>
    %os = tensor.extract_slice %oo[%p, 0] [1, 128] [1, 1] : tensor<?x128xf32> to tensor<128xf32>
    %g = linalg.generic {indexing_maps = [#rows, #rows], iterator_types = ["parallel"]} ins(%xs : tensor<128xf32>) outs(%os : tensor<128xf32>) {
    ^bb0(%a: f32, %c: f32):
      %s = arith.addf %a, %a : f32
      linalg.yield %s : f32
    } -> tensor<128xf32>
    scf.forall.in_parallel { tensor.parallel_insert_slice %g into %oo[%p, 0] [1, 128] [1, 1] : tensor<128xf32> into tensor<?x128xf32> }
  }
  return %r : tensor<?x128xf32>
}
