// Scalar functions of the math dialect.
#include "dialect/reference/Scalars.h"
#include "llvm/ADT/bit.h"
#include <cmath>

namespace llmc::reference {

/// One real in, one real out.
#define REAL(name, expression)                                                                                         \
  t["math." name] = [](const ScalarOp &, const Cell *in, Cell *out) {                                                  \
    double x = in[0].real;                                                                                             \
    out->real = expression;                                                                                            \
  };
#define OP [](const ScalarOp &op, const Cell *in, Cell *out)

static uint64_t pattern(const ScalarOp &op, Cell c) {
  return bits(op.to) == 64 ? (uint64_t)c.integer : (uint64_t)c.integer & ((1ull << bits(op.to)) - 1);
}

static int64_t power(Element e, int64_t base, int64_t exponent) {
  if (exponent < 0)
    return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
  uint64_t result = 1, b = (uint64_t)base;
  for (uint64_t n = (uint64_t)exponent; n; n >>= 1, b *= b)
    if (n & 1)
      result *= b;
  return wrapTo(e, (int64_t)result);
}

void addMathFunctions(llvm::StringMap<ScalarOp::Function> &t) {
  REAL("absf", std::fabs(x))
  REAL("acos", std::acos(x))
  REAL("asin", std::asin(x))
  REAL("atan", std::atan(x))
  REAL("cbrt", std::cbrt(x))
  REAL("ceil", std::ceil(x))
  REAL("cos", std::cos(x))
  REAL("cosh", std::cosh(x))
  REAL("erf", std::erf(x))
  REAL("erfc", std::erfc(x))
  REAL("exp", std::exp(x))
  REAL("exp2", std::exp2(x))
  REAL("expm1", std::expm1(x))
  REAL("floor", std::floor(x))
  REAL("log", std::log(x))
  REAL("log10", std::log10(x))
  REAL("log1p", std::log1p(x))
  REAL("log2", std::log2(x))
  REAL("round", std::round(x))
  REAL("roundeven", std::nearbyint(x))
  REAL("rsqrt", 1.0 / std::sqrt(x))
  REAL("sin", std::sin(x))
  REAL("sinh", std::sinh(x))
  REAL("sqrt", std::sqrt(x))
  REAL("tan", std::tan(x))
  REAL("tanh", std::tanh(x))
  REAL("trunc", std::trunc(x))
  t["math.atan2"] = OP { out->real = std::atan2(in[0].real, in[1].real); };
  t["math.clampf"] = OP { out->real = std::fmin(std::fmax(in[0].real, in[1].real), in[2].real); };
  t["math.copysign"] = OP { out->real = std::copysign(in[0].real, in[1].real); };
  // Unrounded on purpose: the product of a fused multiply-add is exact to the precision of its target.
  t["math.fma"] = OP { out->real = in[0].real * in[1].real + in[2].real; };
  t["math.fpowi"] = OP { out->real = std::pow(in[0].real, (double)in[1].integer); };
  t["math.powf"] = OP { out->real = std::pow(in[0].real, in[1].real); };
  t["math.isfinite"] = OP { out->integer = std::isfinite(in[0].real); };
  t["math.isinf"] = OP { out->integer = std::isinf(in[0].real); };
  t["math.isnan"] = OP { out->integer = std::isnan(in[0].real); };
  t["math.isnormal"] = OP { out->integer = std::isnormal(in[0].real); };
  t["math.absi"] = OP { out->integer = wrapTo(op.to, in[0].integer < 0 ? (int64_t)-(uint64_t)in[0].integer : in[0].integer); };
  t["math.ctpop"] = OP { out->integer = wrapTo(op.to, llvm::popcount(pattern(op, in[0]))); };
  t["math.ctlz"] = OP { out->integer = wrapTo(op.to, llvm::countl_zero(pattern(op, in[0])) - (64 - (int)bits(op.to))); };
  t["math.cttz"] = OP {
    uint64_t p = pattern(op, in[0]);
    out->integer = wrapTo(op.to, p ? llvm::countr_zero(p) : (int)bits(op.to));
  };
  t["math.ipowi"] = OP { out->integer = power(op.to, in[0].integer, in[1].integer); };
}
#undef REAL
#undef OP

} // namespace llmc::reference
