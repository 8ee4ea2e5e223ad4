// Which delta rules go in segments: those of so few heads that their scans are at most 33 workgroups, if a call has room for four segments.
// RUN: llmc-opt %s --form-kernels="target=cuda max-tokens=1024" --split-input-file | FileCheck %s --check-prefixes=CHECK,LONG
// RUN: llmc-opt %s --form-kernels="target=cuda max-tokens=1023" --split-input-file | FileCheck %s --check-prefixes=CHECK,SHORT

// Segments of twice as many tokens as keys have columns: 256.
// LONG: module attributes {llm.piece_tokens = 256 : i64}
// SHORT-NOT: llm.piece_tokens
// LONG: func.func private @eight_heads_maps(
// SHORT-NOT: @eight_heads_maps
// CHECK: func.func private @eight_heads(
// LONG: scf.for %
// LONG: scf.for %
// LONG-LABEL: func.func private @eight_heads_segments(
// CHECK-LABEL: func.func private @eight_heads_finish(
func.func @ingest(%a0: tensor<?x1024xbf16>, %a1: tensor<?x1024xbf16>, %a2: tensor<?x1024xbf16>, %a3: tensor<?x1024xf32>, %a4: tensor<?x8xf32>, %a5: tensor<?x8x128x128xf32>, %a6: !llm.sequences) -> (tensor<?x8x128x128xf32>, tensor<?x1024xf32>) {
  %y:2 = llm.dispatch(%a0, %a1, %a2, %a3, %a4, %a5, %a6) {kernel = "eight_heads", tied = array<i64: 5, -1>}
      : (tensor<?x1024xbf16>, tensor<?x1024xbf16>, tensor<?x1024xbf16>, tensor<?x1024xf32>, tensor<?x8xf32>, tensor<?x8x128x128xf32>, !llm.sequences) -> (tensor<?x8x128x128xf32>, tensor<?x1024xf32>) {
  ^bb0(%b0: tensor<?x1024xbf16>, %b1: tensor<?x1024xbf16>, %b2: tensor<?x1024xbf16>, %b3: tensor<?x1024xf32>, %b4: tensor<?x8xf32>, %b5: tensor<?x8x128x128xf32>, %b6: !llm.sequences):
    %o, %s = llm.delta_rule %b0, %b1, %b2, %b3, %b4, %b5, %b6 {form = "chunk"} : (tensor<?x1024xbf16>, tensor<?x1024xbf16>, tensor<?x1024xbf16>, tensor<?x1024xf32>, tensor<?x8xf32>, tensor<?x8x128x128xf32>, !llm.sequences) -> (tensor<?x1024xf32>, tensor<?x8x128x128xf32>)
    llm.yield %s, %o : tensor<?x8x128x128xf32>, tensor<?x1024xf32>
  }
  return %y#0, %y#1 : tensor<?x8x128x128xf32>, tensor<?x1024xf32>
}

// -----

// The same for more heads, which fill more of the chip.
// CHECK-NOT: llm.piece_tokens
// CHECK-NOT: @nine_heads_maps
// CHECK-LABEL: func.func private @nine_heads(
// CHECK-COUNT-1: scf.for %
// CHECK-NOT: scf.for %
// CHECK-LABEL: func.func private @nine_heads_finish(
func.func @ingest(%a0: tensor<?x1152xbf16>, %a1: tensor<?x1152xbf16>, %a2: tensor<?x1152xbf16>, %a3: tensor<?x1152xf32>, %a4: tensor<?x9xf32>, %a5: tensor<?x9x128x128xf32>, %a6: !llm.sequences) -> (tensor<?x9x128x128xf32>, tensor<?x1152xf32>) {
  %y:2 = llm.dispatch(%a0, %a1, %a2, %a3, %a4, %a5, %a6) {kernel = "nine_heads", tied = array<i64: 5, -1>}
      : (tensor<?x1152xbf16>, tensor<?x1152xbf16>, tensor<?x1152xbf16>, tensor<?x1152xf32>, tensor<?x9xf32>, tensor<?x9x128x128xf32>, !llm.sequences) -> (tensor<?x9x128x128xf32>, tensor<?x1152xf32>) {
  ^bb0(%b0: tensor<?x1152xbf16>, %b1: tensor<?x1152xbf16>, %b2: tensor<?x1152xbf16>, %b3: tensor<?x1152xf32>, %b4: tensor<?x9xf32>, %b5: tensor<?x9x128x128xf32>, %b6: !llm.sequences):
    %o, %s = llm.delta_rule %b0, %b1, %b2, %b3, %b4, %b5, %b6 {form = "chunk"} : (tensor<?x1152xbf16>, tensor<?x1152xbf16>, tensor<?x1152xbf16>, tensor<?x1152xf32>, tensor<?x9xf32>, tensor<?x9x128x128xf32>, !llm.sequences) -> (tensor<?x1152xf32>, tensor<?x9x128x128xf32>)
    llm.yield %s, %o : tensor<?x9x128x128xf32>, tensor<?x1152xf32>
  }
  return %y#0, %y#1 : tensor<?x9x128x128xf32>, tensor<?x1152xf32>
}

// -----

// Kimi-Linear's.
// CHECK-NOT: llm.piece_tokens
// CHECK-NOT: @kimi_maps
// CHECK-LABEL: func.func private @kimi(
// CHECK-COUNT-1: scf.for %
// CHECK-NOT: scf.for %
// CHECK-LABEL: func.func private @kimi_finish(
func.func @ingest(%a0: tensor<?x4096xbf16>, %a1: tensor<?x4096xbf16>, %a2: tensor<?x4096xbf16>, %a3: tensor<?x4096xf32>, %a4: tensor<?x32xf32>, %a5: tensor<?x32x128x128xf32>, %a6: !llm.sequences) -> (tensor<?x32x128x128xf32>, tensor<?x4096xf32>) {
  %y:2 = llm.dispatch(%a0, %a1, %a2, %a3, %a4, %a5, %a6) {kernel = "kimi", tied = array<i64: 5, -1>}
      : (tensor<?x4096xbf16>, tensor<?x4096xbf16>, tensor<?x4096xbf16>, tensor<?x4096xf32>, tensor<?x32xf32>, tensor<?x32x128x128xf32>, !llm.sequences) -> (tensor<?x32x128x128xf32>, tensor<?x4096xf32>) {
  ^bb0(%b0: tensor<?x4096xbf16>, %b1: tensor<?x4096xbf16>, %b2: tensor<?x4096xbf16>, %b3: tensor<?x4096xf32>, %b4: tensor<?x32xf32>, %b5: tensor<?x32x128x128xf32>, %b6: !llm.sequences):
    %o, %s = llm.delta_rule %b0, %b1, %b2, %b3, %b4, %b5, %b6 {form = "chunk"} : (tensor<?x4096xbf16>, tensor<?x4096xbf16>, tensor<?x4096xbf16>, tensor<?x4096xf32>, tensor<?x32xf32>, tensor<?x32x128x128xf32>, !llm.sequences) -> (tensor<?x4096xf32>, tensor<?x32x128x128xf32>)
    llm.yield %s, %o : tensor<?x32x128x128xf32>, tensor<?x4096xf32>
  }
  return %y#0, %y#1 : tensor<?x32x128x128xf32>, tensor<?x4096xf32>
}

// -----

// Keys of 24 columns: segments are whole pieces of a prompt, 64 tokens; values of more than 64: as long as they are wide.
// CHECK: module attributes {llm.piece_tokens = 128 : i64}
// CHECK-LABEL: func.func private @wide_values(
func.func @ingest(%a0: tensor<?x24xbf16>, %a1: tensor<?x24xbf16>, %a2: tensor<?x96xbf16>, %a3: tensor<?x24xf32>, %a4: tensor<?x1xf32>, %a5: tensor<?x1x24x96xf32>, %a6: !llm.sequences) -> (tensor<?x1x24x96xf32>, tensor<?x96xf32>) {
  %y:2 = llm.dispatch(%a0, %a1, %a2, %a3, %a4, %a5, %a6) {kernel = "wide_values", tied = array<i64: 5, -1>}
      : (tensor<?x24xbf16>, tensor<?x24xbf16>, tensor<?x96xbf16>, tensor<?x24xf32>, tensor<?x1xf32>, tensor<?x1x24x96xf32>, !llm.sequences) -> (tensor<?x1x24x96xf32>, tensor<?x96xf32>) {
  ^bb0(%b0: tensor<?x24xbf16>, %b1: tensor<?x24xbf16>, %b2: tensor<?x96xbf16>, %b3: tensor<?x24xf32>, %b4: tensor<?x1xf32>, %b5: tensor<?x1x24x96xf32>, %b6: !llm.sequences):
    %o, %s = llm.delta_rule %b0, %b1, %b2, %b3, %b4, %b5, %b6 {form = "chunk"} : (tensor<?x24xbf16>, tensor<?x24xbf16>, tensor<?x96xbf16>, tensor<?x24xf32>, tensor<?x1xf32>, tensor<?x1x24x96xf32>, !llm.sequences) -> (tensor<?x96xf32>, tensor<?x1x24x96xf32>)
    llm.yield %s, %o : tensor<?x1x24x96xf32>, tensor<?x96xf32>
  }
  return %y#0, %y#1 : tensor<?x1x24x96xf32>, tensor<?x96xf32>
}
