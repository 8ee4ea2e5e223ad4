// arch: sm_90a
// y[i] = x[i + 1 mod 256] for 256 floats by 128 threads: a bulk copy to shared memory that an mbarrier counts, then a bulk store.
llvm.mlir.global external @barrier() {addr_space = 3 : i32, alignment = 8 : i64} : i64
llvm.mlir.global external @in() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<256 x f32>
llvm.mlir.global external @out() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<256 x f32>

llvm.func @k(%x: !llvm.ptr<1>, %y: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c128 = arith.constant 128 : i32
  %c129 = arith.constant 129 : i32
  %c255 = arith.constant 255 : i32
  %bytes = arith.constant 1024 : i32
  %tooMany = arith.constant 2048 : i32
  %ticks = arith.constant 10000000 : i32
  %tid = nvvm.read.ptx.sreg.tid.x : i32
  %barrier = llvm.mlir.addressof @barrier : !llvm.ptr<3>
  %in = llvm.mlir.addressof @in : !llvm.ptr<3>
  %out = llvm.mlir.addressof @out : !llvm.ptr<3>
  %isFirst = arith.cmpi eq, %tid, %c0 : i32
  scf.if %isFirst {
    nvvm.mbarrier.init %barrier, %c1 : !llvm.ptr<3>, i32 // not: no-init
    nvvm.fence.mbarrier.init
  }
  nvvm.barrier0 // not: no-barrier-after-init
  scf.if %isFirst {
    nvvm.mbarrier.arrive.expect_tx %barrier, %bytes : !llvm.ptr<3>, i32 // not: too-many-bytes
    //too-many-bytes: nvvm.mbarrier.arrive.expect_tx %barrier, %tooMany : !llvm.ptr<3>, i32
    %inCluster = llvm.addrspacecast %in : !llvm.ptr<3> to !llvm.ptr<7>
    nvvm.cp.async.bulk.shared.cluster.global %inCluster, %x, %barrier, %bytes : !llvm.ptr<7>, !llvm.ptr<1>
  }
  nvvm.mbarrier.try_wait.parity %barrier, %c0, %ticks : !llvm.ptr<3>, i32, i32 // not: no-wait // not: wrong-parity
  //wrong-parity: nvvm.mbarrier.try_wait.parity %barrier, %c1, %ticks : !llvm.ptr<3>, i32, i32
  %next0 = arith.addi %tid, %c1 : i32
  %next1 = arith.addi %tid, %c129 : i32
  %wrapped = arith.andi %next1, %c255 : i32
  %from0 = llvm.getelementptr %in[%next0] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  %from1 = llvm.getelementptr %in[%wrapped] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  %v0 = llvm.load %from0 : !llvm.ptr<3> -> f32
  %v1 = llvm.load %from1 : !llvm.ptr<3> -> f32
  %second = arith.addi %tid, %c128 : i32
  %to0 = llvm.getelementptr %out[%tid] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  %to1 = llvm.getelementptr %out[%second] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.store %v0, %to0 : f32, !llvm.ptr<3>
  llvm.store %v1, %to1 : f32, !llvm.ptr<3>
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>} // not: no-fence
  nvvm.barrier0
  scf.if %isFirst {
    nvvm.cp.async.bulk.global.shared.cta %y, %out, %bytes : !llvm.ptr<1>, !llvm.ptr<3>
    nvvm.cp.async.bulk.commit.group
    //overwrite: llvm.store %v0, %to0 : f32, !llvm.ptr<3>
    nvvm.cp.async.bulk.wait_group 0 {read} // not: no-store-wait
  }
  llvm.return
}

// The same to y by cp.async, which arrives at the mbarrier for every thread.
llvm.func @copies(%x: !llvm.ptr<1>, %y: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c4 = arith.constant 4 : i32
  %c64 = arith.constant 64 : i32
  %c255 = arith.constant 255 : i32
  %ticks = arith.constant 10000000 : i32
  %tid = nvvm.read.ptx.sreg.tid.x : i32
  %barrier = llvm.mlir.addressof @barrier : !llvm.ptr<3>
  %in = llvm.mlir.addressof @in : !llvm.ptr<3>
  %isFirst = arith.cmpi eq, %tid, %c0 : i32
  scf.if %isFirst {
    nvvm.mbarrier.init %barrier, %c64 : !llvm.ptr<3>, i32
  }
  nvvm.barrier0
  %at = arith.muli %tid, %c4 : i32
  %from = llvm.getelementptr %x[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %to = llvm.getelementptr %in[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  nvvm.cp.async.shared.global %to, %from, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  nvvm.cp.async.mbarrier.arrive %barrier {noinc = true} : !llvm.ptr<3>
  nvvm.mbarrier.try_wait.parity %barrier, %c0, %ticks : !llvm.ptr<3>, i32, i32 // not: no-wait
  scf.for %i = %c0 to %c4 step %c1 : i32 {
    %element = arith.addi %at, %i : i32
    %n = arith.addi %element, %c1 : i32
    %next = arith.andi %n, %c255 : i32
    %p = llvm.getelementptr %in[%next] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
    %v = llvm.load %p : !llvm.ptr<3> -> f32
    %q = llvm.getelementptr %y[%element] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    llvm.store %v, %q : f32, !llvm.ptr<1>
  }
  llvm.return
}
