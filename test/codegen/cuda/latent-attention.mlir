// Latent attention over a prompt, at the widths of large models, from the op to the instructions.
// RUN: llmc-opt %s --form-kernels=target=cuda --canonicalize | sed -e '/func.func @score/,/^  }/d' -e 's/func.func private/func.func/' > %t.mlir
// RUN: llmc-compile-tiles %t.mlir sm_80 | FileCheck %s --implicit-check-not=.local
// RUN: llmc-compile-tiles %t.mlir sm_90a | FileCheck %s --implicit-check-not=.local

// All four products are mma.sync on what cp.async has fetched 16 bytes at a time, over eight warps, and nothing is in local memory: queries onto the
// latents (UK's k is outermost and gets turned), their scores (latents have k innermost), the rows' maxima and sums, probabilities times the
// same latents, turned, into 512 columns of sums, and those off the latents. Between them only what warps hand each other goes through shared memory.
// CHECK: .visible .entry latent(
// CHECK: .maxntid 256
// CHECK: cp.async.cg.shared.global {{.*}}, 16
// CHECK: ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16
// CHECK-COUNT-64: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK: st.shared.b16
// CHECK: cp.async.cg.shared.global {{.*}}, 16
// CHECK-NOT: .trans
// CHECK-COUNT-64: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK-NOT: mma.sync
// CHECK: shfl.sync.bfly
// CHECK: st.shared.b16
// CHECK: cp.async.cg.shared.global {{.*}}, 16
// CHECK: ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16
// CHECK-COUNT-64: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK-NOT: mma.sync
// CHECK: st.shared.b16
// CHECK: cp.async.cg.shared.global {{.*}}, 16
// CHECK: ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16
// CHECK-COUNT-32: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK: st.global.b32
// CHECK: ret;
func.func @score(%q: tensor<?x6144xbf16>, %c: tensor<?x?x576xbf16>, %up: tensor<8192x512xbf16>, %s: !llm.sequences) -> tensor<?x4096xbf16> {
  %y = llm.dispatch(%q, %c, %up, %s) {kernel = "latent", tied = array<i64: -1>}
      : (tensor<?x6144xbf16>, tensor<?x?x576xbf16>, tensor<8192x512xbf16>, !llm.sequences) -> tensor<?x4096xbf16> {
  ^bb0(%a: tensor<?x6144xbf16>, %b: tensor<?x?x576xbf16>, %d: tensor<8192x512xbf16>, %e: !llm.sequences):
    %o = llm.latent_attention %a, %b, %d, %e {heads = 32 : i64, nope = 128 : i64, rope = 64 : i64, scale = 0.0722 : f64}
        : (tensor<?x6144xbf16>, tensor<?x?x576xbf16>, tensor<8192x512xbf16>, !llm.sequences) -> tensor<?x4096xbf16>
    llm.yield %o : tensor<?x4096xbf16>
  }
  return %y : tensor<?x4096xbf16>
}
