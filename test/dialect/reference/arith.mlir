// Integers wrap around at their width; reals are doubles except where the IR rounds them.
// RUN: llmc-reference %s --expect

func.func @integers_wrap_around() -> (i32, i32, i64, i8, i32) attributes {llm.expect = [
    dense<-2147483648> : tensor<i32>, dense<-727379968> : tensor<i32>, dense<-9223372036854775808> : tensor<i64>, dense<-2> : tensor<i8>, dense<-294967296> : tensor<i32>]} {
  %max = arith.constant 2147483647 : i32
  %one = arith.constant 1 : i32
  %a = arith.addi %max, %one : i32
  %million = arith.constant 1000000 : i32
  %b = arith.muli %million, %million : i32
  %long = arith.constant 9223372036854775807 : i64
  %one64 = arith.constant 1 : i64
  %c = arith.addi %long, %one64 : i64
  %byte = arith.constant 127 : i8
  %d = arith.addi %byte, %byte : i8
  %big = arith.constant 4000000000 : i64
  %e = arith.trunci %big : i64 to i32
  return %a, %b, %c, %d, %e : i32, i32, i64, i8, i32
}

func.func @unsigned_reads_the_bits() -> (i32, i32, i1, i1, f32, i64, i64, i32) attributes {llm.expect = [
    dense<2147483647> : tensor<i32>, dense<-1> : tensor<i32>, dense<false> : tensor<i1>, dense<true> : tensor<i1>, dense<4294967295.0> : tensor<f64>,
    dense<4294967295> : tensor<i64>, dense<-1> : tensor<i64>, dense<1> : tensor<i32>]} {
  %m1 = arith.constant -1 : i32
  %c1 = arith.constant 1 : i32
  %c2 = arith.constant 2 : i32
  %true = arith.constant true
  %a = arith.shrui %m1, %c1 : i32
  %b = arith.shrsi %m1, %c1 : i32
  %c = arith.cmpi ult, %m1, %c1 : i32
  %d = arith.cmpi slt, %m1, %c1 : i32
  %e = arith.uitofp %m1 : i32 to f32
  %f = arith.extui %m1 : i32 to i64
  %g = arith.extsi %true : i1 to i64
  %h = arith.remui %m1, %c2 : i32
  return %a, %b, %c, %d, %e, %f, %g, %h : i32, i32, i1, i1, f32, i64, i64, i32
}

// The first round of Philox4x32 on (1, 0, 0, 0): 0xD2511F53 * 1 and 0xD2511F53 * 0xD2511F53.
func.func @extended_products_have_two_halves() -> (i32, i32, i32, i32) attributes {llm.expect = [
    dense<-766435501> : tensor<i32>, dense<0> : tensor<i32>, dense<39531753> : tensor<i32>, dense<-1396100839> : tensor<i32>]} {
  %m = arith.constant 0xD2511F53 : i32
  %one = arith.constant 1 : i32
  %l0, %h0 = arith.mului_extended %m, %one : i32
  %l1, %h1 = arith.mului_extended %m, %m : i32
  return %l0, %h0, %l1, %h1 : i32, i32, i32, i32
}

func.func @reals_round_only_where_asked() -> (f32, bf16, f16, f64, i32, f32) attributes {llm.expect = [
    dense<0.1000000014901161194> : tensor<f64>, dense<0.10009765625> : tensor<f64>, dense<0.0999755859375> : tensor<f64>,
    dense<0.3333333432674407958> : tensor<f64>, dense<1036831949> : tensor<i32>, dense<1.0> : tensor<f64>]} {
  %x = arith.constant 0.1 : f32
  %b = arith.truncf %x : f32 to bf16
  %h = arith.truncf %x : f32 to f16
  %one = arith.constant 1.0 : f32
  %three = arith.constant 3.0 : f32
  %third = arith.divf %one, %three : f32
  %wide = arith.extf %third : f32 to f64 // the float32
  %bits = arith.bitcast %x : f32 to i32
  %whole = arith.mulf %third, %three : f32 // not rounded in between
  return %x, %b, %h, %wide, %bits, %whole : f32, bf16, f16, f64, i32, f32
}

func.func @comparisons_know_nan() -> (i1, i1, f32, f32, i32, i32, i32) attributes {llm.expect = [
    dense<false> : tensor<i1>, dense<true> : tensor<i1>, dense<0x7FF8000000000000> : tensor<f64>, dense<2.0> : tensor<f64>,
    dense<2147483647> : tensor<i32>, dense<-7> : tensor<i32>, dense<-2> : tensor<i32>]} {
  %nan = arith.constant 0x7FC00000 : f32
  %two = arith.constant 2.0 : f32
  %huge = arith.constant 1.0e20 : f32
  %x = arith.constant -7.9 : f32
  %a = arith.cmpf oge, %nan, %two : f32
  %b = arith.cmpf une, %nan, %two : f32
  %c = arith.maximumf %nan, %two : f32
  %d = arith.maxnumf %nan, %two : f32
  %e = arith.fptosi %huge : f32 to i32
  %f = arith.fptosi %x : f32 to i32
  %m7 = arith.constant -7 : i32
  %c4 = arith.constant 4 : i32
  %g = arith.floordivsi %m7, %c4 : i32
  return %a, %b, %c, %d, %e, %f, %g : i1, i1, f32, f32, i32, i32, i32
}

func.func @scalar_ops_act_on_elements_of_tensors() -> (tensor<2xf32>, tensor<2xi1>, tensor<2xf32>) attributes {llm.expect = [
    dense<[4.0, 1.0]> : tensor<2xf64>, dense<[false, true]> : tensor<2xi1>, dense<[3.0, -1.0]> : tensor<2xf64>]} {
  %a = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %b = arith.constant dense<[3.0, -1.0]> : tensor<2xf32>
  %c = arith.addf %a, %b : tensor<2xf32>
  %d = arith.cmpf ogt, %a, %b : tensor<2xf32>
  %t = arith.constant true
  %e = arith.select %t, %b, %a : tensor<2xf32>
  return %c, %d, %e : tensor<2xf32>, tensor<2xi1>, tensor<2xf32>
}

func.func @functions_of_reals() -> (f32, f32, f32, f32, f32, f32) attributes {llm.expect = [
    dense<0.0> : tensor<f64>, dense<0.8427007929> : tensor<f64>, dense<0.5> : tensor<f64>, dense<2.0> : tensor<f64>, dense<-0.75> : tensor<f64>, dense<1.0e-10> : tensor<f64>]} {
  %low = arith.constant -1000.0 : f32
  %one = arith.constant 1.0 : f32
  %four = arith.constant 4.0 : f32
  %half = arith.constant 2.5 : f32
  %q = arith.constant -0.25 : f32
  %small = arith.constant 1.0e-10 : f64
  %f25 = arith.constant 0.25 : f32
  %a = math.exp %low : f32
  %b = math.erf %one : f32
  %c = math.rsqrt %four : f32
  %d = math.roundeven %half : f32
  %e = math.fma %q, %four, %f25 : f32
  %l = math.log1p %small : f64
  %f = arith.truncf %l : f64 to f32
  return %a, %b, %c, %d, %e, %f : f32, f32, f32, f32, f32, f32
}
