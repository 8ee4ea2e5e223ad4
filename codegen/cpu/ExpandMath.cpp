// expand-math: transcendental functions as polynomials in straight-line code, for scalars and vectors alike.
//
// f32 exp, exp2 and tanh have f32 code (about 2 ulp); the other f32 functions extend to f64 and round, which
// makes them correct to one ulp without a second set of polynomials. Sources: Cephes (expf, tanhf), fdlibm
// (log, sin, cos), Numerical Recipes 3 section 6.2.2 (erfc), Kahan's identities (log1p, expm1). Rounding to
// an integer adds and subtracts 1.5 * 2^mantissa, whose low bits then hold the integer: unlike a conversion
// it is defined for NaN and costs one addition.
#include "codegen/cpu/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

namespace llmc {
#define GEN_PASS_DEF_EXPANDMATH
#include "codegen/cpu/Passes.h.inc"

using namespace mlir;

namespace {

/// Arithmetic on values of one shape; constants take the type of the value they meet.
class Formula {
public:
  Formula(OpBuilder &b, Location loc) : b(b), loc(loc) {}

  Value exp(Value x) { return isF32(x) ? expF32(x) : expF64(x); }
  Value exp2(Value x) {
    bool isSingle = isF32(x);
    double magic = isSingle ? kMagicF32 : kMagicF64;
    Value clamped = isSingle ? clamp(x, -150.0, 129.0) : clamp(x, -1076.0, 1025.0);
    Value shifted = add(clamped, magic);
    Value r = mul(sub(clamped, sub(shifted, magic)), 0.6931471805599453);
    return scale(isSingle ? expPolynomialF32(r) : expPolynomialF64(r), shifted);
  }
  Value log(Value x) {
    // x = 2^k * (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)).
    Value tiny = less(x, 2.2250738585072014e-308);
    Value scaled = select(tiny, mul(x, 18014398509481984.0), x);
    Value bits = add(bitsOf(scaled), int64_t(0x3ff0000000000000 - 0x3fe6a09e667f3bcd));
    Value k = sub(shiftRight(bits, 52), int64_t(1023));
    Value mantissa = add(andBits(bits, 0x000fffffffffffff), int64_t(0x3fe6a09e667f3bcd));
    Value f = sub(floatOf(mantissa), 1.0);
    Value kFloat = sub(floatOf(add(k, int64_t(kMagicBitsF64))), kMagicF64);
    kFloat = select(tiny, sub(kFloat, 54.0), kFloat);
    Value s = div(f, add(f, 2.0));
    Value z = mul(s, s);
    Value r =
        mul(z, polynomial(z, {1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01,
                              2.222219843214978396e-01, 2.857142874366239149e-01, 3.999999999940941908e-01,
                              6.666666666666735130e-01}));
    Value halfSquare = mul(mul(f, f), 0.5);
    Value low = fma(s, add(halfSquare, r), mul(kFloat, 1.90821492927058770002e-10));
    Value result = sub(mul(kFloat, 6.93147180369123816490e-01), sub(sub(halfSquare, low), f));
    double infinity = std::numeric_limits<double>::infinity();
    result = select(less(x, infinity), result, x); // +inf and NaN
    result = select(compare(arith::CmpFPredicate::OEQ, x, splat(x, 0.0)), splat(x, -infinity), result);
    return select(less(x, 0.0), splat(x, std::numeric_limits<double>::quiet_NaN()), result);
  }
  Value log1p(Value x) {
    Value u = add(x, 1.0);
    Value d = sub(u, 1.0);
    Value isZero = compare(arith::CmpFPredicate::OEQ, d, splat(x, 0.0));
    Value result = mul(log(u), div(x, d));
    result = select(isZero, x, result);
    double infinity = std::numeric_limits<double>::infinity();
    return select(compare(arith::CmpFPredicate::OEQ, x, splat(x, infinity)), x, result);
  }
  Value expm1(Value x) {
    Value u = expF64(x);
    Value d = sub(u, 1.0);
    Value result = mul(d, div(x, log(u)));
    result = select(compare(arith::CmpFPredicate::OEQ, u, splat(x, 1.0)), x, result);
    // Where x is far from zero the subtraction loses nothing, and log(u) may be infinite.
    return select(less(magnitude(x), 0.7), result, d);
  }
  Value tanh(Value x) {
    Value size = magnitude(x);
    if (!isF32(x)) {
      Value e = expm1(mul(clamp(size, 0.0, 22.0), 2.0));
      return math::CopySignOp::create(b, loc, div(e, add(e, 2.0)), x);
    }
    Value z = mul(x, x);
    Value small = polynomial(
        z, {-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1});
    small = fma(mul(small, z), x, x);
    Value large = sub(splat(x, 1.0), div(splat(x, 2.0), add(expF32(mul(size, 2.0)), 1.0)));
    return select(less(size, 0.625), small, math::CopySignOp::create(b, loc, large, x));
  }
  /// sin(x + quarterTurns * pi/2), for |x| below 2^51.
  Value sine(Value x, int64_t quarterTurns) {
    Value shifted = fma(x, splat(x, 0.6366197723675814), splat(x, kMagicF64));
    Value k = math::TruncOp::create(b, loc, sub(shifted, kMagicF64));
    Value negated = arith::NegFOp::create(b, loc, k);
    // Each fused step rounds once, so two parts of pi/2 keep r exact to an ulp.
    Value r = fma(negated, splat(x, 1.5707963267948966), x);
    r = fma(negated, splat(x, 6.123233995736766e-17), r);
    Value z = mul(r, r);
    Value sin =
        polynomial(z, {1.58969099521155010221e-10, -2.50507602534068634195e-08, 2.75573137070700676789e-06,
                       -1.98412698298579493134e-04, 8.33333333332248946124e-03, -1.66666666666666324348e-01});
    sin = fma(mul(sin, z), r, r);
    Value cos =
        polynomial(z, {-1.13596475577881948265e-11, 2.08757232129817482790e-09, -2.75573143513906633035e-07,
                       2.48015872894767294178e-05, -1.38888888888741095749e-03, 4.16666666666666019037e-02});
    cos = fma(mul(cos, z), z, fma(z, splat(z, -0.5), splat(z, 1.0)));
    Value quadrant = add(bitsOf(shifted), quarterTurns);
    Value zero = integer(quadrant, 0);
    auto isSet = [&](int64_t bit) {
      return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, andBits(quadrant, bit), zero)
          .getResult();
    };
    Value result = select(isSet(1), cos, sin);
    return select(isSet(2), arith::NegFOp::create(b, loc, result), result);
  }
  Value erfc(Value x) {
    static const double coefficients[] = {-1.3026537197817094,
                                          6.4196979235649026e-1,
                                          1.9476473204185836e-2,
                                          -9.561514786808631e-3,
                                          -9.46595344482036e-4,
                                          3.66839497852761e-4,
                                          4.2523324806907e-5,
                                          -2.0278578112534e-5,
                                          -1.624290004647e-6,
                                          1.303655835580e-6,
                                          1.5626441722e-8,
                                          -8.5238095915e-8,
                                          6.529054439e-9,
                                          5.059343495e-9,
                                          -9.91364156e-10,
                                          -2.27365122e-10,
                                          9.6467911e-11,
                                          2.394038e-12,
                                          -6.886027e-12,
                                          8.94487e-13,
                                          3.13092e-13,
                                          -1.12708e-13,
                                          3.81e-16,
                                          7.106e-15,
                                          -1.523e-15,
                                          -9.4e-17,
                                          1.21e-16,
                                          -2.8e-17};
    Value z = clamp(magnitude(x), 0.0, 40.0);
    Value t = div(splat(x, 2.0), add(z, 2.0));
    Value ty = sub(mul(t, 4.0), 2.0);
    Value d = splat(x, 0.0), previous = splat(x, 0.0);
    for (int i = std::size(coefficients) - 1; i > 0; --i) {
      Value next = add(sub(mul(ty, d), previous), coefficients[i]);
      previous = d;
      d = next;
    }
    Value exponent = sub(mul(add(mul(ty, d), coefficients[0]), 0.5), previous);
    Value positive = mul(t, expF64(sub(exponent, mul(z, z))));
    return select(less(x, 0.0), sub(splat(x, 2.0), positive), positive);
  }
  Value erf(Value x) {
    // Maclaurin series below 1, where 1 - erfc would cancel.
    Value z = mul(x, x);
    double factorial = 1;
    SmallVector<double> series = {1.1283791670955126};
    for (int n = 1; n <= 19; ++n) {
      factorial *= n;
      series.push_back((n % 2 ? -1 : 1) * 1.1283791670955126 / (factorial * (2 * n + 1)));
    }
    std::reverse(series.begin(), series.end());
    Value small = mul(polynomial(z, series), x);
    return select(less(magnitude(x), 1.0), small, sub(splat(x, 1.0), erfc(x)));
  }
  Value pow(Value x, Value y) {
    Value result = expF64(mul(y, log(magnitude(x))));
    auto isInteger = [&](Value v) {
      return compare(arith::CmpFPredicate::OEQ, math::RoundEvenOp::create(b, loc, v), v);
    };
    Value negated = arith::NegFOp::create(b, loc, result);
    Value nan = splat(x, std::numeric_limits<double>::quiet_NaN());
    Value negative = select(isInteger(y), select(isInteger(mul(y, 0.5)), result, negated), nan);
    result = select(less(x, 0.0), negative, result);
    return select(compare(arith::CmpFPredicate::OEQ, y, splat(y, 0.0)), splat(x, 1.0), result);
  }
  Value rsqrt(Value x) { return div(splat(x, 1.0), math::SqrtOp::create(b, loc, x)); }
  Value mul(Value x, double y) { return arith::MulFOp::create(b, loc, x, splat(x, y)); }
  static bool isF32(Value x) { return getElementTypeOrSelf(x.getType()).isF32(); }

private:
  static constexpr double kMagicF32 = 12582912.0, kMagicF64 = 6755399441055744.0;
  static constexpr int64_t kMagicBitsF32 = 0x4b400000, kMagicBitsF64 = 0x4338000000000000;

  Value expF32(Value x) {
    // exp(-104) is below half of the smallest denormal, exp(89) above the largest number.
    x = clamp(x, -104.0, 89.0);
    Value shifted = fma(x, splat(x, 1.44269504088896341), splat(x, kMagicF32));
    Value k = sub(shifted, kMagicF32);
    Value r = fma(k, splat(x, -0.693359375), x);
    r = fma(k, splat(x, 2.12194440e-4), r);
    return scale(expPolynomialF32(r), shifted);
  }
  Value expPolynomialF32(Value r) {
    Value p = polynomial(r, {1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2,
                             1.6666665459e-1, 5.0000001201e-1});
    return add(fma(mul(r, r), p, r), 1.0);
  }
  Value expF64(Value x) {
    x = clamp(x, -746.0, 710.0);
    Value shifted = fma(x, splat(x, 1.4426950408889634), splat(x, kMagicF64));
    Value k = sub(shifted, kMagicF64);
    Value r = fma(k, splat(x, -6.93147180369123816490e-01), x);
    r = fma(k, splat(x, -1.90821492927058770002e-10), r);
    return scale(expPolynomialF64(r), shifted);
  }
  /// Maclaurin series; the first term left out is below 1e-17 for |r| <= ln(2) / 2.
  Value expPolynomialF64(Value r) {
    SmallVector<double> series = {1.0};
    for (int n = 1; n <= 13; ++n)
      series.push_back(series.back() / n);
    std::reverse(series.begin(), series.end());
    return polynomial(r, series);
  }

  /// value * 2^k, k in the low bits of `shifted`. Two factors, so that denormal results round once and k =
  /// 128 overflows.
  Value scale(Value value, Value shifted) {
    bool isSingle = isF32(value);
    int64_t bias = isSingle ? 127 : 1023, mantissaBits = isSingle ? 23 : 52;
    Value k = sub(bitsOf(shifted), isSingle ? kMagicBitsF32 : kMagicBitsF64);
    Value half = arith::ShRSIOp::create(b, loc, k, integer(k, 1));
    Value rest = arith::SubIOp::create(b, loc, k, half);
    for (Value exponent : {half, rest}) {
      Value bits = arith::ShLIOp::create(b, loc, add(exponent, bias), integer(exponent, mantissaBits));
      value = arith::MulFOp::create(b, loc, value, floatOf(bits));
    }
    return value;
  }

  Type like(Type element, Type shape) {
    auto vector = dyn_cast<VectorType>(shape);
    return vector ? Type(vector.clone(element)) : element;
  }
  Value constant(Type type, TypedAttr element) {
    if (auto vector = dyn_cast<VectorType>(type))
      return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(vector, Attribute(element)));
    return arith::ConstantOp::create(b, loc, element);
  }
  Value splat(Value x, double value) {
    return constant(x.getType(), b.getFloatAttr(getElementTypeOrSelf(x.getType()), value));
  }
  Value integer(Value x, int64_t value) {
    return constant(x.getType(), b.getIntegerAttr(getElementTypeOrSelf(x.getType()), value));
  }
  bool isInt(Value x) { return getElementTypeOrSelf(x.getType()).isInteger(); }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
  Value add(Value x, double y) { return add(x, splat(x, y)); }
  Value add(Value x, int64_t y) { return arith::AddIOp::create(b, loc, x, integer(x, y)); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
  Value sub(Value x, double y) { return sub(x, splat(x, y)); }
  Value sub(Value x, int64_t y) { return arith::SubIOp::create(b, loc, x, integer(x, y)); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, loc, x, y); }
  Value fma(Value x, Value y, Value z) { return math::FmaOp::create(b, loc, x, y, z); }
  Value magnitude(Value x) { return math::AbsFOp::create(b, loc, x); }
  Value select(Value condition, Value x, Value y) { return arith::SelectOp::create(b, loc, condition, x, y); }
  Value compare(arith::CmpFPredicate p, Value x, Value y) { return arith::CmpFOp::create(b, loc, p, x, y); }
  Value less(Value x, double y) { return compare(arith::CmpFPredicate::OLT, x, splat(x, y)); }
  /// NaN stays NaN.
  Value clamp(Value x, double low, double high) {
    x = select(less(x, low), splat(x, low), x);
    return select(compare(arith::CmpFPredicate::OGT, x, splat(x, high)), splat(x, high), x);
  }
  Value bitsOf(Value x) {
    Type element = b.getIntegerType(getElementTypeOrSelf(x.getType()).getIntOrFloatBitWidth());
    return arith::BitcastOp::create(b, loc, like(element, x.getType()), x);
  }
  Value floatOf(Value bits) {
    bool isSingle = getElementTypeOrSelf(bits.getType()).isInteger(32);
    return arith::BitcastOp::create(
        b, loc, like(isSingle ? Type(b.getF32Type()) : Type(b.getF64Type()), bits.getType()), bits);
  }
  Value shiftRight(Value x, int64_t n) { return arith::ShRUIOp::create(b, loc, x, integer(x, n)); }
  Value andBits(Value x, int64_t mask) { return arith::AndIOp::create(b, loc, x, integer(x, mask)); }
  /// Horner's scheme, highest coefficient first.
  Value polynomial(Value x, ArrayRef<double> coefficients) {
    Value result = splat(x, coefficients.front());
    for (double c : coefficients.drop_front())
      result = fma(result, x, splat(x, c));
    return result;
  }

  OpBuilder &b;
  Location loc;
};

/// The expansion of a one- or two-operand function at the type of its operands; null for ops that stay.
Value expand(Operation *op, Formula &formula, ArrayRef<Value> x) {
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case<math::ExpOp>([&](auto) { return formula.exp(x[0]); })
      .Case<math::Exp2Op>([&](auto) { return formula.exp2(x[0]); })
      .Case<math::ExpM1Op>([&](auto) { return formula.expm1(x[0]); })
      .Case<math::LogOp>([&](auto) { return formula.log(x[0]); })
      .Case<math::Log2Op>([&](auto) { return formula.mul(formula.log(x[0]), 1.4426950408889634); })
      .Case<math::Log10Op>([&](auto) { return formula.mul(formula.log(x[0]), 0.4342944819032518); })
      .Case<math::Log1pOp>([&](auto) { return formula.log1p(x[0]); })
      .Case<math::TanhOp>([&](auto) { return formula.tanh(x[0]); })
      .Case<math::SinOp>([&](auto) { return formula.sine(x[0], 0); })
      .Case<math::CosOp>([&](auto) { return formula.sine(x[0], 1); })
      .Case<math::ErfOp>([&](auto) { return formula.erf(x[0]); })
      .Case<math::ErfcOp>([&](auto) { return formula.erfc(x[0]); })
      .Case<math::RsqrtOp>([&](auto) { return formula.rsqrt(x[0]); })
      .Case<math::PowFOp>([&](auto) { return formula.pow(x[0], x[1]); })
      .Default([](Operation *) { return Value(); });
}

bool isExpanded(Operation *op) {
  return isa<math::ExpOp, math::Exp2Op, math::ExpM1Op, math::LogOp, math::Log2Op, math::Log10Op,
             math::Log1pOp, math::TanhOp, math::SinOp, math::CosOp, math::ErfOp, math::ErfcOp, math::RsqrtOp,
             math::PowFOp>(op);
}

/// What x86 has instructions for, or what lowers to integer code.
bool isNative(Operation *op) {
  return isa<math::AbsFOp, math::AbsIOp, math::CeilOp, math::FloorOp, math::RoundEvenOp, math::RoundOp,
             math::TruncOp, math::CopySignOp, math::SqrtOp, math::FmaOp, math::CtPopOp,
             math::CountLeadingZerosOp, math::CountTrailingZerosOp, math::IsNaNOp, math::IsInfOp,
             math::IsFiniteOp, math::IsNormalOp, math::ClampFOp>(op);
}

LogicalResult expandOp(Operation *op) {
  OpBuilder b(op);
  Location loc = op->getLoc();
  Type type = op->getResult(0).getType(), element = getElementTypeOrSelf(type);
  bool staysSingle = element.isF32() && isa<math::ExpOp, math::Exp2Op, math::TanhOp, math::RsqrtOp>(op);
  bool isHalf = element.isF16() || element.isBF16();
  if (!element.isF32() && !element.isF64() && !isHalf)
    return op->emitError("expects an f16, bf16, f32 or f64 operand, got ") << element;
  bool viaSingle = isHalf && isa<math::ExpOp, math::Exp2Op, math::TanhOp, math::RsqrtOp>(op);
  Type wide = viaSingle ? b.getF32Type() : b.getF64Type();
  auto withElement = [&](Type e) {
    auto vector = dyn_cast<VectorType>(type);
    return vector ? Type(vector.clone(e)) : e;
  };
  SmallVector<Value> operands(op->getOperands());
  bool widens = !staysSingle && !element.isF64();
  if (widens)
    for (Value &operand : operands)
      operand = arith::ExtFOp::create(b, loc, withElement(wide), operand);
  Formula formula(b, loc);
  Value result = expand(op, formula, operands);
  if (widens)
    result = arith::TruncFOp::create(b, loc, type, result);
  op->getResult(0).replaceAllUsesWith(result);
  op->erase();
  return success();
}

/// `type` with f32 elements where it has bf16 ones.
Type widened(Type type) {
  if (!getElementTypeOrSelf(type).isBF16())
    return type;
  Type single = Float32Type::get(type.getContext());
  auto vector = dyn_cast<VectorType>(type);
  return vector ? Type(vector.clone(single)) : single;
}

/// There are no bf16 instructions in the levels, and LLVM would call library functions to round: arithmetic
/// on bf16 goes through f32, and f64 is rounded to a 16-bit type by way of f32.
void avoidNarrowArithmetic(Operation *op) {
  OpBuilder b(op);
  Location loc = op->getLoc();
  if (auto trunc = dyn_cast<arith::TruncFOp>(op)) {
    Type to = trunc.getType(), toElement = getElementTypeOrSelf(to);
    if (getElementTypeOrSelf(trunc.getIn().getType()).isF64() && (toElement.isBF16() || toElement.isF16())) {
      auto vector = dyn_cast<VectorType>(to);
      Type single = vector ? Type(vector.clone(b.getF32Type())) : Type(b.getF32Type());
      trunc.getInMutable().assign(arith::TruncFOp::create(b, loc, single, trunc.getIn()));
    }
    return;
  }
  if (isa<arith::ExtFOp, arith::ConstantOp, arith::SelectOp, arith::BitcastOp>(op))
    return;
  for (OpOperand &operand : op->getOpOperands())
    if (Type wide = widened(operand.get().getType()); wide != operand.get().getType())
      operand.set(arith::ExtFOp::create(b, loc, wide, operand.get()));
  b.setInsertionPointAfter(op);
  for (Value result : op->getResults()) {
    Type narrow = result.getType();
    if (Type wide = widened(narrow); wide != narrow) {
      result.setType(wide);
      auto rounded = arith::TruncFOp::create(b, loc, narrow, result);
      result.replaceAllUsesExcept(rounded, rounded);
    }
  }
}

struct ExpandMath : impl::ExpandMathBase<ExpandMath> {
  using ExpandMathBase::ExpandMathBase;

  void runOnOperation() override {
    SmallVector<Operation *> ops;
    bool failedAny = false;
    getOperation().walk([&](Operation *op) {
      if (isExpanded(op)) {
        ops.push_back(op);
      } else if (isa<math::MathDialect>(op->getDialect()) && !isNative(op)) {
        op->emitError("has no expansion on the CPU; write it with exp, log, sin, cos or tanh");
        failedAny = true;
      }
    });
    for (Operation *op : ops)
      failedAny |= failed(expandOp(op));
    SmallVector<Operation *> arithmetic;
    getOperation().walk([&](Operation *op) {
      if (isa<arith::ArithDialect, math::MathDialect>(op->getDialect()))
        arithmetic.push_back(op);
    });
    for (Operation *op : arithmetic)
      avoidNarrowArithmetic(op);
    if (failedAny)
      signalPassFailure();
  }
};

} // namespace
} // namespace llmc
