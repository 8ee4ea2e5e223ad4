// RUN: llmc-opt %s --simulate-threads | FileCheck %s

// CHECK-NOT: @shared
llvm.mlir.global internal @shared() {addr_space = 3 : i32} : !llvm.array<64 x f32>
llvm.mlir.global external @dynamic() {addr_space = 3 : i32} : !llvm.array<0 x i8>

// CHECK: llvm.mlir.global internal constant @k.parameter_bytes(dense<[8, 8, 0]> : tensor<3xi64>)
// CHECK-LABEL: llvm.func @k.parameters() -> !llvm.ptr
// CHECK: llvm.mlir.addressof @k.parameter_bytes

// CHECK-LABEL: llvm.func @k.static_shared() -> i64
// CHECK: llvm.mlir.constant(257 : i64)
// CHECK-LABEL: llvm.func @k.abi() -> i64

// CHECK-LABEL: llvm.func @k(%arg0: !llvm.ptr, %arg1: !llvm.ptr)
// CHECK: llvm.getelementptr %arg1[0]
// CHECK: llvm.getelementptr %arg1[8]
// CHECK: %[[FUNCTIONS:.*]] = llvm.load %{{.*}} : !llvm.ptr -> !llvm.ptr
// CHECK: %[[TID:.*]] = llvm.load %{{.*}} : !llvm.ptr -> i32
// CHECK-NOT: !llvm.ptr<3>
// CHECK: %[[WHAT:.*]] = llvm.mlir.addressof @k.llvm.load.1 : !llvm.ptr
// CHECK: llvm.call %{{.*}}(%arg0, %[[WHAT]], %[[P:.*]], %{{.*}}) {convergent} : !llvm.ptr, (!llvm.ptr, !llvm.ptr, !llvm.ptr, i64) -> ()
// CHECK-NEXT: %[[V:.*]] = llvm.load %[[P]]
// CHECK: llvm.call {{.*}} {convergent}
// CHECK-NEXT: llvm.store %[[V]]
// CHECK-NOT: nvvm
// CHECK: %[[SITE:.*]] = llvm.mlir.addressof @k.nvvm.barrier0.1 : !llvm.ptr
// CHECK: llvm.call %{{.*}}(%arg0, %[[SITE]], %{{.*}}) {convergent} : !llvm.ptr, (!llvm.ptr, !llvm.ptr, i32, i32, i32, i32) -> i32
llvm.func @k(%x: !llvm.ptr, %n: i64) attributes {nvvm.kernel, nvvm.maxntid = array<i32: 64>} {
  %tid = nvvm.read.ptx.sreg.tid.x : i32
  %s = llvm.mlir.addressof @shared : !llvm.ptr<3>
  %p = llvm.getelementptr %x[%tid] : (!llvm.ptr, i32) -> !llvm.ptr, f32
  %v = llvm.load %p : !llvm.ptr -> f32
  %q = llvm.getelementptr %s[%tid] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.store %v, %q : f32, !llvm.ptr<3>
  nvvm.barrier0
  llvm.return
}

// bf16 is moved as bits: a value that lives across blocks needs no conversion of the CPU's.
// CHECK-LABEL: llvm.func @bits
// CHECK-NOT: bf16
// CHECK: llvm.mlir.constant(32704 : i16) : i16
// CHECK: llvm.br ^bb1(%{{.*}} : i16)
// CHECK: ^bb1(%{{.*}}: i16):
llvm.func @bits(%x: !llvm.ptr) attributes {nvvm.kernel, nvvm.maxntid = array<i32: 64>} {
  %nan = llvm.mlir.constant(0x7FC0 : bf16) : bf16
  %v = llvm.load %x : !llvm.ptr -> bf16
  llvm.br ^bb1(%nan : bf16)
^bb1(%w: bf16):
  llvm.store %w, %x : bf16, !llvm.ptr
  %u = llvm.mlir.constant(dense<1.0> : vector<2xbf16>) : vector<2xbf16>
  llvm.store %u, %x : vector<2xbf16>, !llvm.ptr
  llvm.return
}
