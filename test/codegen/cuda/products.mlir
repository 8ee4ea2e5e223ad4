// RUN: llmc-compile-tiles %s sm_80 | FileCheck %s --check-prefixes=CHECK,SM80
// RUN: llmc-compile-tiles %s sm_90a | FileCheck %s --check-prefixes=CHECK,SM90
// RUN: llmc-compile-tiles %s sm_80 assemble 2>&1 | FileCheck %s --check-prefix=CUBIN
// RUN: llmc-compile-tiles %s sm_90a assemble 2>&1 | FileCheck %s --check-prefix=CUBIN
// CUBIN-NOT: Potential Performance Loss
// CUBIN: {{assembled for sm_(80|90a)|no ptxas on this machine: PTX is not assembled}}
// CUBIN-NOT: {{[1-9][0-9]* bytes spilled}}

// 128 x 128 of a product with a residual: a ring of stages filled 16 bytes at a time, fragments by ldmatrix, accumulators and epilogue in
// registers. In the loop nothing goes to local memory, and nothing is stored to shared memory but by the copies.
// SM80: .visible .entry tiled(
// SM80: .maxntid 256
// SM80-NOT: .local
// SM80-COUNT-12: cp.async.cg.shared.global {{.*}}, 16
// SM80-NOT: st.shared
// SM80: cp.async.commit_group;
// SM80: ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16
// SM80: ldmatrix.sync.aligned.m8n8.x4.shared.b16
// SM80-COUNT-32: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// SM80: cp.async.wait_group 2;
// SM80-NEXT: bar.sync 0;
// SM80: cp.async.cg.shared.global
// SM80-NOT: st.shared
// SM80: ld.global.nc.v2.b16
// SM80: cvt.rn.bf16x2.f32
// SM80: st.global.b32
// SM80: ret;
// On warpgroups: 8 warps multiply what one thread of a ninth has copied, 32 KiB at a time. Operands go from shared memory into the product
// without passing through registers, and nothing goes to local memory.
// SM90: .visible .entry tiled(
// SM90: .param .align 64 .b8 tiled_param_11[128],
// SM90: .param .align 64 .b8 tiled_param_12[128]
// SM90: .maxntid 288
// SM90-NOT: .local
// SM90-NOT: ldmatrix
// SM90-COUNT-8: mbarrier.init.shared.b64
// SM90: fence.mbarrier_init
// SM90: bar.sync 0;
// SM90-NOT: st.shared
// SM90: mbarrier.try_wait.parity.shared.b64
// SM90: wgmma.fence.sync.aligned;
// SM90-COUNT-4: wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16
// SM90: wgmma.commit_group.sync.aligned;
// SM90-NEXT: wgmma.wait_group.sync.aligned 1;
// SM90: mbarrier.arrive.shared.b64
// SM90: mbarrier.try_wait.parity.shared.b64
// SM90: mbarrier.arrive.expect_tx.shared.b64
// SM90: cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes
// SM90: cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes
// SM90: wgmma.wait_group.sync.aligned 0;
// SM90-NOT: {{ld|st}}.shared
// SM90: ld.global.nc.v2.b16
// SM90: cvt.rn.bf16x2.f32
// SM90: st.global.b32
// SM90: ret;
func.func @tiled(%x: tensor<?x4096xbf16> {llm.dims = ["T"]}, %w: tensor<1x32x4096x32xbf16>, %r: tensor<?x1024xbf16> {llm.dims = ["T"]},
                 %o: tensor<?x1024xbf16> {llm.dims = ["T"], llm.written}) -> tensor<?x1024xbf16> attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %c4 = arith.constant 4 : index
  %c128 = arith.constant 128 : index
  %zero = arith.constant 0.0 : f32
  %t = tensor.dim %x, %c0 : tensor<?x4096xbf16>
  %blocks = arith.ceildivui %t, %c128 : index
  %done = scf.forall (%c, %b) in (8, %blocks) shared_outs(%oo = %o) -> (tensor<?x1024xbf16>) {
    %row = arith.muli %b, %c128 : index
    %rest = arith.subi %t, %row : index
    %rows = arith.minsi %rest, %c128 : index
    %column = arith.muli %c, %c128 : index
    %panel = arith.muli %c, %c4 : index
    %a = tensor.extract_slice %x[%row, 0] [%rows, 4096] [1, 1] : tensor<?x4096xbf16> to tensor<?x4096xbf16>
    %p = tensor.extract_slice %w[0, %panel, 0, 0] [1, 4, 4096, 32] [1, 1, 1, 1] : tensor<1x32x4096x32xbf16> to tensor<4x4096x32xbf16>
    %e = tensor.empty(%rows) : tensor<?x128xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<?x128xf32>) -> tensor<?x128xf32>
    %s = linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n floordiv 32, k, n mod 32)>, affine_map<(m, n, k) -> (m, n)>],
                         iterator_types = ["parallel", "parallel", "reduction"]}
        ins(%a, %p : tensor<?x4096xbf16>, tensor<4x4096x32xbf16>) outs(%f : tensor<?x128xf32>) {
    ^bb0(%u: bf16, %v: bf16, %acc: f32):
      %u32 = arith.extf %u : bf16 to f32
      %v32 = arith.extf %v : bf16 to f32
      %uv = arith.mulf %u32, %v32 : f32
      %sum = arith.addf %acc, %uv : f32
      linalg.yield %sum : f32
    } -> tensor<?x128xf32>
    %residual = tensor.extract_slice %r[%row, %column] [%rows, 128] [1, 1] : tensor<?x1024xbf16> to tensor<?x128xbf16>
    %into = tensor.extract_slice %oo[%row, %column] [%rows, 128] [1, 1] : tensor<?x1024xbf16> to tensor<?x128xbf16>
    %y = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m, n)>],
                         iterator_types = ["parallel", "parallel"]}
        ins(%s, %residual : tensor<?x128xf32>, tensor<?x128xbf16>) outs(%into : tensor<?x128xbf16>) {
    ^bb0(%u: f32, %v: bf16, %old: bf16):
      %v32 = arith.extf %v : bf16 to f32
      %sum = arith.addf %u, %v32 : f32
      %short = arith.truncf %sum : f32 to bf16
      linalg.yield %short : bf16
    } -> tensor<?x128xbf16>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %y into %oo[%row, %column] [%rows, 128] [1, 1] : tensor<?x128xbf16> into tensor<?x1024xbf16>
    }
  }
  return %done : tensor<?x1024xbf16>
}

// 16 rows by 64 columns: weights 16 bytes at a time straight into registers, all of a group's loads before its products.
// CHECK: .visible .entry streamed(
// CHECK-NOT: .local
// CHECK-NOT: ldmatrix
// CHECK-NOT: cp.async
// CHECK-COUNT-8: ld.global.nc.v4.b32
// CHECK: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK: ret;
func.func @streamed(%x: tensor<?x4096xbf16> {llm.dims = ["T"]}, %w: tensor<1x32x4096x32xbf16>, %o: tensor<?x1024xbf16> {llm.dims = ["T"], llm.written})
    -> tensor<?x1024xbf16> attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %zero = arith.constant 0.0 : f32
  %t = tensor.dim %x, %c0 : tensor<?x4096xbf16>
  %blocks = arith.ceildivui %t, %c16 : index
  %done = scf.forall (%c, %b) in (16, %blocks) shared_outs(%oo = %o) -> (tensor<?x1024xbf16>) {
    %row = arith.muli %b, %c16 : index
    %rest = arith.subi %t, %row : index
    %rows = arith.minsi %rest, %c16 : index
    %column = arith.muli %c, %c64 : index
    %panel = arith.muli %c, %c2 : index
    %a = tensor.extract_slice %x[%row, 0] [%rows, 4096] [1, 1] : tensor<?x4096xbf16> to tensor<?x4096xbf16>
    %p = tensor.extract_slice %w[0, %panel, 0, 0] [1, 2, 4096, 32] [1, 1, 1, 1] : tensor<1x32x4096x32xbf16> to tensor<2x4096x32xbf16>
    %e = tensor.empty(%rows) : tensor<?x64xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<?x64xf32>) -> tensor<?x64xf32>
    %s = linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n floordiv 32, k, n mod 32)>, affine_map<(m, n, k) -> (m, n)>],
                         iterator_types = ["parallel", "parallel", "reduction"]}
        ins(%a, %p : tensor<?x4096xbf16>, tensor<2x4096x32xbf16>) outs(%f : tensor<?x64xf32>) {
    ^bb0(%u: bf16, %v: bf16, %acc: f32):
      %u32 = arith.extf %u : bf16 to f32
      %v32 = arith.extf %v : bf16 to f32
      %uv = arith.mulf %u32, %v32 : f32
      %sum = arith.addf %acc, %uv : f32
      linalg.yield %sum : f32
    } -> tensor<?x64xf32>
    %into = tensor.extract_slice %oo[%row, %column] [%rows, 64] [1, 1] : tensor<?x1024xbf16> to tensor<?x64xbf16>
    %y = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m, n)>], iterator_types = ["parallel", "parallel"]}
        ins(%s : tensor<?x64xf32>) outs(%into : tensor<?x64xbf16>) {
    ^bb0(%u: f32, %old: bf16):
      %short = arith.truncf %u : f32 to bf16
      linalg.yield %short : bf16
    } -> tensor<?x64xbf16>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %y into %oo[%row, %column] [%rows, 64] [1, 1] : tensor<?x64xbf16> into tensor<?x1024xbf16>
    }
  }
  return %done : tensor<?x1024xbf16>
}

// 128 x 256 of the same: twice the accumulators, in registers still, and half as many bytes of a for each product. A warpgroup has 64 x 256.
// Two blocks with tiles of the same columns are a cluster: each fetches half of b for both, and a slot is empty when all warps of both say so.
// SM80: .visible .entry wide(
// SM80: .maxntid 256
// SM80-NOT: .local
// SM80-COUNT-64: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// SM80: ret;
// SM90: .visible .entry wide(
// SM90: .maxntid 288
// SM90: .reqnctapercluster 2
// SM90-NOT: .local
// SM90: mov.b32 [[COUNT:%r[0-9]+]], 16;
// SM90: mbarrier.init.shared.b64 {{.*}}, [[COUNT]];
// SM90: fence.mbarrier_init.release.cluster;
// SM90: barrier.cluster.arrive.aligned;
// SM90: barrier.cluster.wait.aligned;
// SM90-NOT: {{ld|st}}.shared
// SM90-COUNT-4: wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16
// SM90: mapa.shared::cluster
// SM90: mbarrier.arrive.release.cluster.shared::cluster.b64
// SM90: cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [
// SM90: cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster
// SM90-NOT: {{ld|st}}.shared
// SM90: barrier.cluster.arrive.aligned;
// SM90: barrier.cluster.wait.aligned;
// SM90: ret;
func.func @wide(%x: tensor<?x4096xbf16> {llm.dims = ["T"]}, %w: tensor<1x256x4096x32xbf16>, %r: tensor<?x8192xbf16> {llm.dims = ["T"]},
                 %o: tensor<?x8192xbf16> {llm.dims = ["T"], llm.written}) -> tensor<?x8192xbf16> attributes {llm.kernel, llm.rows_together = 16 : i64} {
  %c0 = arith.constant 0 : index
  %c8 = arith.constant 8 : index
  %c128 = arith.constant 128 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant 0.0 : f32
  %t = tensor.dim %x, %c0 : tensor<?x4096xbf16>
  %blocks = arith.ceildivui %t, %c128 : index
  %done = scf.forall (%c, %b) in (32, %blocks) shared_outs(%oo = %o) -> (tensor<?x8192xbf16>) {
    %row = arith.muli %b, %c128 : index
    %below = arith.subi %t, %row : index
    %rest = arith.maxsi %below, %c0 : index
    %rows = arith.minsi %rest, %c128 : index
    %column = arith.muli %c, %c256 : index
    %panel = arith.muli %c, %c8 : index
    %a = tensor.extract_slice %x[%row, 0] [%rows, 4096] [1, 1] : tensor<?x4096xbf16> to tensor<?x4096xbf16>
    %p = tensor.extract_slice %w[0, %panel, 0, 0] [1, 8, 4096, 32] [1, 1, 1, 1] : tensor<1x256x4096x32xbf16> to tensor<8x4096x32xbf16>
    %e = tensor.empty(%rows) : tensor<?x256xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<?x256xf32>) -> tensor<?x256xf32>
    %s = linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n floordiv 32, k, n mod 32)>, affine_map<(m, n, k) -> (m, n)>],
                         iterator_types = ["parallel", "parallel", "reduction"]}
        ins(%a, %p : tensor<?x4096xbf16>, tensor<8x4096x32xbf16>) outs(%f : tensor<?x256xf32>) {
    ^bb0(%u: bf16, %v: bf16, %acc: f32):
      %u32 = arith.extf %u : bf16 to f32
      %v32 = arith.extf %v : bf16 to f32
      %uv = arith.mulf %u32, %v32 : f32
      %sum = arith.addf %acc, %uv : f32
      linalg.yield %sum : f32
    } -> tensor<?x256xf32>
    %residual = tensor.extract_slice %r[%row, %column] [%rows, 256] [1, 1] : tensor<?x8192xbf16> to tensor<?x256xbf16>
    %into = tensor.extract_slice %oo[%row, %column] [%rows, 256] [1, 1] : tensor<?x8192xbf16> to tensor<?x256xbf16>
    %y = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m, n)>],
                         iterator_types = ["parallel", "parallel"]}
        ins(%s, %residual : tensor<?x256xf32>, tensor<?x256xbf16>) outs(%into : tensor<?x256xbf16>) {
    ^bb0(%u: f32, %v: bf16, %old: bf16):
      %v32 = arith.extf %v : bf16 to f32
      %sum = arith.addf %u, %v32 : f32
      %short = arith.truncf %sum : f32 to bf16
      linalg.yield %short : bf16
    } -> tensor<?x256xbf16>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %y into %oo[%row, %column] [%rows, 256] [1, 1] : tensor<?x256xbf16> into tensor<?x8192xbf16>
    }
  }
  return %done : tensor<?x8192xbf16>
}
