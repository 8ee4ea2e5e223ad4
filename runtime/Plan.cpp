// Names and checked sizes of plan values. All arithmetic on numbers from files goes through checkedMul and
// checkedAdd.
#include "runtime/Plan.h"

namespace llmc::runtime {

uint64_t elementBytes(ElementType type) {
  switch (type) {
  case ElementType::f64:
  case ElementType::i64:
    return 8;
  case ElementType::f32:
  case ElementType::i32:
    return 4;
  case ElementType::bf16:
  case ElementType::f16:
  case ElementType::i16:
    return 2;
  case ElementType::i8:
  case ElementType::u8:
  case ElementType::i1:
    return 1;
  }
  return 0;
}

const char *elementName(ElementType type) {
  static const char *const names[kElementTypes] = {"f32", "bf16", "f16", "f64", "i64",
                                                   "i32", "i16",  "i8",  "u8",  "i1"};
  return static_cast<unsigned>(type) < kElementTypes ? names[static_cast<unsigned>(type)] : "?";
}

const char *symbolName(Symbol symbol) {
  static const char *const names[kSymbols] = {"", "T", "S", "SLOTS", "CTX", "CTXB"};
  return static_cast<unsigned>(symbol) < kSymbols ? names[static_cast<unsigned>(symbol)] : "?";
}

const char *kindName(BufferKind kind) {
  static const char *const names[kBufferKinds] = {"input", "output",    "weight",
                                                  "state", "transient", "constant"};
  return static_cast<unsigned>(kind) < kBufferKinds ? names[static_cast<unsigned>(kind)] : "?";
}

std::string printShape(const Shape &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i)
      text += ", ";
    if (shape[i].symbol == Symbol::one)
      text += std::to_string(shape[i].multiplier);
    else if (shape[i].multiplier == 1)
      text += symbolName(shape[i].symbol);
    else
      text += std::to_string(shape[i].multiplier) + "*" + symbolName(shape[i].symbol);
  }
  return text + "]";
}

std::optional<uint64_t> checkedMul(uint64_t a, uint64_t b) {
  uint64_t r;
  if (__builtin_mul_overflow(a, b, &r))
    return std::nullopt;
  return r;
}

std::optional<uint64_t> checkedAdd(uint64_t a, uint64_t b) {
  uint64_t r;
  if (__builtin_add_overflow(a, b, &r))
    return std::nullopt;
  return r;
}

std::optional<uint64_t> shapeBytes(const Shape &shape, ElementType type, const Dims &dims) {
  // Zero-sized dimensions must not hide an overflow of the others, so that a shape is legal or not whatever
  // the order.
  uint64_t bytes = elementBytes(type);
  bool isEmpty = false;
  for (const Dim &dim : shape) {
    uint64_t value = dim.multiplier;
    if (dim.symbol != Symbol::one) {
      auto product = checkedMul(value, static_cast<uint64_t>(dims[static_cast<unsigned>(dim.symbol) - 1]));
      if (!product)
        return std::nullopt;
      value = *product;
    }
    if (value == 0) {
      isEmpty = true;
      continue;
    }
    auto product = checkedMul(bytes, value);
    if (!product || *product >> 62)
      return std::nullopt;
    bytes = *product;
  }
  return isEmpty ? 0 : bytes;
}

const char *spanPrefix(unsigned span) {
  static const char *const prefixes[kMaxSpans] = {"", "later_", "block_", "extra_", "token_"};
  return span < kMaxSpans ? prefixes[span] : "?";
}

bool isGridProgram(const std::vector<GridTerm> &grid, size_t symbols) {
  unsigned depth = 0;
  for (const GridTerm &term : grid) {
    if (term.op == GridOp::constant || term.op == GridOp::symbol) {
      if (term.op == GridOp::symbol && static_cast<uint64_t>(term.value) >= symbols)
        return false;
      if (++depth > kMaxGridDepth)
        return false;
    } else if (depth-- < 2) {
      return false;
    }
  }
  return depth == 1;
}

std::optional<int64_t> evaluateGrid(const std::vector<GridTerm> &grid, const int64_t *symbols) {
  int64_t stack[kMaxGridDepth];
  unsigned depth = 0;
  for (const GridTerm &term : grid) {
    if (term.op == GridOp::constant || term.op == GridOp::symbol) {
      stack[depth++] = term.op == GridOp::constant ? term.value : symbols[term.value];
      continue;
    }
    int64_t y = stack[--depth], &x = stack[depth - 1];
    bool isBad = false;
    switch (term.op) {
    case GridOp::add: isBad = __builtin_add_overflow(x, y, &x); break;
    case GridOp::sub: isBad = __builtin_sub_overflow(x, y, &x); break;
    case GridOp::mul: isBad = __builtin_mul_overflow(x, y, &x); break;
    case GridOp::min: x = x < y ? x : y; break;
    case GridOp::max: x = x > y ? x : y; break;
    default: // divisions, of values that are not negative
      if (x < 0 || y <= 0)
        return std::nullopt;
      x = term.op == GridOp::div ? x / y : term.op == GridOp::ceilDiv ? x / y + (x % y != 0) : x % y;
    }
    if (isBad)
      return std::nullopt;
  }
  return stack[0] < 0 ? std::nullopt : std::optional<int64_t>(stack[0]);
}

bool sameElements(const Shape &a, const Shape &b) {
  unsigned __int128 factor[2] = {1, 1};
  int symbols[2][kSymbols] = {};
  const Shape *shapes[2] = {&a, &b};
  for (int i = 0; i < 2; ++i)
    for (const Dim &dim : *shapes[i]) {
      factor[i] *= dim.multiplier;
      if (factor[i] >> 64)
        return false;
      ++symbols[i][static_cast<unsigned>(dim.symbol)];
    }
  if (factor[0] != factor[1])
    return false;
  for (unsigned s = 1; s < kSymbols; ++s)
    if (symbols[0][s] != symbols[1][s])
      return false;
  return true;
}

} // namespace llmc::runtime
