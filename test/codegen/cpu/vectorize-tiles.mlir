// RUN: llmc-opt %s --vectorize-tiles --canonicalize --split-input-file | FileCheck %s --check-prefixes=CHECK,W512
// RUN: llmc-opt %s --vectorize-tiles=vector-bits=256 --canonicalize --split-input-file | FileCheck %s --check-prefixes=CHECK,W256

// CHECK-LABEL: @contraction_keeps_a_block_of_rows_in_registers
// W512: %{{.*}}:8 = scf.for {{.*}} iter_args({{.*}} -> (vector<32xf32>,
// W512: vector.load {{.*}} vector<32xbf16>
// W512-COUNT-8: math.fma {{.*}} vector<32xf32>
// W256: %{{.*}}:4 = scf.for {{.*}} iter_args({{.*}} -> (vector<16xf32>,
// W256-COUNT-4: math.fma {{.*}} vector<16xf32>
func.func @contraction_keeps_a_block_of_rows_in_registers(%a: memref<8x72xf32>, %b: memref<72x32xbf16>, %c: memref<8x32xf32>) {
  linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>],
                  iterator_types = ["parallel", "parallel", "reduction"]} ins(%a, %b : memref<8x72xf32>, memref<72x32xbf16>) outs(%c : memref<8x32xf32>) {
  ^bb0(%x: f32, %y: bf16, %s: f32):
    %f = arith.extf %y : bf16 to f32
    %m = arith.mulf %x, %f : f32
    %d = arith.addf %s, %m : f32
    linalg.yield %d : f32
  }
  return
}

// -----

// CHECK-LABEL: @prefetches_a_long_panel
// CHECK: memref.prefetch
func.func @prefetches_a_long_panel(%a: memref<1x512xf32>, %b: memref<512x32xbf16>, %c: memref<1x32xf32>) {
  linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>],
                  iterator_types = ["parallel", "parallel", "reduction"]} ins(%a, %b : memref<1x512xf32>, memref<512x32xbf16>) outs(%c : memref<1x32xf32>) {
  ^bb0(%x: f32, %y: bf16, %s: f32):
    %f = arith.extf %y : bf16 to f32
    %m = arith.mulf %x, %f : f32
    %d = arith.addf %s, %m : f32
    linalg.yield %d : f32
  }
  return
}

// -----

// CHECK-LABEL: @row_sum_has_lanes_along_the_row
// W512: %[[NEUTRAL:.*]] = arith.constant dense<0.000000e+00> : vector<32xf32>
// W512: scf.for {{.*}} iter_args(%{{.*}} = %[[NEUTRAL]]
// W512: vector.load {{.*}} vector<32xf32>
// W512: vector.extract_strided_slice {{.*}} sizes = [16]
// CHECK: vector.extract_strided_slice {{.*}} sizes = [1]
// CHECK: memref.store
func.func @row_sum_has_lanes_along_the_row(%a: memref<1x100xf32>, %c: memref<1xf32>) {
  linalg.generic {indexing_maps = [affine_map<(m, k) -> (m, k)>, affine_map<(m, k) -> (m)>], iterator_types = ["parallel", "reduction"]} ins(%a : memref<1x100xf32>) outs(%c : memref<1xf32>) {
  ^bb0(%x: f32, %s: f32):
    %d = arith.addf %s, %x : f32
    linalg.yield %d : f32
  }
  return
}

// -----

// CHECK-LABEL: @remainder_takes_narrower_vectors
// W512: vector<32xf32>
// CHECK: vector<16xf32>
// CHECK: vector<4xf32>
// CHECK: vector<2xf32>
// CHECK: memref.store
func.func @remainder_takes_narrower_vectors(%a: memref<55xf32>, %c: memref<55xf32>) {
  linalg.generic {indexing_maps = [affine_map<(n) -> (n)>, affine_map<(n) -> (n)>], iterator_types = ["parallel"]} ins(%a : memref<55xf32>) outs(%c : memref<55xf32>) {
  ^bb0(%x: f32, %out: f32):
    %d = arith.addf %x, %x : f32
    linalg.yield %d : f32
  }
  return
}

// -----

// What is the same in all lanes is computed once, as a scalar.
// CHECK-LABEL: @row_values_stay_scalars
// CHECK: math.exp %{{.*}} : f32
// CHECK: vector.broadcast
// CHECK: arith.mulf {{.*}} vector<16xf32>
func.func @row_values_stay_scalars(%a: memref<4xf32>, %c: memref<4x16xf32>) {
  linalg.generic {indexing_maps = [affine_map<(m, n) -> (m)>, affine_map<(m, n) -> (m, n)>], iterator_types = ["parallel", "parallel"]} ins(%a : memref<4xf32>) outs(%c : memref<4x16xf32>) {
  ^bb0(%x: f32, %y: f32):
    %e = math.exp %x : f32
    %d = arith.mulf %y, %e : f32
    linalg.yield %d : f32
  }
  return
}

// -----

// CHECK-LABEL: @lane_index_is_an_iota
// CHECK: arith.constant dense<[0, 1, 2, 3, 4, 5, 6, 7]> : vector<8xindex>
// CHECK: arith.cmpi {{.*}} vector<8xindex>
// CHECK: arith.select {{.*}} vector<8xi1>, vector<8xf32>
func.func @lane_index_is_an_iota(%n: index, %c: memref<8xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.generic {indexing_maps = [affine_map<(n) -> (n)>], iterator_types = ["parallel"]} outs(%c : memref<8xf32>) {
  ^bb0(%y: f32):
    %i = linalg.index 0 : index
    %in = arith.cmpi ult, %i, %n : index
    %d = arith.select %in, %y, %zero : f32
    linalg.yield %d : f32
  }
  return
}

// -----

// CHECK-LABEL: @a_load_in_the_body_runs_one_by_one
// CHECK-NOT: vector
// CHECK: return
func.func @a_load_in_the_body_runs_one_by_one(%ids: memref<8xindex>, %table: memref<100xf32>, %c: memref<8xf32>) {
  linalg.generic {indexing_maps = [affine_map<(n) -> (n)>, affine_map<(n) -> (n)>], iterator_types = ["parallel"]} ins(%ids : memref<8xindex>) outs(%c : memref<8xf32>) {
  ^bb0(%i: index, %y: f32):
    %d = memref.load %table[%i] : memref<100xf32>
    linalg.yield %d : f32
  }
  return
}

// -----

// CHECK-LABEL: @transpose_gathers_its_input
// CHECK: vector.from_elements
// CHECK: vector.store
func.func @transpose_gathers_its_input(%a: memref<16x8xf32>, %c: memref<8x16xf32>) {
  linalg.generic {indexing_maps = [affine_map<(m, n) -> (n, m)>, affine_map<(m, n) -> (m, n)>], iterator_types = ["parallel", "parallel"]} ins(%a : memref<16x8xf32>) outs(%c : memref<8x16xf32>) {
  ^bb0(%x: f32, %out: f32):
    linalg.yield %x : f32
  }
  return
}

// -----

// One row alone: more lanes, so that there are as many independent sums.
// CHECK-LABEL: @a_single_row_takes_more_lanes
// W512: math.fma {{.*}} vector<128xf32>
// W256: math.fma {{.*}} vector<64xf32>
func.func @a_single_row_takes_more_lanes(%a: memref<32xf32>, %b: memref<32x128xf32>, %c: memref<128xf32>) {
  linalg.generic {indexing_maps = [affine_map<(n, k) -> (k)>, affine_map<(n, k) -> (k, n)>, affine_map<(n, k) -> (n)>],
                  iterator_types = ["parallel", "reduction"]} ins(%a, %b : memref<32xf32>, memref<32x128xf32>) outs(%c : memref<128xf32>) {
  ^bb0(%x: f32, %y: f32, %s: f32):
    %m = arith.mulf %x, %y : f32
    %d = arith.addf %s, %m : f32
    linalg.yield %d : f32
  }
  return
}
