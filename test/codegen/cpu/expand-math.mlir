// RUN: llmc-opt %s --expand-math --split-input-file -verify-diagnostics | FileCheck %s

// CHECK-LABEL: @exp_of_vectors
// CHECK-NOT: math.exp
// CHECK-NOT: f64
// CHECK: math.fma {{.*}} vector<16xf32>
func.func @exp_of_vectors(%x: vector<16xf32>) -> vector<16xf32> {
  %y = math.exp %x : vector<16xf32>
  return %y : vector<16xf32>
}

// -----

// CHECK-LABEL: @sine_goes_through_f64
// CHECK: arith.extf {{.*}} vector<8xf32> to vector<8xf64>
// CHECK: math.fma {{.*}} vector<8xf64>
// CHECK: arith.truncf
func.func @sine_goes_through_f64(%x: vector<8xf32>) -> vector<8xf32> {
  %y = math.sin %x : vector<8xf32>
  return %y : vector<8xf32>
}

// -----

// CHECK-LABEL: @square_root_stays
// CHECK: math.sqrt
func.func @square_root_stays(%x: f32) -> f32 {
  %y = math.sqrt %x : f32
  return %y : f32
}

// -----

func.func @no_expansion(%x: f32) -> f32 {
  // expected-error @+1 {{has no expansion on the CPU; write it with exp, log, sin, cos or tanh}}
  %y = math.atan %x : f32
  return %y : f32
}
