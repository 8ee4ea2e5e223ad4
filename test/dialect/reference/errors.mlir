// What the evaluator refuses, and that a wrong expectation or comparison fails.
// RUN: not llmc-reference %s --function=overlapping 2>&1 | FileCheck %s --check-prefix=OVERLAP
// RUN: not llmc-reference %s --function=outside 2>&1 | FileCheck %s --check-prefix=OUTSIDE
// RUN: not llmc-reference %s --function=racing 2>&1 | FileCheck %s --check-prefix=RACE
// RUN: not llmc-reference %s --function=unknown_op 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not llmc-reference %s --function=token 2>&1 | FileCheck %s --check-prefix=TOKEN
// RUN: not llmc-reference %s --function=sequence 2>&1 | FileCheck %s --check-prefix=SEQUENCE
// RUN: not llmc-reference %s --function=missing 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: not llmc-reference %s --expect 2>&1 | FileCheck %s --check-prefix=EXPECT
// RUN: not llmc-reference %s --function=one --compare-function=other --tokens=3 2>&1 | FileCheck %s --check-prefix=COMPARE
// RUN: llmc-reference %s --function=one --compare-function=other --tokens=3 --tolerance=1e-3

// OVERLAP: workgroup 1 overwrites what another one wrote
func.func @overlapping() -> tensor<4xf32> {
  %t = arith.constant dense<0.0> : tensor<4xf32>
  %r = scf.forall (%i) in (3) shared_outs(%o = %t) -> (tensor<4xf32>) {
    %s = tensor.extract_slice %t[%i] [2] [1] : tensor<4xf32> to tensor<2xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %s into %o[%i] [2] [1] : tensor<2xf32> into tensor<4xf32>
    }
  }
  return %r : tensor<4xf32>
}

// OUTSIDE: slice at [3] of sizes [2] leaves its tensor [4]
func.func @outside() -> tensor<2xf32> {
  %c3 = arith.constant 3 : index
  %t = arith.constant dense<0.0> : tensor<4xf32>
  %s = tensor.extract_slice %t[%c3] [2] [1] : tensor<4xf32> to tensor<2xf32>
  return %s : tensor<2xf32>
}

// RACE: another workgroup reads what workgroup 1 writes
func.func @racing() -> tensor<4xf32> {
  %t = arith.constant dense<0.0> : tensor<4xf32>
  %r = scf.forall (%i) in (2) shared_outs(%o = %t) -> (tensor<4xf32>) {
    %s = tensor.extract_slice %o[%i] [2] [1] : tensor<4xf32> to tensor<2xf32>
    %f = tensor.extract_slice %s[0] [1] [1] : tensor<2xf32> to tensor<1xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %f into %o[%i] [1] [1] : tensor<1xf32> into tensor<4xf32>
    }
  }
  return %r : tensor<4xf32>
}

// UNKNOWN: op 'vector.broadcast' has no evaluation
func.func @unknown_op(%x: f32) -> vector<4xf32> {
  %v = vector.broadcast %x : f32 to vector<4xf32>
  return %v : vector<4xf32>
}

// TOKEN: token 5 is not in a table of 2 rows
func.func @token(%t: tensor<?xi32> {llm.value = dense<[1, 5]> : tensor<2xi32>}) -> tensor<?x1xf32> {
  %table = arith.constant dense<0.0> : tensor<2x1xf32>
  %x = llm.embed %t, %table : (tensor<?xi32>, tensor<2x1xf32>) -> tensor<?x1xf32>
  return %x : tensor<?x1xf32>
}

// SEQUENCE: sequence 0 (slot 0, rows 0 + 2, past 31) leaves the tensors
func.func @sequence(%s: !llm.sequences {llm.rows = dense<[[0, 0, 2, 31]]> : tensor<1x4xi32>}, %x: tensor<?x1xf32>,
    %cache: tensor<1x32x1xf32>) -> tensor<1x32x1xf32> {
  %new = llm.append %x into %cache, %s : (tensor<?x1xf32>, tensor<1x32x1xf32>, !llm.sequences) -> tensor<1x32x1xf32>
  return %new : tensor<1x32x1xf32>
}

// MISSING: has no function 'missing'
// MISSING: has 'overlapping'

// EXPECT: result 0 element 1: expected 3, got 2
func.func @expects_something_else() -> tensor<2xf32> attributes {llm.expect = [dense<[1.0, 3.0]> : tensor<2xf64>]} {
  %t = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  return %t : tensor<2xf32>
}

// COMPARE-DAG: result 0: f32[3, 4] relative L2 error 0.0001, {{.*}} BEYOND TOLERANCE
// COMPARE-DAG: results differ by more than the tolerance
func.func @one(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  return %x : tensor<?x4xf32>
}
func.func @other(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = llm.map %x : (tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    %c = arith.constant 1.0001 : f32
    %b = arith.mulf %a, %c : f32
    llm.yield %b : f32
  }
  return %y : tensor<?x4xf32>
}
