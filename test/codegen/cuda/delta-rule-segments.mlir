// The delta rule's kernels where it goes in segments, as PTX; the others are in delta-rule.mlir.
// RUN: llmc-opt %s --form-kernels="target=cuda max-tokens=4096" --canonicalize | sed '/func.func @/,/^  }/ { /func.func private/,/^  }/ !d }' > %t.mlir
// RUN: llmc-compile-tiles %t.mlir sm_80 | FileCheck %s
// RUN: llmc-compile-tiles %t.mlir sm_90a | FileCheck %s
// RUN: llmc-compile-tiles %t.mlir sm_90a assemble 2>&1 | FileCheck %s --check-prefix=CUBIN
// CUBIN: {{assembled for sm_90a|no ptxas on this machine: PTX is not assembled}}

// Maps and additions of segments: scans without rows. All that a chunk needs was asked for an iteration ago, the state stays in registers.
// CHECK-LABEL: .visible .entry rule_maps(
// CHECK: .maxntid 64
// CHECK-NOT: .local
// CHECK: cp.async.cg.shared.global {{.*}}, 16
// CHECK: bra
// CHECK-COUNT-16: cp.async.cg.shared.global {{.*}}, 16
// CHECK-NOT: {{st.shared|ld.shared|.local}}
// CHECK-COUNT-64: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK-NOT: {{st.shared|ld.shared|.local}}
// CHECK: cp.async.wait_group 0;
// CHECK-NEXT: bar.sync 0;
// CHECK-NOT: .local
// CHECK-LABEL: .visible .entry rule_additions(
// CHECK: .maxntid 64
// CHECK-NOT: .local
// CHECK-COUNT-72: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK-NOT: {{st.shared|ld.shared|.local}}
// CHECK: cp.async.wait_group 0;
// CHECK-NEXT: bar.sync 0;
// CHECK-NOT: .local
// The scan: a segment's map is read as it is stored (k outside) and turned by ldmatrix, and the state stays in registers from the first segment to the last chunk.
// CHECK-LABEL: .visible .entry rule(
// CHECK: .maxntid 64
// CHECK-NOT: {{st.shared|ld.shared|.local}}
// CHECK: ldmatrix.sync.aligned.m8n8.{{x[24]}}.trans.shared.b16
// CHECK-NOT: {{st.shared|ld.shared|.local}}
// CHECK-COUNT-64: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK-NOT: {{ld.shared|.local}}
// CHECK-COUNT-112: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK-NOT: {{ld.shared|.local}}
// CHECK-LABEL: .visible .entry rule_segments(
// CHECK: .maxntid 64
// CHECK-NOT: {{ld.shared|.local}}
// CHECK-COUNT-28: cp.async.cg.shared.global {{.*}}, 16
// CHECK-COUNT-112: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK-NOT: {{ld.shared|.local}}
// CHECK-LABEL: .visible .entry rule_finish(
func.func @ingest(%a0: tensor<?x256xbf16>, %a1: tensor<?x256xbf16>, %a2: tensor<?x256xbf16>, %a3: tensor<?x256xf32>, %a4: tensor<?x2xf32>, %a5: tensor<?x2x128x128xf32>, %a6: !llm.sequences) -> (tensor<?x2x128x128xf32>, tensor<?x256xf32>) {
  %y:2 = llm.dispatch(%a0, %a1, %a2, %a3, %a4, %a5, %a6) {kernel = "rule", tied = array<i64: 5, -1>}
      : (tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x256xf32>, tensor<?x2xf32>, tensor<?x2x128x128xf32>, !llm.sequences) -> (tensor<?x2x128x128xf32>, tensor<?x256xf32>) {
  ^bb0(%b0: tensor<?x256xbf16>, %b1: tensor<?x256xbf16>, %b2: tensor<?x256xbf16>, %b3: tensor<?x256xf32>, %b4: tensor<?x2xf32>, %b5: tensor<?x2x128x128xf32>, %b6: !llm.sequences):
    %o, %s = llm.delta_rule %b0, %b1, %b2, %b3, %b4, %b5, %b6 {form = "chunk"} : (tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x256xf32>, tensor<?x2xf32>, tensor<?x2x128x128xf32>, !llm.sequences) -> (tensor<?x256xf32>, tensor<?x2x128x128xf32>)
    llm.yield %s, %o : tensor<?x2x128x128xf32>, tensor<?x256xf32>
  }
  return %y#0, %y#1 : tensor<?x2x128x128xf32>, tensor<?x256xf32>
}
