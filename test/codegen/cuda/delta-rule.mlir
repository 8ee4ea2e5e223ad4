// The delta rule's kernels as PTX: what is left when the functions that launch them are taken away.
// RUN: llmc-opt %s --form-kernels=target=cuda --canonicalize | sed '/func.func @/,/^  }/ { /func.func private/,/^  }/ !d }' > %t.mlir
// RUN: llmc-compile-tiles %t.mlir sm_80 | FileCheck %s
// RUN: llmc-compile-tiles %t.mlir sm_90a | FileCheck %s
// RUN: llmc-compile-tiles %t.mlir sm_90a assemble 2>&1 | FileCheck %s --check-prefix=CUBIN
// CUBIN: {{assembled for sm_90a|no ptxas on this machine: PTX is not assembled}}

// Factors of a chunk: elementwise ops take four neighbours at a time, and both operands of the scores' products come from shared memory,
// where the block has made them: nothing is copied for them.
// CHECK-LABEL: .visible .entry ingest_rule_factors(
// CHECK: .maxntid 256
// CHECK-NOT: cp.async
// CHECK: ld.global.nc.v4.b16
// CHECK-NOT: cp.async
// CHECK: ldmatrix.sync.aligned.m8n8.x2.shared.b16
// CHECK: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK-NOT: cp.async
// The scan: all that a chunk needs was asked for an iteration ago, 16 bytes at a time; the state stays in registers, and nothing else goes
// through shared or local memory.
// CHECK-LABEL: .visible .entry ingest_rule(
// CHECK: .maxntid 64
// CHECK-NOT: .local
// CHECK: cp.async.wait_group 0;
// CHECK-NEXT: bar.sync 0;
// CHECK-NOT: {{st.shared|ld.shared|.local}}
// CHECK-COUNT-28: cp.async.cg.shared.global {{.*}}, 16
// CHECK-NOT: {{st.shared|ld.shared|.local}}
// CHECK: cp.async.commit_group;
// CHECK-NOT: {{st.shared|ld.shared|.local}}
// CHECK-COUNT-80: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK-NOT: {{st.shared|ld.shared|.local}}
// CHECK: st.global.b32
// CHECK-LABEL: .visible .entry ingest_rule_finish(
func.func @ingest(%a0: tensor<?x256xbf16>, %a1: tensor<?x256xbf16>, %a2: tensor<?x256xbf16>, %a3: tensor<?x256xf32>, %a4: tensor<?x2xf32>, %a5: tensor<?x2x128x128xf32>, %a6: !llm.sequences) -> (tensor<?x2x128x128xf32>, tensor<?x256xf32>) {
  %y:2 = llm.dispatch(%a0, %a1, %a2, %a3, %a4, %a5, %a6) {kernel = "ingest_rule", tied = array<i64: 5, -1>}
      : (tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x256xf32>, tensor<?x2xf32>, tensor<?x2x128x128xf32>, !llm.sequences) -> (tensor<?x2x128x128xf32>, tensor<?x256xf32>) {
  ^bb0(%b0: tensor<?x256xbf16>, %b1: tensor<?x256xbf16>, %b2: tensor<?x256xbf16>, %b3: tensor<?x256xf32>, %b4: tensor<?x2xf32>, %b5: tensor<?x2x128x128xf32>, %b6: !llm.sequences):
    %o, %s = llm.delta_rule %b0, %b1, %b2, %b3, %b4, %b5, %b6 {form = "chunk"} : (tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x256xf32>, tensor<?x2xf32>, tensor<?x2x128x128xf32>, !llm.sequences) -> (tensor<?x256xf32>, tensor<?x2x128x128xf32>)
    llm.yield %s, %o : tensor<?x2x128x128xf32>, tensor<?x256xf32>
  }
  return %y#0, %y#1 : tensor<?x2x128x128xf32>, tensor<?x256xf32>
}

// A step: the state is asked for before anything else, stays in registers and is written once; a thread has 64 elements of it, and four lanes
// the whole of what one column is multiplied with.
// CHECK-LABEL: .visible .entry advance_rule(
// CHECK: .maxntid 256
// CHECK-NOT: .local
// CHECK-COUNT-64: st.global.b32
// CHECK-NOT: st.global
// CHECK: ld.global.nc.v2.b32
// CHECK-COUNT-64: ld.global.b32
// CHECK-COUNT-4: shfl.sync.bfly.b32
// CHECK-COUNT-4: shfl.sync.bfly.b32
// CHECK-NOT: shfl
// CHECK-NOT: .local
// CHECK: ret;
func.func @advance(%a0: tensor<?x256xbf16>, %a1: tensor<?x256xbf16>, %a2: tensor<?x256xbf16>, %a3: tensor<?x256xf32>, %a4: tensor<?x2xf32>, %a5: tensor<?x2x128x128xf32>, %a6: !llm.sequences) -> (tensor<?x2x128x128xf32>, tensor<?x256xf32>) {
  %y:2 = llm.dispatch(%a0, %a1, %a2, %a3, %a4, %a5, %a6) {kernel = "advance_rule", tied = array<i64: 5, -1>}
      : (tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x256xf32>, tensor<?x2xf32>, tensor<?x2x128x128xf32>, !llm.sequences) -> (tensor<?x2x128x128xf32>, tensor<?x256xf32>) {
  ^bb0(%b0: tensor<?x256xbf16>, %b1: tensor<?x256xbf16>, %b2: tensor<?x256xbf16>, %b3: tensor<?x256xf32>, %b4: tensor<?x2xf32>, %b5: tensor<?x2x128x128xf32>, %b6: !llm.sequences):
    %o, %s = llm.delta_rule %b0, %b1, %b2, %b3, %b4, %b5, %b6 {form = "step"} : (tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x256xf32>, tensor<?x2xf32>, tensor<?x2x128x128xf32>, !llm.sequences) -> (tensor<?x256xf32>, tensor<?x2x128x128xf32>)
    llm.yield %s, %o : tensor<?x2x128x128xf32>, tensor<?x256xf32>
  }
  return %y#0, %y#1 : tensor<?x2x128x128xf32>, tensor<?x256xf32>
}
