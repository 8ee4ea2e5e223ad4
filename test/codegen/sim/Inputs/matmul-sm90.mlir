// arch: sm_90a
// C[M, N] = A[M, K] * B[N, K]^T with bf16 operands and float32 sums: tensor maps, mbarriers and wgmma. A block is one warpgroup and
// computes 64 x 16 elements in steps of 64 along K; two stages. What lies out of bounds is zero.
//
//   stage of shared memory:  A 64 rows of 128 bytes (8192), B 16 rows (2048), both in the pattern of the 128-byte swizzle
// define SWIZZLE = 4611686018427387904
llvm.mlir.global external @tiles() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<20480 x i8>
llvm.mlir.global external @barriers() {addr_space = 3 : i32, alignment = 8 : i64} : !llvm.array<2 x i64>

llvm.func @k(%mapA: !llvm.ptr, %mapB: !llvm.ptr, %c: !llvm.ptr<1>, %m: i32, %n: i32, %k: i32) attributes {nvvm.kernel} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c2 = arith.constant 2 : i32
  %c4 = arith.constant 4 : i32
  %c8 = arith.constant 8 : i32
  %c16 = arith.constant 16 : i32
  %c32 = arith.constant 32 : i32
  %c63 = arith.constant 63 : i32
  %c64 = arith.constant 64 : i32
  %c15 = arith.constant 15 : i32
  %c8192 = arith.constant 8192 : i32
  %stageBytes = arith.constant 10240 : i32
  %ticks = arith.constant 10000000 : i32
  %zero = arith.constant 0.0 : f32
  %tid = nvvm.read.ptx.sreg.tid.x : i32
  %block = nvvm.read.ptx.sreg.ctaid.x : i32
  %tiles = llvm.mlir.addressof @tiles : !llvm.ptr<3>
  %barriers = llvm.mlir.addressof @barriers : !llvm.ptr<3>
  %n15 = arith.addi %n, %c15 : i32
  %columns = arith.divui %n15, %c16 : i32
  %tileM = arith.divui %block, %columns : i32
  %tileN = arith.remui %block, %columns : i32
  %row0 = arith.muli %tileM, %c64 : i32
  %col0 = arith.muli %tileN, %c16 : i32
  %k63 = arith.addi %k, %c63 : i32
  %steps = arith.divui %k63, %c64 : i32
  %isFirst = arith.cmpi eq, %tid, %c0 : i32
  scf.if %isFirst {
    %second = llvm.getelementptr %barriers[1] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i64
    nvvm.mbarrier.init %barriers, %c1 : !llvm.ptr<3>, i32
    nvvm.mbarrier.init %second, %c1 : !llvm.ptr<3>, i32
    nvvm.fence.mbarrier.init
  }
  nvvm.barrier0
  %e0 = llvm.mlir.poison : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %e1 = llvm.insertvalue %zero, %e0[0] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %e2 = llvm.insertvalue %zero, %e1[1] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %e3 = llvm.insertvalue %zero, %e2[2] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %e4 = llvm.insertvalue %zero, %e3[3] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %e5 = llvm.insertvalue %zero, %e4[4] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %e6 = llvm.insertvalue %zero, %e5[5] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %e7 = llvm.insertvalue %zero, %e6[6] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %e8 = llvm.insertvalue %zero, %e7[7] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %last = arith.addi %steps, %c1 : i32
  %sums = scf.for %step = %c0 to %last step %c1 iter_args(%s = %e8) -> (!llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>) : i32 {
    // Load step `step`, then multiply step `step - 1`.
    %loads = arith.cmpi ult, %step, %steps : i32
    %issues = arith.andi %loads, %isFirst : i1
    scf.if %issues {
      %parity = arith.remui %step, %c2 : i32
      %stage = arith.muli %parity, %stageBytes : i32
      %barrier = llvm.getelementptr %barriers[%parity] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i64
      %a = llvm.getelementptr %tiles[%stage] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
      %b = llvm.getelementptr %a[8192] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8 // not: misaligned
      //misaligned: %b = llvm.getelementptr %a[8320] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
      %kAt = arith.muli %step, %c64 : i32
      nvvm.mbarrier.arrive.expect_tx %barrier, %stageBytes : !llvm.ptr<3>, i32
      %aCluster = llvm.addrspacecast %a : !llvm.ptr<3> to !llvm.ptr<7>
      %bCluster = llvm.addrspacecast %b : !llvm.ptr<3> to !llvm.ptr<7>
      nvvm.cp.async.bulk.tensor.shared.cluster.global %aCluster, %mapA, %barrier, box[%kAt, %row0] : !llvm.ptr<7>, !llvm.ptr
      nvvm.cp.async.bulk.tensor.shared.cluster.global %bCluster, %mapB, %barrier, box[%kAt, %col0] : !llvm.ptr<7>, !llvm.ptr
    }
    %multiplies = arith.cmpi ugt, %step, %c0 : i32
    %next = scf.if %multiplies -> (!llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>) {
      %before = arith.subi %step, %c1 : i32
      %parity = arith.remui %before, %c2 : i32
      %stage = arith.muli %parity, %stageBytes : i32
      %barrier = llvm.getelementptr %barriers[%parity] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i64
      %turn = arith.divui %before, %c2 : i32
      %phase = arith.remui %turn, %c2 : i32 // not: wrong-parity
      //wrong-parity: %right = arith.remui %turn, %c2 : i32
      //wrong-parity: %phase = arith.xori %right, %c1 : i32
      nvvm.mbarrier.try_wait.parity %barrier, %phase, %ticks : !llvm.ptr<3>, i32, i32 // not: no-wait
      // Descriptors: address / 16, leading offset unused, stride 1024 bytes between groups of 8 rows, swizzle.
      %a = llvm.getelementptr %tiles[%stage] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
      %address = llvm.ptrtoint %a : !llvm.ptr<3> to i64
      %mask = arith.constant 262143 : i64
      %four = arith.constant 4 : i64
      %inWindow = arith.andi %address, %mask : i64
      %start = arith.shrui %inWindow, %four : i64
      %form = arith.constant 274877972480 : i64 // 64 << 32 | 1 << 16
      %swizzle = arith.constant @SWIZZLE@ : i64
      %d0 = arith.ori %start, %form : i64
      %da0 = arith.ori %d0, %swizzle : i64
      %bAway = arith.constant 512 : i64
      %db0 = arith.addi %da0, %bAway : i64
      %kAway = arith.constant 2 : i64
      %da1 = arith.addi %da0, %kAway : i64
      %da2 = arith.addi %da1, %kAway : i64
      %da3 = arith.addi %da2, %kAway : i64
      %db1 = arith.addi %db0, %kAway : i64
      %db2 = arith.addi %db1, %kAway : i64
      %db3 = arith.addi %db2, %kAway : i64
      nvvm.wgmma.fence.aligned // not: no-wgmma-fence
      %r0 = nvvm.wgmma.mma_async %da0, %db0, %s, <m = 64, n = 16, k = 16>,
        D [<f32>, #nvvm.wgmma_scale_out<one>], A [<bf16>, #nvvm.wgmma_scale_in<one>, #nvvm.mma_layout<row>],
        B [<bf16>, #nvvm.wgmma_scale_in<one>, #nvvm.mma_layout<col>] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)> -> !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
      %r1 = nvvm.wgmma.mma_async %da1, %db1, %r0, <m = 64, n = 16, k = 16>,
        D [<f32>, #nvvm.wgmma_scale_out<one>], A [<bf16>, #nvvm.wgmma_scale_in<one>, #nvvm.mma_layout<row>],
        B [<bf16>, #nvvm.wgmma_scale_in<one>, #nvvm.mma_layout<col>] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)> -> !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
      %r2 = nvvm.wgmma.mma_async %da2, %db2, %r1, <m = 64, n = 16, k = 16>,
        D [<f32>, #nvvm.wgmma_scale_out<one>], A [<bf16>, #nvvm.wgmma_scale_in<one>, #nvvm.mma_layout<row>],
        B [<bf16>, #nvvm.wgmma_scale_in<one>, #nvvm.mma_layout<col>] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)> -> !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
      %r3 = nvvm.wgmma.mma_async %da3, %db3, %r2, <m = 64, n = 16, k = 16>,
        D [<f32>, #nvvm.wgmma_scale_out<one>], A [<bf16>, #nvvm.wgmma_scale_in<one>, #nvvm.mma_layout<row>],
        B [<bf16>, #nvvm.wgmma_scale_in<one>, #nvvm.mma_layout<col>] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)> -> !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
      nvvm.wgmma.commit.group.sync.aligned // not: no-wgmma-commit
      //overwrite: scf.if %isFirst {
      //overwrite: llvm.store %zero, %a : f32, !llvm.ptr<3>
      //overwrite: }
      nvvm.wgmma.wait.group.sync.aligned 0 // not: no-wgmma-wait
      nvvm.barrier0
      scf.yield %r3 : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
    } else {
      scf.yield %s : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
    }
    scf.yield %next : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  }
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %warp = arith.divui %tid, %c32 : i32
  %warpRow = arith.muli %warp, %c16 : i32
  %group = arith.divui %lane, %c4 : i32
  %memberOfGroup = arith.remui %lane, %c4 : i32
  %pair = arith.muli %memberOfGroup, %c2 : i32
  %r0 = arith.addi %row0, %warpRow : i32
  %r00 = arith.addi %r0, %group : i32
  %q00 = arith.addi %col0, %pair : i32
  %v0 = llvm.extractvalue %sums[0] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %dr0 = arith.constant 0 : i32
  %dq0 = arith.constant 0 : i32
  %row0x = arith.addi %r00, %dr0 : i32
  %col0x = arith.addi %q00, %dq0 : i32
  %inRow0 = arith.cmpi ult, %row0x, %m : i32
  %inCol0 = arith.cmpi ult, %col0x, %n : i32
  %in0 = arith.andi %inRow0, %inCol0 : i1
  scf.if %in0 {
    %start = arith.muli %row0x, %n : i32
    %at = arith.addi %start, %col0x : i32
    %p = llvm.getelementptr %c[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    llvm.store %v0, %p : f32, !llvm.ptr<1>
  }
  %v1 = llvm.extractvalue %sums[1] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %dr1 = arith.constant 0 : i32
  %dq1 = arith.constant 1 : i32
  %row1x = arith.addi %r00, %dr1 : i32
  %col1x = arith.addi %q00, %dq1 : i32
  %inRow1 = arith.cmpi ult, %row1x, %m : i32
  %inCol1 = arith.cmpi ult, %col1x, %n : i32
  %in1 = arith.andi %inRow1, %inCol1 : i1
  scf.if %in1 {
    %start = arith.muli %row1x, %n : i32
    %at = arith.addi %start, %col1x : i32
    %p = llvm.getelementptr %c[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    llvm.store %v1, %p : f32, !llvm.ptr<1>
  }
  %v2 = llvm.extractvalue %sums[2] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %dr2 = arith.constant 8 : i32
  %dq2 = arith.constant 0 : i32
  %row2x = arith.addi %r00, %dr2 : i32
  %col2x = arith.addi %q00, %dq2 : i32
  %inRow2 = arith.cmpi ult, %row2x, %m : i32
  %inCol2 = arith.cmpi ult, %col2x, %n : i32
  %in2 = arith.andi %inRow2, %inCol2 : i1
  scf.if %in2 {
    %start = arith.muli %row2x, %n : i32
    %at = arith.addi %start, %col2x : i32
    %p = llvm.getelementptr %c[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    llvm.store %v2, %p : f32, !llvm.ptr<1>
  }
  %v3 = llvm.extractvalue %sums[3] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %dr3 = arith.constant 8 : i32
  %dq3 = arith.constant 1 : i32
  %row3x = arith.addi %r00, %dr3 : i32
  %col3x = arith.addi %q00, %dq3 : i32
  %inRow3 = arith.cmpi ult, %row3x, %m : i32
  %inCol3 = arith.cmpi ult, %col3x, %n : i32
  %in3 = arith.andi %inRow3, %inCol3 : i1
  scf.if %in3 {
    %start = arith.muli %row3x, %n : i32
    %at = arith.addi %start, %col3x : i32
    %p = llvm.getelementptr %c[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    llvm.store %v3, %p : f32, !llvm.ptr<1>
  }
  %v4 = llvm.extractvalue %sums[4] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %dr4 = arith.constant 0 : i32
  %dq4 = arith.constant 8 : i32
  %row4x = arith.addi %r00, %dr4 : i32
  %col4x = arith.addi %q00, %dq4 : i32
  %inRow4 = arith.cmpi ult, %row4x, %m : i32
  %inCol4 = arith.cmpi ult, %col4x, %n : i32
  %in4 = arith.andi %inRow4, %inCol4 : i1
  scf.if %in4 {
    %start = arith.muli %row4x, %n : i32
    %at = arith.addi %start, %col4x : i32
    %p = llvm.getelementptr %c[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    llvm.store %v4, %p : f32, !llvm.ptr<1>
  }
  %v5 = llvm.extractvalue %sums[5] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %dr5 = arith.constant 0 : i32
  %dq5 = arith.constant 9 : i32
  %row5x = arith.addi %r00, %dr5 : i32
  %col5x = arith.addi %q00, %dq5 : i32
  %inRow5 = arith.cmpi ult, %row5x, %m : i32
  %inCol5 = arith.cmpi ult, %col5x, %n : i32
  %in5 = arith.andi %inRow5, %inCol5 : i1
  scf.if %in5 {
    %start = arith.muli %row5x, %n : i32
    %at = arith.addi %start, %col5x : i32
    %p = llvm.getelementptr %c[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    llvm.store %v5, %p : f32, !llvm.ptr<1>
  }
  %v6 = llvm.extractvalue %sums[6] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %dr6 = arith.constant 8 : i32
  %dq6 = arith.constant 8 : i32
  %row6x = arith.addi %r00, %dr6 : i32
  %col6x = arith.addi %q00, %dq6 : i32
  %inRow6 = arith.cmpi ult, %row6x, %m : i32
  %inCol6 = arith.cmpi ult, %col6x, %n : i32
  %in6 = arith.andi %inRow6, %inCol6 : i1
  scf.if %in6 {
    %start = arith.muli %row6x, %n : i32
    %at = arith.addi %start, %col6x : i32
    %p = llvm.getelementptr %c[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    llvm.store %v6, %p : f32, !llvm.ptr<1>
  }
  %v7 = llvm.extractvalue %sums[7] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
  %dr7 = arith.constant 8 : i32
  %dq7 = arith.constant 9 : i32
  %row7x = arith.addi %r00, %dr7 : i32
  %col7x = arith.addi %q00, %dq7 : i32
  %inRow7 = arith.cmpi ult, %row7x, %m : i32
  %inCol7 = arith.cmpi ult, %col7x, %n : i32
  %in7 = arith.andi %inRow7, %inCol7 : i1
  scf.if %in7 {
    %start = arith.muli %row7x, %n : i32
    %at = arith.addi %start, %col7x : i32
    %p = llvm.getelementptr %c[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    llvm.store %v7, %p : f32, !llvm.ptr<1>
  }
  llvm.return
}
