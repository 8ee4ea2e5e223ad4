// Words for kernels that count: integers and truth values.
#pragma once
#include "passes/chunk/TileBuilder.h"

namespace llmc {

/// Integer words: all values i32 unless said otherwise.
struct I32 {
  using Value = mlir::Value;
  TileBuilder &t;
  Value of(Value index) { return mlir::arith::IndexCastOp::create(t.b, t.loc, t.b.getI32Type(), index); }
  Value add(Value x, Value y) { return mlir::arith::AddIOp::create(t.b, t.loc, x, y); }
  Value is(mlir::arith::CmpIPredicate p, Value x, Value y) { return mlir::arith::CmpIOp::create(t.b, t.loc, p, x, y); }
  Value both(Value x, Value y) { return mlir::arith::AndIOp::create(t.b, t.loc, x, y); }
  Value either(Value x, Value y) { return mlir::arith::OrIOp::create(t.b, t.loc, x, y); }
  Value no(Value x) { return mlir::arith::XOrIOp::create(t.b, t.loc, x, yes(true)); }
  Value yes(bool v) { return mlir::arith::ConstantOp::create(t.b, t.loc, t.b.getBoolAttr(v)); }
  Value long64(Value x) { return mlir::arith::ExtSIOp::create(t.b, t.loc, t.b.getI64Type(), x); }
};

} // namespace llmc
