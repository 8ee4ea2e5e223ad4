// Loops, conditions and calls; carried tensors; parallel loops with several results.
// RUN: llmc-reference %s --expect

func.func @loops_carry_values() -> (i32, tensor<4xi32>, i32) attributes {llm.expect = [
    dense<12> : tensor<i32>, dense<[0, 1, 4, 9]> : tensor<4xi32>, dense<7> : tensor<i32>]} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %zero = arith.constant 0 : i32
  %two = arith.constant 2 : i32
  %e = tensor.empty() : tensor<4xi32>
  %sum, %squares = scf.for %i = %c0 to %c4 step %c1 iter_args(%s = %zero, %t = %e) -> (i32, tensor<4xi32>) {
    %n = arith.index_cast %i : index to i32
    %d = arith.muli %n, %two : i32
    %s1 = arith.addi %s, %d : i32
    %q = arith.muli %n, %n : i32
    %t1 = tensor.insert %q into %t[%i] : tensor<4xi32>
    scf.yield %s1, %t1 : i32, tensor<4xi32>
  }
  // Collatz: 3, 10, 5, 16, 8, 4, 2, 1 takes 7 steps.
  %one = arith.constant 1 : i32
  %three = arith.constant 3 : i32
  %steps:2 = scf.while (%x = %three, %k = %zero) : (i32, i32) -> (i32, i32) {
    %go = arith.cmpi ne, %x, %one : i32
    scf.condition(%go) %x, %k : i32, i32
  } do {
  ^bb0(%x: i32, %k: i32):
    %k1 = arith.addi %k, %one : i32
    %bit = arith.andi %x, %one : i32
    %isOdd = arith.cmpi eq, %bit, %one : i32
    %next = scf.if %isOdd -> i32 {
      %a = func.call @threefold_and_one(%x) : (i32) -> i32
      scf.yield %a : i32
    } else {
      %a = arith.divsi %x, %two : i32
      scf.yield %a : i32
    }
    scf.yield %next, %k1 : i32, i32
  }
  return %sum, %squares, %steps#1 : i32, tensor<4xi32>, i32
}

func.func private @threefold_and_one(%x: i32) -> i32 {
  %one = arith.constant 1 : i32
  %three = arith.constant 3 : i32
  %a = arith.muli %x, %three : i32
  %b = arith.addi %a, %one : i32
  return %b : i32
}

// Workgroups read the shared tensor as it was, and write their own parts; the rest keeps its value.
func.func @workgroups_write_their_parts() -> (tensor<2x4xi32>, tensor<2xindex>) attributes {llm.expect = [
    dense<[[1, 2, 13, 4], [5, 6, 17, 8]]> : tensor<2x4xi32>, dense<[0, 3]> : tensor<2xindex>]} {
  %t = arith.constant dense<[[1, 2, 3, 4], [5, 6, 7, 8]]> : tensor<2x4xi32>
  %none = arith.constant dense<0> : tensor<2xindex>
  %ten = arith.constant 10 : i32
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
  %r:2 = scf.forall (%i, %j) = (0, 2) to (2, %c3) step (1, 1) shared_outs(%a = %t, %b = %none) -> (tensor<2x4xi32>, tensor<2xindex>) {
    %x = tensor.extract %a[%i, %j] : tensor<2x4xi32>
    %y = arith.addi %x, %ten : i32
    %s = tensor.splat %y : tensor<1xi32>
    %n = affine.apply affine_map<(d0, d1)[s0] -> (d0 * s0 + (d0 * 2 + d1 - 2) floordiv 2)>(%i, %j)[%c2]
    %p = tensor.splat %n : tensor<1xindex>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %s into %a[%i, %j] [1, 1] [1, 1] : tensor<1xi32> into tensor<2x4xi32>
      tensor.parallel_insert_slice %p into %b[%i] [1] [1] : tensor<1xindex> into tensor<2xindex>
    }
  }
  return %r#0, %r#1 : tensor<2x4xi32>, tensor<2xindex>
}
