// RUN: llmc-opt %s --form-kernels=target=cuda --canonicalize --split-input-file --mlir-print-local-scope | FileCheck %s
// RUN: not llmc-opt %s --form-kernels=target=tpu --split-input-file 2>&1 | FileCheck %s --check-prefix=TARGET
// TARGET: form-kernels: unknown target 'tpu': expects cpu or cuda

// Rows are shared out among workgroups, 128 at a time, four panels of columns each; the last rows are a dynamic slice of the tile,
// of which a tile beyond them has none.
// CHECK-LABEL: func.func private @wide
// CHECK: %[[T:.*]] = tensor.dim %arg2
// CHECK: scf.forall (%[[C:.*]], %[[B:.*]]) in (2, %{{.*}})
// CHECK:   %[[ROW:.*]] = arith.muli %[[B]], %c128
// CHECK:   %[[REST:.*]] = arith.subi %[[T]], %[[ROW]]
// CHECK:   %[[SOME:.*]] = arith.maxsi %[[REST]], %c0
// CHECK:   %[[ROWS:.*]] = arith.minsi %[[SOME]], %c128
// CHECK:   %[[A:.*]] = tensor.extract_slice %arg0[%[[ROW]], 0] [%[[ROWS]], 64]
// CHECK:   %[[W:.*]] = tensor.extract_slice %arg1[0, %{{.*}}, 0, 0] [1, 4, 64, 32]
// CHECK:   linalg.generic {{.*}}affine_map<(d0, d1, d2) -> (d1 floordiv 32, d2, d1 mod 32)>{{.*}} ins(%[[A]], %[[W]] : tensor<?x64xbf16>, tensor<4x64x32xbf16>) outs(%{{.*}} : tensor<?x128xf32>)
func.func @score(%x: tensor<?x64xbf16>, %w: tensor<256x64xbf16>) -> tensor<?x256xbf16> {
  %y = llm.dispatch(%x, %w) {kernel = "wide", tied = array<i64: -1>} : (tensor<?x64xbf16>, tensor<256x64xbf16>) -> tensor<?x256xbf16> {
  ^bb0(%a: tensor<?x64xbf16>, %b: tensor<256x64xbf16>):
    %z = llm.linear %a, %b : (tensor<?x64xbf16>, tensor<256x64xbf16>) -> tensor<?x256xbf16>
    llm.yield %z : tensor<?x256xbf16>
  }
  return %y : tensor<?x256xbf16>
}

// -----

// Many columns: eight panels a tile where one product of stored rows makes them. The two of a gated linear have four each, rows that the
// kernel makes meet four.
// CHECK-LABEL: func.func private @many
// CHECK-SAME: llm.rows_together = 16 : i64
// CHECK: scf.forall (%{{.*}}, %{{.*}}) in (16, %{{.*}})
// CHECK:   tensor.extract_slice %arg1[0, %{{.*}}, 0, 0] [1, 8, 64, 32]
// CHECK:   linalg.generic {{.*}}tensor<8x64x32xbf16>) outs(%{{.*}} : tensor<?x256xf32>)
// CHECK-LABEL: func.func private @gated
// CHECK: scf.forall (%{{.*}}, %{{.*}}) in (32, %{{.*}})
// CHECK-COUNT-2: tensor<4x64x32xbf16>) outs(%{{.*}} : tensor<?x128xf32>)
// CHECK-LABEL: func.func private @made
// CHECK: scf.forall (%{{.*}}, %{{.*}}) in (32, %{{.*}})
// CHECK:   tensor<4x64x32xbf16>) outs(%{{.*}} : tensor<?x128xf32>)
func.func @score(%x: tensor<?x64xbf16>, %f: tensor<?x64xf32>, %n: tensor<64xbf16>, %w: tensor<4096x64xbf16>, %g: tensor<8192x64xbf16>)
    -> (tensor<?x4096xbf16>, tensor<?x4096xbf16>, tensor<?x4096xbf16>) {
  %y = llm.dispatch(%x, %w) {kernel = "many", tied = array<i64: -1>} : (tensor<?x64xbf16>, tensor<4096x64xbf16>) -> tensor<?x4096xbf16> {
  ^bb0(%a: tensor<?x64xbf16>, %b: tensor<4096x64xbf16>):
    %z = llm.linear %a, %b : (tensor<?x64xbf16>, tensor<4096x64xbf16>) -> tensor<?x4096xbf16>
    llm.yield %z : tensor<?x4096xbf16>
  }
  %u = llm.dispatch(%x, %g) {kernel = "gated", tied = array<i64: -1>} : (tensor<?x64xbf16>, tensor<8192x64xbf16>) -> tensor<?x4096xbf16> {
  ^bb0(%a: tensor<?x64xbf16>, %b: tensor<8192x64xbf16>):
    %z = llm.linear %a, %b : (tensor<?x64xbf16>, tensor<8192x64xbf16>) -> tensor<?x8192xf32>
    %z1 = llm.slice %z at 0 : (tensor<?x8192xf32>) -> tensor<?x4096xf32>
    %z2 = llm.slice %z at 4096 : (tensor<?x8192xf32>) -> tensor<?x4096xf32>
    %m = llm.map %z1, %z2 : (tensor<?x4096xf32>, tensor<?x4096xf32>) -> tensor<?x4096xbf16> {
    ^bb0(%p: f32, %q: f32):
      %t = arith.mulf %p, %q : f32
      llm.yield %t : f32
    }
    llm.yield %m : tensor<?x4096xbf16>
  }
  %v = llm.dispatch(%f, %n, %w) {kernel = "made", tied = array<i64: -1>} : (tensor<?x64xf32>, tensor<64xbf16>, tensor<4096x64xbf16>) -> tensor<?x4096xbf16> {
  ^bb0(%a: tensor<?x64xf32>, %m: tensor<64xbf16>, %b: tensor<4096x64xbf16>):
    %h = llm.rms_norm %a, %m {eps = 1.0e-05 : f64} : (tensor<?x64xf32>, tensor<64xbf16>) -> tensor<?x64xbf16>
    %z = llm.linear %h, %b : (tensor<?x64xbf16>, tensor<4096x64xbf16>) -> tensor<?x4096xbf16>
    llm.yield %z : tensor<?x4096xbf16>
  }
  return %y, %u, %v : tensor<?x4096xbf16>, tensor<?x4096xbf16>, tensor<?x4096xbf16>
}

// -----

// In a step the same dispatch has a kernel of its own: 16 rows, two panels, and the norm in front of it is made by every workgroup, rounded
// to what the product takes.
// CHECK-LABEL: func.func private @narrow
// CHECK: scf.forall (%{{.*}}, %{{.*}}) in (4, %{{.*}})
// CHECK:   %[[ROWS:.*]] = arith.minsi %{{.*}}, %c16
// CHECK:   arith.truncf %{{.*}} : f32 to bf16
// CHECK:   tensor.extract_slice %arg2[0, %{{.*}}, 0, 0] [1, 2, 64, 32]
// CHECK:   linalg.generic {{.*}}floordiv 32{{.*}} : tensor<?x64xbf16>, tensor<2x64x32xbf16>) outs(%{{.*}} : tensor<?x64xf32>)
func.func @advance(%x: tensor<?x64xf32>, %n: tensor<64xbf16>, %w: tensor<256x64xbf16>) -> tensor<?x256xbf16> {
  %y = llm.dispatch(%x, %n, %w) {kernel = "narrow", tied = array<i64: -1>} : (tensor<?x64xf32>, tensor<64xbf16>, tensor<256x64xbf16>) -> tensor<?x256xbf16> {
  ^bb0(%a: tensor<?x64xf32>, %m: tensor<64xbf16>, %b: tensor<256x64xbf16>):
    %h = llm.rms_norm %a, %m {eps = 1.0e-05 : f64} : (tensor<?x64xf32>, tensor<64xbf16>) -> tensor<?x64xbf16>
    %z = llm.linear %h, %b : (tensor<?x64xbf16>, tensor<256x64xbf16>) -> tensor<?x256xbf16>
    llm.yield %z : tensor<?x256xbf16>
  }
  return %y : tensor<?x256xbf16>
}

// -----

// A step's attention: every segment of the context a workgroup, then the segments' results joined by their weights.
// CHECK-LABEL: func.func @advance
// CHECK: %[[PARTS:.*]] = llm.launch @attend(
// CHECK: llm.launch @attend_join(%[[PARTS]])
// CHECK-LABEL: func.func private @attend(
// CHECK-SAME: tensor<?x32x10xf32> {llm.dims = ["T"], llm.written}
// CHECK: scf.forall (%{{.*}}, %{{.*}}) in (%{{.*}}, 32)
// CHECK-LABEL: func.func private @attend_join(
// CHECK-SAME: %arg0: tensor<?x32x10xf32> {llm.dims = ["T"]}, %arg1: tensor<?x8xbf16> {llm.dims = ["T"], llm.written}
// CHECK: scf.forall (%{{.*}}, %{{.*}}) in (%{{.*}}, 2)
func.func @advance(%q: tensor<?x8xbf16>, %keys: tensor<?x?x4x32xbf16>, %values: tensor<?x?x4xbf16>, %s: !llm.sequences) -> tensor<?x8xbf16> {
  %y = llm.dispatch(%q, %keys, %values, %s) {kernel = "attend", tied = array<i64: -1>}
      : (tensor<?x8xbf16>, tensor<?x?x4x32xbf16>, tensor<?x?x4xbf16>, !llm.sequences) -> tensor<?x8xbf16> {
  ^bb0(%a: tensor<?x8xbf16>, %k: tensor<?x?x4x32xbf16>, %v: tensor<?x?x4xbf16>, %t: !llm.sequences):
    %z = llm.attention %a, %k, %v, %t {heads = 2 : i64, kv_heads = 1 : i64, scale = 0.5 : f64}
        : (tensor<?x8xbf16>, tensor<?x?x4x32xbf16>, tensor<?x?x4xbf16>, !llm.sequences) -> tensor<?x8xbf16>
    llm.yield %z : tensor<?x8xbf16>
  }
  return %y : tensor<?x8xbf16>
}

// -----

// A step's latent attention: queries onto the latents, 32 columns a workgroup, the rope part as it is; then segments, where both heads are
// rows of one tile that meets a block of latents as it lies, as keys and as values; then their sum, lifted 32 columns at a time. A kernel
// takes of the two packings of the weight only the one that it reads.
// CHECK-LABEL: func.func @advance
// CHECK: %[[UK:.*]] = llm.pack {{.*}} -> tensor<2x32x64xbf16>
// CHECK: %[[UV:.*]] = llm.pack {{.*}} -> tensor<2x1x64x32xbf16>
// CHECK: %[[Q:.*]] = llm.launch @latent_query(%{{[^,]*}}, %[[UK]])
// CHECK: %[[PARTS:.*]] = llm.launch @latent(%{{[^,]*}}, %{{[^,]*}}, %[[Q]])
// CHECK: llm.launch @latent_join(%[[UV]], %[[PARTS]])
// CHECK-LABEL: func.func private @latent_query(
// CHECK-SAME: tensor<?x2x96xbf16> {llm.dims = ["T"], llm.written}
// CHECK: scf.forall (%{{.*}}, %{{.*}}, %[[C:.*]]) in (2, %{{.*}}, 3)
// CHECK: scf.if
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<?x32xbf16>, tensor<32x32xbf16>) outs(%{{.*}} : tensor<?x32xf32>)
// CHECK-LABEL: func.func private @latent(
// CHECK-SAME: tensor<?x32x2x65xf32> {llm.dims = ["T"], llm.written}
// CHECK: scf.forall (%{{.*}}, %{{.*}}) in (%{{.*}}, 32)
// CHECK: %[[KEYS:.*]] = tensor.extract_slice %{{.*}} [1, 32, 96] [1, 1, 1]
// CHECK-NOT: linalg.transpose
// CHECK: linalg.generic {{.*}}affine_map<(d0, d1, d2) -> (d1, d2)>{{.*}} ins(%{{.*}}, %[[KEYS]] : tensor<2x96xbf16>, tensor<32x96xbf16>)
// CHECK-LABEL: func.func private @latent_join(
// CHECK: scf.forall (%{{.*}}, %{{.*}}) in (%{{.*}}, 2)
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<1x64xbf16>, tensor<64x32xbf16>) outs(%{{.*}} : tensor<1x32xf32>)
func.func @advance(%q: tensor<?x128xbf16>, %c: tensor<?x?x96xbf16>, %up: tensor<128x64xbf16>, %s: !llm.sequences) -> tensor<?x64xbf16> {
  %y = llm.dispatch(%q, %c, %up, %s) {kernel = "latent", tied = array<i64: -1>}
      : (tensor<?x128xbf16>, tensor<?x?x96xbf16>, tensor<128x64xbf16>, !llm.sequences) -> tensor<?x64xbf16> {
  ^bb0(%a: tensor<?x128xbf16>, %b: tensor<?x?x96xbf16>, %d: tensor<128x64xbf16>, %e: !llm.sequences):
    %o = llm.latent_attention %a, %b, %d, %e {heads = 2 : i64, nope = 32 : i64, rope = 32 : i64, scale = 0.5 : f64}
        : (tensor<?x128xbf16>, tensor<?x?x96xbf16>, tensor<128x64xbf16>, !llm.sequences) -> tensor<?x64xbf16>
    llm.yield %o : tensor<?x64xbf16>
  }
  return %y : tensor<?x64xbf16>
}

// -----

// The delta rule over a prompt: factors of the chunks, which read the convolution's tail; the scan, which updates it and the state; the rows'
// last ops. A chunk of a sequence that has none there has no rows. As heads are few, maps of segments of 64 tokens and what they add come before the scan, and
// rows in segments after it, into the scan's.
// CHECK: module attributes {llm.piece_tokens = 64 : i64}
// CHECK-LABEL: func.func @ingest
// CHECK: %[[F:.*]]:6 = llm.launch @rule_factors(%arg0, %{{.*}}, %arg3, %arg4, %arg5, %arg6, %arg8, %arg2)
// CHECK: %[[M:.*]]:2 = llm.launch @rule_maps(%arg8, %[[F]]#0, %[[F]]#2, %[[F]]#5)
// CHECK: %[[A:.*]] = llm.launch @rule_additions(%arg8, %[[F]]#0, %[[F]]#2, %[[F]]#3, %[[F]]#5)
// CHECK: %[[S:.*]]:4 = llm.launch @rule(%arg0, %arg8, %[[F]]#0, %[[F]]#1, %[[F]]#2, %[[F]]#3, %[[F]]#4, %[[F]]#5, %[[M]]#0, %[[M]]#1, %[[A]], %arg2, %arg7) {tied = array<i64: -1, -1, 11, 12>}
// CHECK: %[[R:.*]] = llm.launch @rule_segments(%arg8, %[[F]]#0, %[[F]]#1, %[[F]]#2, %[[F]]#3, %[[F]]#4, %[[F]]#5, %[[S]]#1, %[[S]]#0) {tied = array<i64: 8>}
// CHECK: %[[O:.*]] = llm.launch @rule_finish(%[[R]])
// CHECK: return %[[S]]#2, %[[S]]#3, %[[O]]
// CHECK-LABEL: func.func private @rule_factors(
// CHECK-SAME: tensor<?x3x64xbf16> {llm.dims = ["SLOTS"]}
// CHECK: scf.forall (%{{.*}}, %{{.*}}, %{{.*}}) in (%{{.*}}, 2, %{{.*}})
// CHECK: %[[SOME:.*]] = arith.maxsi
// CHECK: arith.minsi %[[SOME]], %c32
// CHECK-COUNT-12: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<32x32xbf16>, tensor<32x32xbf16>) outs(%{{.*}} : tensor<32x32xf32>)
// The state over a segment: decays of all of it in float32, a product with its map, what it adds.
// CHECK-LABEL: func.func private @rule(
// CHECK: %[[WHOLE:.*]] = arith.divui %{{.*}}, %c64
// CHECK: %[[FOLD:.*]]:2 = scf.for %{{.*}} = %c0 to %[[WHOLE]] step %c1 iter_args(%{{.*}}, %[[OLD:.*]] = %{{.*}}) -> (tensor<?x32xf32>, tensor<32x32xf32>)
// CHECK: %[[KEPT:.*]] = linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<32xf32>, tensor<32x32xf32>) outs(%[[OLD]] : tensor<32x32xf32>)
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<32x32xbf16>, tensor<32x32xbf16>) outs(%[[KEPT]] : tensor<32x32xf32>)
// CHECK: %[[AGAIN:.*]] = arith.divui %{{.*}}, %c64
// CHECK: %[[REST:.*]] = arith.muli %[[AGAIN]], %c64
// CHECK: scf.for %{{.*}} = %[[REST]] to %{{.*}} step %c32 iter_args(%{{.*}}, %{{.*}} = %[[FOLD]]#1) -> (tensor<?x32xf32>, tensor<32x32xf32>)
// CHECK-LABEL: func.func private @rule_segments(
// CHECK: %[[END:.*]] = arith.addi %[[BEGIN:.*]], %c64
// CHECK: %[[HAS:.*]] = arith.cmpi sle, %[[END]], %{{.*}}
// CHECK: %[[UPTO:.*]] = arith.select %[[HAS]], %[[END]], %[[BEGIN]]
// CHECK: scf.for %{{.*}} = %[[BEGIN]] to %[[UPTO]] step %c32
// CHECK-LABEL: func.func private @rule_finish(
func.func @ingest(%a0: tensor<?x64xbf16>, %a1: tensor<64x4xbf16>, %a2: tensor<?x3x64xbf16>, %a3: tensor<?x64xbf16>, %a4: tensor<?x64xbf16>, %a5: tensor<?x64xf32>, %a6: tensor<?x2xf32>, %a7: tensor<?x2x32x32xf32>, %a8: !llm.sequences) -> (tensor<?x3x64xbf16>, tensor<?x2x32x32xf32>, tensor<?x64xbf16>) {
  %y:3 = llm.dispatch(%a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7, %a8) {kernel = "rule", tied = array<i64: 2, 7, -1>} : (tensor<?x64xbf16>, tensor<64x4xbf16>, tensor<?x3x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xf32>, tensor<?x2xf32>, tensor<?x2x32x32xf32>, !llm.sequences)
      -> (tensor<?x3x64xbf16>, tensor<?x2x32x32xf32>, tensor<?x64xbf16>) {
  ^bb0(%b0: tensor<?x64xbf16>, %b1: tensor<64x4xbf16>, %b2: tensor<?x3x64xbf16>, %b3: tensor<?x64xbf16>, %b4: tensor<?x64xbf16>, %b5: tensor<?x64xf32>, %b6: tensor<?x2xf32>, %b7: tensor<?x2x32x32xf32>, %b8: !llm.sequences):
    %q, %t = llm.short_conv %b0, %b1, %b2, %b8 : (tensor<?x64xbf16>, tensor<64x4xbf16>, tensor<?x3x64xbf16>, !llm.sequences) -> (tensor<?x64xbf16>, tensor<?x3x64xbf16>)
    %o, %s = llm.delta_rule %q, %b3, %b4, %b5, %b6, %b7, %b8 : (tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xf32>, tensor<?x2xf32>, tensor<?x2x32x32xf32>, !llm.sequences) -> (tensor<?x64xbf16>, tensor<?x2x32x32xf32>)
    llm.yield %t, %s, %o : tensor<?x3x64xbf16>, tensor<?x2x32x32xf32>, tensor<?x64xbf16>
  }
  return %y#0, %y#1, %y#2 : tensor<?x3x64xbf16>, tensor<?x2x32x32xf32>, tensor<?x64xbf16>
}

// -----

// Over a prompt, 64 rows of a head a workgroup: its queries on the latents, 96 columns at a time, are a tile of its own, and what the rows have
// summed takes their place before it is lifted. A tile without rows does nothing. The form is for other targets.
// CHECK-LABEL: func.func private @latent(
// CHECK-SAME: tensor<?x64xbf16> {llm.dims = ["T"], llm.written}
// CHECK: scf.forall (%{{.*}}, %{{.*}}, %[[B:.*]]) in (%{{.*}}, 2, %{{.*}})
// CHECK: arith.muli %[[B]], %c64
// CHECK: %[[ROWS:.*]] = arith.minsi %{{.*}}, %c64
// CHECK: %[[SOME:.*]] = arith.cmpi sgt, %[[ROWS]], %c0
// CHECK: scf.if %[[SOME]]
// CHECK: %[[Q:.*]] = scf.for %{{.*}} = %c0 to %c192 step %c96 iter_args({{.*}}) -> (tensor<64x224xbf16>)
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<?x32xbf16>, tensor<32x96xbf16>) outs(%{{.*}} : tensor<?x96xf32>)
// CHECK: scf.for %[[J:.*]] = %c0 to %{{.*}} step %c1 iter_args({{.*}}) -> (tensor<64xf32>, tensor<64xf32>, tensor<64x192xf32>)
// CHECK: %[[KEYS:.*]] = tensor.extract_slice %{{.*}} [1, 32, 224] [1, 1, 1]
// CHECK-NOT: linalg.transpose
// CHECK: linalg.generic {{.*}}affine_map<(d0, d1, d2) -> (d1, d2)>{{.*}} ins(%[[Q]], %[[KEYS]] : tensor<64x224xbf16>, tensor<32x224xbf16>)
// CHECK: tensor.insert_slice %{{.*}} into %[[Q]][0, 0] [%[[ROWS]], 192]
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<64x192xbf16>, tensor<192x32xbf16>) outs(%{{.*}} : tensor<64x32xf32>)
func.func @score(%q: tensor<?x128xbf16>, %c: tensor<?x?x224xbf16>, %up: tensor<128x192xbf16>, %s: !llm.sequences) -> tensor<?x64xbf16> {
  %y = llm.dispatch(%q, %c, %up, %s) {kernel = "latent", tied = array<i64: -1>}
      : (tensor<?x128xbf16>, tensor<?x?x224xbf16>, tensor<128x192xbf16>, !llm.sequences) -> tensor<?x64xbf16> {
  ^bb0(%a: tensor<?x128xbf16>, %b: tensor<?x?x224xbf16>, %d: tensor<128x192xbf16>, %e: !llm.sequences):
    %o = llm.latent_attention %a, %b, %d, %e {heads = 2 : i64, nope = 32 : i64, rope = 32 : i64, scale = 0.5 : f64, form = "expanded"}
        : (tensor<?x128xbf16>, tensor<?x?x224xbf16>, tensor<128x192xbf16>, !llm.sequences) -> tensor<?x64xbf16>
    llm.yield %o : tensor<?x64xbf16>
  }
  return %y : tensor<?x64xbf16>
}
