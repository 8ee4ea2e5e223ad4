// llm.dispatch and llm.launch mean what their bodies mean; the kernel's arguments are where, rows, then destinations.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s

// RUN: llmc-reference %s --function=dispatched --compare-function=launched --tokens=7 --sequences=2 --past=3,0

// Rows times a matrix of twos, and a state doubled in place.
// CHECK-LABEL: @dispatched
// CHECK: llm.dispatch(%{{.*}}, %{{.*}}) {tied = array<i64: -1, 1>} : (tensor<?x4xf32>, tensor<?x4xf32>)
func.func @dispatched(%x: tensor<?x4xf32> {llm.dims = ["T"]}, %state: tensor<?x4xf32> {llm.dims = ["SLOTS"]}, %s: !llm.sequences) -> (tensor<?x8xf32>, tensor<?x4xf32>) {
  %y, %new = llm.dispatch(%x, %state) {tied = array<i64: -1, 1>} : (tensor<?x4xf32>, tensor<?x4xf32>) -> (tensor<?x8xf32>, tensor<?x4xf32>) {
  ^bb0(%a: tensor<?x4xf32>, %b: tensor<?x4xf32>):
    %w = arith.constant dense<2.0> : tensor<8x4xf32>
    %c = llm.linear %a, %w : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
    %d = llm.map %b : (tensor<?x4xf32>) -> tensor<?x4xf32> {
    ^bb0(%v: f32):
      %two = arith.constant 2.0 : f32
      %r = arith.mulf %v, %two : f32
      llm.yield %r : f32
    }
    llm.yield %c, %d : tensor<?x8xf32>, tensor<?x4xf32>
  }
  return %y, %new : tensor<?x8xf32>, tensor<?x4xf32>
}

// CHECK-LABEL: @launched
// CHECK: llm.launch @sums(%{{.*}}, %{{.*}}, %{{.*}}) {tied = array<i64: -1, 1>}
func.func @launched(%x: tensor<?x4xf32>, %state: tensor<?x4xf32>, %s: !llm.sequences) -> (tensor<?x8xf32>, tensor<?x4xf32>) {
  %y, %new = llm.launch @sums(%x, %state, %s) {tied = array<i64: -1, 1>} : (tensor<?x4xf32>, tensor<?x4xf32>, !llm.sequences) -> (tensor<?x8xf32>, tensor<?x4xf32>)
  return %y, %new : tensor<?x8xf32>, tensor<?x4xf32>
}

func.func private @sums(%x: tensor<?x4xf32> {llm.dims = ["T"]}, %where: tensor<?x2xi32> {llm.dims = ["T"]}, %rows: tensor<?x4xi32> {llm.dims = ["S"]},
    %y: tensor<?x8xf32> {llm.dims = ["T"], llm.written}, %state: tensor<?x4xf32> {llm.dims = ["SLOTS"], llm.written}) -> (tensor<?x8xf32>, tensor<?x4xf32>)
    attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %two = arith.constant 2.0 : f32
  %t = tensor.dim %x, %c0 : tensor<?x4xf32>
  %slots = tensor.dim %state, %c0 : tensor<?x4xf32>
  // One workgroup per token; the state's rows are done by the first ones (there are more tokens than slots here).
  %r:2 = scf.forall (%i) in (%t) shared_outs(%yy = %y, %ss = %state) -> (tensor<?x8xf32>, tensor<?x4xf32>) {
    %row = tensor.extract_slice %x[%i, 0] [1, 4] [1, 1] : tensor<?x4xf32> to tensor<4xf32>
    %e = tensor.empty() : tensor<f32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<f32>) -> tensor<f32>
    %sum = linalg.reduce ins(%row : tensor<4xf32>) outs(%f : tensor<f32>) dimensions = [0]
      (%a: f32, %b: f32) {
        %c = arith.addf %a, %b : f32
        linalg.yield %c : f32
      }
    %v = tensor.extract %sum[] : tensor<f32>
    %d = arith.mulf %v, %two : f32
    %out = tensor.splat %d : tensor<1x8xf32>
    %mine = arith.cmpi ult, %i, %slots : index
    %n = scf.if %mine -> index {
      %one = arith.constant 1 : index
      scf.yield %one : index
    } else {
      scf.yield %c0 : index
    }
    %at = arith.minui %i, %slots : index
    %safe = arith.select %mine, %at, %c0 : index
    %old = tensor.extract_slice %ss[%safe, 0] [%n, 4] [1, 1] : tensor<?x4xf32> to tensor<?x4xf32>
    %empty = tensor.empty(%n) : tensor<?x4xf32>
    %twice = linalg.map { arith.addf } ins(%old, %old : tensor<?x4xf32>, tensor<?x4xf32>) outs(%empty : tensor<?x4xf32>)
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %out into %yy[%i, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<?x8xf32>
      tensor.parallel_insert_slice %twice into %ss[%safe, 0] [%n, 4] [1, 1] : tensor<?x4xf32> into tensor<?x4xf32>
    }
  }
  return %r#0, %r#1 : tensor<?x8xf32>, tensor<?x4xf32>
}
