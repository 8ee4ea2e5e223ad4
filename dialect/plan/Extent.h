// A dynamic dimension's size as text, "T" or "8*T": what `llm.dims` on kernel arguments and `dims` of plan.buffer hold.
#pragma once
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <iterator>
#include <optional>

namespace llmc::plan {

/// The symbols, in the order in which kernels receive their values.
inline constexpr llvm::StringLiteral kSymbols[] = {"T", "S", "SLOTS", "CTX", "CTXB"};
inline constexpr unsigned kNumSymbols = std::size(kSymbols);

/// factor * the value of symbol number `symbol`.
struct Extent {
  int64_t factor = 1;
  unsigned symbol = 0;
  llvm::StringRef name() const { return kSymbols[symbol]; }
};

/// SYMBOL or N*SYMBOL with N >= 1; nothing for any other text.
inline std::optional<Extent> parseExtent(llvm::StringRef text) {
  Extent extent;
  llvm::StringRef name = text;
  if (text.contains('*')) {
    auto [factor, rest] = text.split('*');
    if (factor.trim().getAsInteger(10, extent.factor) || extent.factor < 1)
      return std::nullopt;
    name = rest;
  }
  const auto *found = llvm::find(kSymbols, name.trim());
  if (found == std::end(kSymbols))
    return std::nullopt;
  extent.symbol = found - std::begin(kSymbols);
  return extent;
}

} // namespace llmc::plan
