// Attention over a prompt, at the widths of large models, from the op to the instructions.
// RUN: llmc-opt %s --form-kernels=target=cuda --canonicalize | sed -e '/func.func @score/,/^  }/d' -e 's/func.func private/func.func/' > %t.mlir
// RUN: llmc-compile-tiles %t.mlir sm_80 | FileCheck %s --check-prefix=AMPERE --implicit-check-not=.local --implicit-check-not=wgmma
// RUN: llmc-compile-tiles %t.mlir sm_90a | FileCheck %s --implicit-check-not=.local --implicit-check-not='mma.sync.aligned.m16' --implicit-check-not=ldmatrix
// RUN: llmc-compile-tiles %t.mlir sm_90a assemble 2>&1 | FileCheck %s --check-prefix=CUBIN --implicit-check-not=serialized
// CUBIN: {{assembled for sm_90a|no ptxas on this machine: PTX is not assembled}}

// Two warpgroups and the producer's warp. Queries are written once to where wgmma reads them; in the loop there is no barrier of the block and nothing
// goes through shared memory but what the copy engine brings: probabilities, out of powers of two that are instructions, are an operand in registers.
// CHECK: .visible .entry attend(
// CHECK: .maxntid 288
// CHECK: mbarrier.init.shared.b64
// CHECK: st.shared.v4.b32
// CHECK: fence.proxy.async.shared::cta;
// CHECK-NEXT: bar.sync 0;
// CHECK-NOT: {{bar.sync|st.shared|ld.shared}}
// CHECK-DAG: wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16
// CHECK-DAG: wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {{.*}}, {%r{{[0-9]+}}, %r{{[0-9]+}}, %r{{[0-9]+}}, %r{{[0-9]+}}}, %rd{{[0-9]+}}, adds
// CHECK-DAG: ex2.approx.ftz.f32
// CHECK-DAG: max.NaN.f32
// CHECK-DAG: cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes
// CHECK-DAG: cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes
// CHECK: st.global.b32
// CHECK: ret;

// The same tiles over eight warps, keys and values by cp.async an iteration ahead.
// AMPERE: .visible .entry attend(
// AMPERE: .maxntid 256
// AMPERE: cp.async.cg.shared.global {{.*}}, 16
// AMPERE: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
func.func @score(%q: tensor<?x4096xbf16>, %keys: tensor<?x?x1024x32xbf16>, %values: tensor<?x?x1024xbf16>, %s: !llm.sequences) -> tensor<?x4096xbf16> {
  %y = llm.dispatch(%q, %keys, %values, %s) {kernel = "attend", tied = array<i64: -1>}
      : (tensor<?x4096xbf16>, tensor<?x?x1024x32xbf16>, tensor<?x?x1024xbf16>, !llm.sequences) -> tensor<?x4096xbf16> {
  ^bb0(%a: tensor<?x4096xbf16>, %k: tensor<?x?x1024x32xbf16>, %v: tensor<?x?x1024xbf16>, %t: !llm.sequences):
    %z = llm.attention %a, %k, %v, %t {heads = 32 : i64, kv_heads = 8 : i64, scale = 0.0884 : f64}
        : (tensor<?x4096xbf16>, tensor<?x?x1024x32xbf16>, tensor<?x?x1024xbf16>, !llm.sequences) -> tensor<?x4096xbf16>
    llm.yield %z : tensor<?x4096xbf16>
  }
  return %y : tensor<?x4096xbf16>
}
