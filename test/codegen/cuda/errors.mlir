// RUN: llmc-opt %s --distribute-tiles --lower-blocks --split-input-file -verify-diagnostics

func.func private @other(memref<4xf32>)
func.func @unknown_op(%o: memref<4xf32> {llm.written}) attributes {llm.kernel} {
  // expected-error @+1 {{kernel 'unknown_op': the CUDA target cannot distribute func.call over threads; write it with linalg.generic, or tensor.extract and tensor.insert}}
  func.call @other(%o) : (memref<4xf32>) -> ()
  return
}

// -----

func.func @strange_bound(%x: memref<4xi32>, %o: memref<4xf32> {llm.written}) attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %v = memref.load %x[%c0] : memref<4xi32>
  %n = arith.index_cast %v : i32 to index
  // expected-error @+1 {{kernel 'strange_bound': a bound of the scf.forall is not computed from constants and dims of arguments}}
  scf.forall (%i) in (%n) {
  }
  return
}

// -----

// expected-error @+1 {{kernel 'unnamed_dim': argument 0 has 1 dynamic dimensions and llm.dims names 0}}
func.func @unnamed_dim(%o: memref<?xf32> {llm.written}) attributes {llm.kernel} {
  return
}

// -----

// expected-error @+1 {{kernel 'wrong_symbol': argument 0 has an llm.dims entry that is not SYMBOL or N*SYMBOL (T, S, SLOTS, CTX, CTXB)}}
func.func @wrong_symbol(%o: memref<?xf32> {llm.written, llm.dims = ["Q"]}) attributes {llm.kernel} {
  return
}
