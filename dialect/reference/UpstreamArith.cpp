// Scalar functions of the arith dialect. Integers wrap around at their width; reals are doubles that only conversions round.
#include "dialect/reference/Scalars.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/bit.h"
#include <cmath>

using namespace mlir;
namespace llmc::reference {

using Table = llvm::StringMap<ScalarOp::Function>;

/// The bits of an integer as an unsigned number of its width.
static uint64_t bare(Element e, Cell c) {
  unsigned n = bits(e);
  return n == 64 ? (uint64_t)c.integer : (uint64_t)c.integer & ((1ull << n) - 1);
}

/// The integer as a signed number; a bool of one bit is 0 or -1.
static int64_t withSign(Element e, Cell c) { return e == Element::I1 ? -(c.integer & 1) : c.integer; }

static bool compareReals(int64_t predicate, double a, double b) {
  bool unordered = std::isnan(a) || std::isnan(b);
  switch ((arith::CmpFPredicate)predicate) {
  case arith::CmpFPredicate::AlwaysFalse:
    return false;
  case arith::CmpFPredicate::OEQ:
    return a == b;
  case arith::CmpFPredicate::OGT:
    return a > b;
  case arith::CmpFPredicate::OGE:
    return a >= b;
  case arith::CmpFPredicate::OLT:
    return a < b;
  case arith::CmpFPredicate::OLE:
    return a <= b;
  case arith::CmpFPredicate::ONE:
    return !unordered && a != b;
  case arith::CmpFPredicate::ORD:
    return !unordered;
  case arith::CmpFPredicate::UEQ:
    return unordered || a == b;
  case arith::CmpFPredicate::UGT:
    return unordered || a > b;
  case arith::CmpFPredicate::UGE:
    return unordered || a >= b;
  case arith::CmpFPredicate::ULT:
    return unordered || a < b;
  case arith::CmpFPredicate::ULE:
    return unordered || a <= b;
  case arith::CmpFPredicate::UNE:
    return unordered || a != b;
  case arith::CmpFPredicate::UNO:
    return unordered;
  case arith::CmpFPredicate::AlwaysTrue:
    return true;
  }
  return false;
}

static bool compareIntegers(const ScalarOp &op, Cell a, Cell b) {
  int64_t s = withSign(op.from, a), t = withSign(op.from, b);
  uint64_t u = bare(op.from, a), v = bare(op.from, b);
  switch ((arith::CmpIPredicate)op.predicate) {
  case arith::CmpIPredicate::eq:
    return u == v;
  case arith::CmpIPredicate::ne:
    return u != v;
  case arith::CmpIPredicate::slt:
    return s < t;
  case arith::CmpIPredicate::sle:
    return s <= t;
  case arith::CmpIPredicate::sgt:
    return s > t;
  case arith::CmpIPredicate::sge:
    return s >= t;
  case arith::CmpIPredicate::ult:
    return u < v;
  case arith::CmpIPredicate::ule:
    return u <= v;
  case arith::CmpIPredicate::ugt:
    return u > v;
  case arith::CmpIPredicate::uge:
    return u >= v;
  }
  return false;
}

/// The bit pattern of a real as its type stores it (sign-extended), and back.
static int64_t patternOf(Element e, double v) {
  switch (e) {
  case Element::F64:
    return llvm::bit_cast<int64_t>(v);
  case Element::F32:
    return llvm::bit_cast<int32_t>((float)v);
  case Element::BF16:
    return llvm::bit_cast<int32_t>((float)roundTo(e, v)) >> 16;
  default: {
    bool loses;
    llvm::APFloat f(v);
    f.convert(llvm::APFloat::IEEEhalf(), llvm::APFloat::rmNearestTiesToEven, &loses);
    return f.bitcastToAPInt().getSExtValue();
  }
  }
}
static double realOf(Element e, int64_t pattern) {
  switch (e) {
  case Element::F64:
    return llvm::bit_cast<double>(pattern);
  case Element::F32:
    return llvm::bit_cast<float>((int32_t)pattern);
  case Element::BF16:
    return llvm::bit_cast<float>((int32_t)((uint32_t)pattern << 16));
  default: {
    llvm::APFloat f(llvm::APFloat::IEEEhalf(), llvm::APInt(16, (uint16_t)pattern));
    bool loses;
    f.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &loses);
    return f.convertToDouble();
  }
  }
}

/// Out of range values saturate and NaN gives 0 (the IR leaves both open).
static int64_t toInteger(Element e, double v) {
  if (std::isnan(v))
    return 0;
  double limit = std::ldexp(1.0, bits(e) - 1);
  if (v >= limit)
    return wrapTo(e, (int64_t)(((uint64_t)1 << (bits(e) - 1)) - 1));
  return v < -limit ? wrapTo(e, -(int64_t)((uint64_t)1 << (bits(e) - 1))) : (int64_t)v;
}

#define OP [](const ScalarOp &op, const Cell *in, Cell *out)

static void addReals(Table &t) {
  t["arith.addf"] = OP { out->real = in[0].real + in[1].real; };
  t["arith.subf"] = OP { out->real = in[0].real - in[1].real; };
  t["arith.mulf"] = OP { out->real = in[0].real * in[1].real; };
  t["arith.divf"] = OP { out->real = in[0].real / in[1].real; };
  t["arith.remf"] = OP { out->real = std::fmod(in[0].real, in[1].real); };
  t["arith.negf"] = OP { out->real = -in[0].real; };
  t["arith.maximumf"] = OP {
    double a = in[0].real, b = in[1].real;
    out->real = std::isnan(a) ? a : std::isnan(b) ? b : std::max(a, b);
  };
  t["arith.minimumf"] = OP {
    double a = in[0].real, b = in[1].real;
    out->real = std::isnan(a) ? a : std::isnan(b) ? b : std::min(a, b);
  };
  t["arith.maxnumf"] = OP { out->real = std::fmax(in[0].real, in[1].real); };
  t["arith.minnumf"] = OP { out->real = std::fmin(in[0].real, in[1].real); };
  t["arith.cmpf"] = OP { out->integer = compareReals(op.predicate, in[0].real, in[1].real); };
  // Widening a float32 to f64 means the float32; to anything narrower it changes nothing.
  t["arith.extf"] = OP { out->real = op.from == Element::F32 ? roundTo(op.from, in[0].real) : in[0].real; };
  t["arith.truncf"] = OP { out->real = op.to == Element::F32 ? in[0].real : roundTo(op.to, in[0].real); };
}

static void addConversions(Table &t) {
  t["arith.sitofp"] = OP { out->real = (double)withSign(op.from, in[0]); };
  t["arith.uitofp"] = OP { out->real = (double)bare(op.from, in[0]); };
  t["arith.fptosi"] = OP { out->integer = toInteger(op.to, in[0].real); };
  t["arith.fptoui"] = OP {
    double v = in[0].real;
    out->integer = wrapTo(op.to, v > 0 ? (int64_t)(uint64_t)std::min(v, std::ldexp(1.0, bits(op.to)) - 1) : 0);
  };
  t["arith.extsi"] = OP { out->integer = wrapTo(op.to, withSign(op.from, in[0])); };
  t["arith.extui"] = OP { out->integer = wrapTo(op.to, bare(op.from, in[0])); };
  t["arith.trunci"] = OP { out->integer = wrapTo(op.to, in[0].integer); };
  t["arith.index_cast"] = OP { out->integer = wrapTo(op.to, withSign(op.from, in[0])); };
  t["arith.index_castui"] = OP { out->integer = wrapTo(op.to, bare(op.from, in[0])); };
  t["arith.bitcast"] = OP {
    if (isReal(op.from) == isReal(op.to))
      *out = in[0];
    else if (isReal(op.from))
      out->integer = patternOf(op.from, in[0].real);
    else
      out->real = realOf(op.to, in[0].integer);
  };
  t["arith.select"] = OP { *out = in[0].integer & 1 ? in[1] : in[2]; };
}

static void addIntegers(Table &t) {
  t["arith.addi"] = OP { out->integer = wrapTo(op.to, (uint64_t)in[0].integer + (uint64_t)in[1].integer); };
  t["arith.subi"] = OP { out->integer = wrapTo(op.to, (uint64_t)in[0].integer - (uint64_t)in[1].integer); };
  t["arith.muli"] = OP { out->integer = wrapTo(op.to, (uint64_t)in[0].integer * (uint64_t)in[1].integer); };
  t["arith.andi"] = OP { out->integer = in[0].integer & in[1].integer; };
  t["arith.ori"] = OP { out->integer = in[0].integer | in[1].integer; };
  t["arith.xori"] = OP { out->integer = wrapTo(op.to, in[0].integer ^ in[1].integer); };
  // Division by zero and shifts by the width or more are left open by the IR: they give 0 here, and the lowest number
  // divided by -1 wraps around.
  t["arith.divsi"] = OP {
    int64_t a = withSign(op.to, in[0]), b = withSign(op.to, in[1]);
    out->integer = b == 0 ? 0 : wrapTo(op.to, b == -1 ? (int64_t)-(uint64_t)a : a / b);
  };
  t["arith.remsi"] = OP {
    int64_t a = withSign(op.to, in[0]), b = withSign(op.to, in[1]);
    out->integer = b == 0 || b == -1 ? 0 : a % b;
  };
  t["arith.divui"] = OP {
    uint64_t a = bare(op.to, in[0]), b = bare(op.to, in[1]);
    out->integer = b == 0 ? 0 : wrapTo(op.to, a / b);
  };
  t["arith.remui"] = OP {
    uint64_t a = bare(op.to, in[0]), b = bare(op.to, in[1]);
    out->integer = b == 0 ? 0 : wrapTo(op.to, a % b);
  };
  t["arith.floordivsi"] = OP {
    int64_t a = withSign(op.to, in[0]), b = withSign(op.to, in[1]);
    out->integer = b == 0 || b == -1 ? wrapTo(op.to, b == 0 ? 0 : (int64_t)-(uint64_t)a) : llvm::divideFloorSigned(a, b);
  };
  t["arith.ceildivsi"] = OP {
    int64_t a = withSign(op.to, in[0]), b = withSign(op.to, in[1]);
    out->integer = b == 0 || b == -1 ? wrapTo(op.to, b == 0 ? 0 : (int64_t)-(uint64_t)a) : llvm::divideCeilSigned(a, b);
  };
  t["arith.ceildivui"] = OP {
    uint64_t a = bare(op.to, in[0]), b = bare(op.to, in[1]);
    out->integer = b == 0 ? 0 : wrapTo(op.to, a / b + (a % b != 0));
  };
  t["arith.shli"] = OP {
    uint64_t n = bare(op.to, in[1]);
    out->integer = n >= bits(op.to) ? 0 : wrapTo(op.to, (uint64_t)in[0].integer << n);
  };
  t["arith.shrui"] = OP {
    uint64_t n = bare(op.to, in[1]);
    out->integer = n >= bits(op.to) ? 0 : wrapTo(op.to, bare(op.to, in[0]) >> n);
  };
  t["arith.shrsi"] = OP {
    uint64_t n = bare(op.to, in[1]);
    out->integer = n >= bits(op.to) ? 0 : wrapTo(op.to, withSign(op.to, in[0]) >> n);
  };
  t["arith.maxsi"] = OP { *out = withSign(op.to, in[0]) >= withSign(op.to, in[1]) ? in[0] : in[1]; };
  t["arith.minsi"] = OP { *out = withSign(op.to, in[0]) <= withSign(op.to, in[1]) ? in[0] : in[1]; };
  t["arith.maxui"] = OP { *out = bare(op.to, in[0]) >= bare(op.to, in[1]) ? in[0] : in[1]; };
  t["arith.minui"] = OP { *out = bare(op.to, in[0]) <= bare(op.to, in[1]) ? in[0] : in[1]; };
  t["arith.cmpi"] = OP { out->integer = compareIntegers(op, in[0], in[1]); };
  t["arith.addui_extended"] = OP {
    out[0].integer = wrapTo(op.to, bare(op.to, in[0]) + bare(op.to, in[1]));
    out[1].integer = bare(op.to, out[0]) < bare(op.to, in[0]);
  };
  t["arith.mului_extended"] = OP {
    unsigned __int128 product = (unsigned __int128)bare(op.to, in[0]) * bare(op.to, in[1]);
    out[0].integer = wrapTo(op.to, (int64_t)(uint64_t)product);
    out[1].integer = wrapTo(op.to, (int64_t)(uint64_t)(product >> bits(op.to)));
  };
  t["arith.mulsi_extended"] = OP {
    __int128 product = (__int128)withSign(op.to, in[0]) * withSign(op.to, in[1]);
    out[0].integer = wrapTo(op.to, (int64_t)product);
    out[1].integer = wrapTo(op.to, (int64_t)(product >> bits(op.to)));
  };
}
#undef OP

void addArith(Table &t) {
  addReals(t);
  addConversions(t);
  addIntegers(t);
}

} // namespace llmc::reference
