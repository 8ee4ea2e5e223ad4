// RUN: llmc-opt %s --overlap-launches | FileCheck %s
// RUN: llmc-opt %s --overlap-launches --simulate-threads | FileCheck %s --check-prefix=SIM

// CHECK-LABEL: llvm.func @kernel
// CHECK-SAME: llm.waits
// CHECK-NEXT: nvvm.griddepcontrol launch_dependents
// CHECK-NEXT: nvvm.griddepcontrol wait
// CHECK-NEXT: llvm.load
// SIM-LABEL: llvm.func @kernel(
// SIM-NOT: griddepcontrol
llvm.func @kernel(%x: !llvm.ptr) attributes {nvvm.kernel} {
  %v = llvm.load %x : !llvm.ptr -> f32
  llvm.store %v, %x : f32, !llvm.ptr
  llvm.return
}

// CHECK-LABEL: llvm.func @leaves_other_functions_alone
// CHECK-NOT: griddepcontrol
llvm.func @leaves_other_functions_alone(%x: !llvm.ptr) {
  llvm.return
}
