// The object exports the kernel and its grid, needs nothing from outside, and is the same each time.
// RUN: llmc-compile-tiles %s x86-64-v3 elf > %t.so
// RUN: llvm-readelf --dyn-syms --relocs --dynamic %t.so | FileCheck %s
// RUN: llmc-compile-tiles %s x86-64-v3 elf > %t.again.so
// RUN: cmp %t.so %t.again.so
// RUN: not llmc-compile-tiles %s z80 2>&1 | FileCheck %s --check-prefix=LEVEL

// CHECK-NOT: NEEDED
// CHECK-NOT: INIT
// CHECK: There are no relocations
// CHECK-NOT: UND {{.+}}
// CHECK-DAG: FUNC GLOBAL PROTECTED {{.*}} fill{{$}}
// CHECK-DAG: FUNC GLOBAL PROTECTED {{.*}} fill.grid
// CHECK-NOT: memset
// LEVEL: error: unknown CPU level 'z80': expects x86-64-v3, x86-64-v4 or native
func.func @fill(%o: tensor<?x5000xf32> {llm.dims = ["T"], llm.written}) -> tensor<?x5000xf32> attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %T = tensor.dim %o, %c0 : tensor<?x5000xf32>
  %r = scf.forall (%t) in (%T) shared_outs(%oo = %o) -> (tensor<?x5000xf32>) {
    %dst = tensor.extract_slice %oo[%t, 0] [1, 5000] [1, 1] : tensor<?x5000xf32> to tensor<5000xf32>
    %y = linalg.fill ins(%zero : f32) outs(%dst : tensor<5000xf32>) -> tensor<5000xf32>
    scf.forall.in_parallel { tensor.parallel_insert_slice %y into %oo[%t, 0] [1, 5000] [1, 1] : tensor<5000xf32> into tensor<?x5000xf32> }
  }
  return %r : tensor<?x5000xf32>
}
