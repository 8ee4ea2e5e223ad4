// arch: sm_80
// C[M, N] = A[M, K] * B[N, K]^T with bf16 operands and float32 sums: cp.async in two stages, ldmatrix, mma.sync.
// A block is two warps and computes 32 x 8 elements, K is a multiple of 8.
//
//   stage of shared memory:  A 32 x 16 (1024 bytes), B 8 x 16 (256 bytes)
llvm.mlir.global external @tiles() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<2560 x i8>

llvm.func @k(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %c: !llvm.ptr<1>, %m: i32, %n: i32, %k: i32) attributes {nvvm.kernel} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c2 = arith.constant 2 : i32
  %c4 = arith.constant 4 : i32
  %c8 = arith.constant 8 : i32
  %c16 = arith.constant 16 : i32
  %c32 = arith.constant 32 : i32
  %c256 = arith.constant 256 : i32
  %c1024 = arith.constant 1024 : i32
  %stageBytes = arith.constant 1280 : i32
  %zero = arith.constant 0.0 : f32
  %tid = nvvm.read.ptx.sreg.tid.x : i32
  %block = nvvm.read.ptx.sreg.ctaid.x : i32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %warp = arith.divui %tid, %c32 : i32
  %tiles = llvm.mlir.addressof @tiles : !llvm.ptr<3>

  %n7 = arith.addi %n, %c8 : i32
  %n71 = arith.subi %n7, %c1 : i32
  %columns = arith.divui %n71, %c8 : i32
  %tileM = arith.divui %block, %columns : i32
  %tileN = arith.remui %block, %columns : i32
  %row0 = arith.muli %tileM, %c32 : i32
  %col0 = arith.muli %tileN, %c8 : i32
  %k15 = arith.addi %k, %c16 : i32
  %k151 = arith.subi %k15, %c1 : i32
  %steps = arith.divui %k151, %c16 : i32

  // What this thread copies in a step: 8 elements of a row of A, and of B in the first 16 threads.
  %copyRow = arith.divui %tid, %c2 : i32
  %copyPart = arith.remui %tid, %c2 : i32
  %copyColumn = arith.muli %copyPart, %c8 : i32
  %rowA = arith.addi %row0, %copyRow : i32
  %rowB = arith.addi %col0, %copyRow : i32
  %isRowA = arith.cmpi ult, %rowA, %m : i32
  %isRowB = arith.cmpi ult, %rowB, %n : i32
  %copiesB = arith.cmpi ult, %tid, %c16 : i32
  %placeInTile = arith.muli %tid, %c16 : i32
  %safeA = arith.select %isRowA, %rowA, %c0 : i32
  %safeB = arith.select %isRowB, %rowB, %c0 : i32
  %startA = arith.muli %safeA, %k : i32
  %startB = arith.muli %safeB, %k : i32

  // Where this lane's rows for ldmatrix are in a stage.
  %lane16 = arith.remui %lane, %c16 : i32
  %laneHalf = arith.divui %lane, %c16 : i32
  %warpRow = arith.muli %warp, %c16 : i32
  %loadRowA = arith.addi %warpRow, %lane16 : i32
  %loadA0 = arith.muli %loadRowA, %c32 : i32
  %loadA1 = arith.muli %laneHalf, %c16 : i32
  %loadA = arith.addi %loadA0, %loadA1 : i32
  %lane8 = arith.remui %lane, %c8 : i32
  %laneEighth = arith.divui %lane16, %c8 : i32
  %loadB0 = arith.muli %lane8, %c32 : i32
  %loadB1 = arith.muli %laneEighth, %c16 : i32
  %loadB2 = arith.addi %loadB0, %loadB1 : i32
  %loadB = arith.addi %loadB2, %c1024 : i32

  %last = arith.addi %steps, %c1 : i32
  %sums:4 = scf.for %step = %c0 to %last step %c1 iter_args(%s0 = %zero, %s1 = %zero, %s2 = %zero, %s3 = %zero) -> (f32, f32, f32, f32) : i32 {
    // Copy step `step`, then multiply step `step - 1`.
    %copies = arith.cmpi ult, %step, %steps : i32
    scf.if %copies {
      %parity = arith.remui %step, %c2 : i32
      %stage = arith.muli %parity, %stageBytes : i32
      %kStep = arith.muli %step, %c16 : i32
      %kAt = arith.addi %kStep, %copyColumn : i32
      %isK = arith.cmpi ult, %kAt, %k : i32
      %inA = arith.andi %isK, %isRowA : i1
      %inB = arith.andi %isK, %isRowB : i1
      %safeK = arith.select %isK, %kAt, %c0 : i32
      %bytesA = arith.select %inA, %c16, %c0 : i32
      %bytesB = arith.select %inB, %c16, %c0 : i32
      %fromA = arith.addi %startA, %safeK : i32
      %fromB = arith.addi %startB, %safeK : i32
      %sourceA = llvm.getelementptr %a[%fromA] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, bf16
      %sourceB = llvm.getelementptr %b[%fromB] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, bf16
      %toA = arith.addi %stage, %placeInTile : i32
      %toB = arith.addi %toA, %c1024 : i32
      %targetA = llvm.getelementptr %tiles[%toA] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
      %targetB = llvm.getelementptr %tiles[%toB] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
      nvvm.cp.async.shared.global %targetA, %sourceA, 16, cache = cg, %bytesA : !llvm.ptr<3>, !llvm.ptr<1>, i32
      scf.if %copiesB {
        nvvm.cp.async.shared.global %targetB, %sourceB, 16, cache = cg, %bytesB : !llvm.ptr<3>, !llvm.ptr<1>, i32
      }
    }
    nvvm.cp.async.commit.group // not: no-commit
    %multiplies = arith.cmpi ugt, %step, %c0 : i32
    %next:4 = scf.if %multiplies -> (f32, f32, f32, f32) {
      nvvm.cp.async.wait.group 1 // not: no-wait
      nvvm.barrier0 // not: no-barrier-after-wait
      %before = arith.subi %step, %c1 : i32
      %parity = arith.remui %before, %c2 : i32
      %stage = arith.muli %parity, %stageBytes : i32
      %atA = arith.addi %stage, %loadA : i32
      %atB = arith.addi %stage, %loadB : i32
      %fromA = llvm.getelementptr %tiles[%atA] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
      %fromB = llvm.getelementptr %tiles[%atB] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8 // not: misaligned
      //misaligned: %fromB0 = llvm.getelementptr %tiles[%atB] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
      //misaligned: %fromB = llvm.getelementptr %fromB0[8] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
      %fa = nvvm.ldmatrix %fromA {num = 4 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
      //divergent: %low = arith.cmpi ult, %lane, %c8 : i32
      //divergent: %poison = llvm.mlir.poison : !llvm.struct<(i32, i32)>
      //divergent: %fb = scf.if %low -> (!llvm.struct<(i32, i32)>) {
      //divergent: scf.yield %poison : !llvm.struct<(i32, i32)>
      //divergent: } else {
      //divergent: %fb1 = nvvm.ldmatrix %fromB {num = 2 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32)>
      //divergent: scf.yield %fb1 : !llvm.struct<(i32, i32)>
      //divergent: }
      %fb = nvvm.ldmatrix %fromB {num = 2 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32)> // not: divergent
      %a0 = llvm.extractvalue %fa[0] : !llvm.struct<(i32, i32, i32, i32)>
      %a1 = llvm.extractvalue %fa[1] : !llvm.struct<(i32, i32, i32, i32)>
      %a2 = llvm.extractvalue %fa[2] : !llvm.struct<(i32, i32, i32, i32)>
      %a3 = llvm.extractvalue %fa[3] : !llvm.struct<(i32, i32, i32, i32)>
      %b0 = llvm.extractvalue %fb[0] : !llvm.struct<(i32, i32)>
      %b1 = llvm.extractvalue %fb[1] : !llvm.struct<(i32, i32)>
      %d = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b0, %b1] C[%s0, %s1, %s2, %s3]
        {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<bf16>,
         multiplicandBPtxType = #nvvm.mma_type<bf16>, shape = #nvvm.shape<m = 16, n = 8, k = 16>}
        : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
      %d0 = llvm.extractvalue %d[0] : !llvm.struct<(f32, f32, f32, f32)>
      %d1 = llvm.extractvalue %d[1] : !llvm.struct<(f32, f32, f32, f32)>
      %d2 = llvm.extractvalue %d[2] : !llvm.struct<(f32, f32, f32, f32)>
      %d3 = llvm.extractvalue %d[3] : !llvm.struct<(f32, f32, f32, f32)>
      nvvm.barrier0 // not: no-barrier-before-reuse
      scf.yield %d0, %d1, %d2, %d3 : f32, f32, f32, f32
    } else {
      scf.yield %s0, %s1, %s2, %s3 : f32, f32, f32, f32
    }
    scf.yield %next#0, %next#1, %next#2, %next#3 : f32, f32, f32, f32
  }

  %group = arith.divui %lane, %c4 : i32
  %memberOfGroup = arith.remui %lane, %c4 : i32
  %r0 = arith.addi %row0, %warpRow : i32
  %rLow = arith.addi %r0, %group : i32
  %rHigh = arith.addi %rLow, %c8 : i32
  %q0 = arith.muli %memberOfGroup, %c2 : i32
  %qLow = arith.addi %col0, %q0 : i32
  %qHigh = arith.addi %qLow, %c1 : i32
  %isLowRow = arith.cmpi ult, %rLow, %m : i32
  %isHighRow = arith.cmpi ult, %rHigh, %m : i32
  %isLowColumn = arith.cmpi ult, %qLow, %n : i32
  %isHighColumn = arith.cmpi ult, %qHigh, %n : i32
  %lowStart = arith.muli %rLow, %n : i32
  %highStart = arith.muli %rHigh, %n : i32
  %i0 = arith.addi %lowStart, %qLow : i32
  %i1 = arith.addi %lowStart, %qHigh : i32
  %i2 = arith.addi %highStart, %qLow : i32
  %i3 = arith.addi %highStart, %qHigh : i32
  %in0 = arith.andi %isLowRow, %isLowColumn : i1
  %in1 = arith.andi %isLowRow, %isHighColumn : i1
  %in2 = arith.andi %isHighRow, %isLowColumn : i1
  %in3 = arith.andi %isHighRow, %isHighColumn : i1
  scf.if %in0 {
    %p = llvm.getelementptr %c[%i0] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    llvm.store %sums#0, %p : f32, !llvm.ptr<1>
  }
  scf.if %in1 {
    %p = llvm.getelementptr %c[%i1] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    llvm.store %sums#1, %p : f32, !llvm.ptr<1>
  }
  scf.if %in2 {
    %p = llvm.getelementptr %c[%i2] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    llvm.store %sums#2, %p : f32, !llvm.ptr<1>
  }
  scf.if %in3 {
    %p = llvm.getelementptr %c[%i3] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    llvm.store %sums#3, %p : f32, !llvm.ptr<1>
  }
  llvm.return
}
