// arch: sm_80
// define TYPE = bf16
// define K = 16
// define WORD = i32
// define A = %a0, %a1, %a2, %a3
// define B = %b0, %b1
// define LAYOUT = row
// Every lane's words, as they are: D[32][4] of mma.sync from A[32][words], B[32][words], C[32][4];
// ldmatrix and stmatrix on an 8 x 8 matrix.
llvm.mlir.global external @matrix() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<64 x i16>

llvm.func @mma(%a: !llvm.ptr, %b: !llvm.ptr, %c: !llvm.ptr, %d: !llvm.ptr) attributes {nvvm.kernel} {
  %c4 = arith.constant 4 : i32
  %c2 = arith.constant 2 : i32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %lane2 = arith.muli %lane, %c2 : i32
  %lane4 = arith.muli %lane, %c4 : i32
  %pa = llvm.getelementptr %a[%lane4] : (!llvm.ptr, i32) -> !llvm.ptr, i32
  %pb = llvm.getelementptr %b[%lane2] : (!llvm.ptr, i32) -> !llvm.ptr, i32
  %pc = llvm.getelementptr %c[%lane4] : (!llvm.ptr, i32) -> !llvm.ptr, f32
  %pd = llvm.getelementptr %d[%lane4] : (!llvm.ptr, i32) -> !llvm.ptr, f32
  %pa1 = llvm.getelementptr %pa[1] : (!llvm.ptr) -> !llvm.ptr, i32
  %pa2 = llvm.getelementptr %pa[2] : (!llvm.ptr) -> !llvm.ptr, i32
  %pa3 = llvm.getelementptr %pa[3] : (!llvm.ptr) -> !llvm.ptr, i32
  %pb1 = llvm.getelementptr %pb[1] : (!llvm.ptr) -> !llvm.ptr, i32
  %pc1 = llvm.getelementptr %pc[1] : (!llvm.ptr) -> !llvm.ptr, f32
  %pc2 = llvm.getelementptr %pc[2] : (!llvm.ptr) -> !llvm.ptr, f32
  %pc3 = llvm.getelementptr %pc[3] : (!llvm.ptr) -> !llvm.ptr, f32
  %a0 = llvm.load %pa : !llvm.ptr -> @WORD@
  %a1 = llvm.load %pa1 : !llvm.ptr -> @WORD@
  %a2 = llvm.load %pa2 : !llvm.ptr -> @WORD@
  %a3 = llvm.load %pa3 : !llvm.ptr -> @WORD@
  %b0 = llvm.load %pb : !llvm.ptr -> @WORD@
  %b1 = llvm.load %pb1 : !llvm.ptr -> @WORD@
  %c0 = llvm.load %pc : !llvm.ptr -> f32
  %c1 = llvm.load %pc1 : !llvm.ptr -> f32
  %c2f = llvm.load %pc2 : !llvm.ptr -> f32
  %c3 = llvm.load %pc3 : !llvm.ptr -> f32
  %r = nvvm.mma.sync A[@A@] B[@B@] C[%c0, %c1, %c2f, %c3]
    {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<@TYPE@>,
     multiplicandBPtxType = #nvvm.mma_type<@TYPE@>, shape = #nvvm.shape<m = 16, n = 8, k = @K@>}
    : (@WORD@, @WORD@, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  %pd1 = llvm.getelementptr %pd[1] : (!llvm.ptr) -> !llvm.ptr, f32
  %pd2 = llvm.getelementptr %pd[2] : (!llvm.ptr) -> !llvm.ptr, f32
  %pd3 = llvm.getelementptr %pd[3] : (!llvm.ptr) -> !llvm.ptr, f32
  %r0 = llvm.extractvalue %r[0] : !llvm.struct<(f32, f32, f32, f32)>
  %r1 = llvm.extractvalue %r[1] : !llvm.struct<(f32, f32, f32, f32)>
  %r2 = llvm.extractvalue %r[2] : !llvm.struct<(f32, f32, f32, f32)>
  %r3 = llvm.extractvalue %r[3] : !llvm.struct<(f32, f32, f32, f32)>
  llvm.store %r0, %pd : f32, !llvm.ptr
  llvm.store %r1, %pd1 : f32, !llvm.ptr
  llvm.store %r2, %pd2 : f32, !llvm.ptr
  llvm.store %r3, %pd3 : f32, !llvm.ptr
  llvm.return
}

// x[64] to shared memory as rows of 8, y[32] what ldmatrix gives every lane.
llvm.func @load(%x: !llvm.ptr, %y: !llvm.ptr) attributes {nvvm.kernel} {
  %c8 = arith.constant 8 : i32
  %all = arith.constant -1 : i32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %matrix = llvm.mlir.addressof @matrix : !llvm.ptr<3>
  %from = llvm.getelementptr %x[%lane] : (!llvm.ptr, i32) -> !llvm.ptr, i32
  %to = llvm.getelementptr %matrix[%lane] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %v = llvm.load %from : !llvm.ptr -> i32
  llvm.store %v, %to : i32, !llvm.ptr<3>
  nvvm.bar.warp.sync %all : i32
  %row = arith.remui %lane, %c8 : i32
  %start = arith.muli %row, %c8 : i32
  %address = llvm.getelementptr %matrix[%start] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i16
  %word = nvvm.ldmatrix %address {num = 1 : i32, layout = #nvvm.mma_layout<@LAYOUT@>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> i32
  %out = llvm.getelementptr %y[%lane] : (!llvm.ptr, i32) -> !llvm.ptr, i32
  llvm.store %word, %out : i32, !llvm.ptr
  llvm.return
}
