// RUN: llmc-opt %s --lower-workgroups --split-input-file -verify-diagnostics

// expected-error @+1 {{kernel 'unnamed_dim': argument 0 has 1 dynamic dimensions and llm.dims names 0}}
func.func @unnamed_dim(%o: memref<?xf32> {llm.written}) attributes {llm.kernel} {
  return
}

// -----

// expected-error @+1 {{kernel 'unknown_symbol': argument 0 has an llm.dims entry that is not SYMBOL or N*SYMBOL (T, S, SLOTS, CTX, CTXB)}}
func.func @unknown_symbol(%o: memref<?xf32> {llm.dims = ["Q"], llm.written}) attributes {llm.kernel} {
  return
}

// -----

func.func @two_foralls(%o: memref<6xf32> {llm.written}) attributes {llm.kernel} {
  scf.forall (%i) in (2) {
  }
  // expected-error @+1 {{kernel 'two_foralls': expects one scf.forall at top level, got a second one}}
  scf.forall (%i) in (3) {
  }
  return
}

// -----

func.func @bound_from_memory(%o: memref<6xindex> {llm.written}) attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %n = memref.load %o[%c0] : memref<6xindex>
  // expected-error @+1 {{kernel 'bound_from_memory': a bound of the scf.forall is not computed from constants and dims of arguments}}
  scf.forall (%i) in (%n) {
  }
  return
}
