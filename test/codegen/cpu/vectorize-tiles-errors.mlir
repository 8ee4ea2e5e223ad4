// RUN: llmc-opt %s --vectorize-tiles -verify-diagnostics

func.func @named_op(%a: memref<8x8xf32>, %b: memref<8x8xf32>, %c: memref<8x8xf32>) {
  // expected-error @+1 {{expects linalg.generic on memrefs; run prepare-tiles and bufferize-tiles first}}
  linalg.matmul ins(%a, %b : memref<8x8xf32>, memref<8x8xf32>) outs(%c : memref<8x8xf32>)
  return
}
