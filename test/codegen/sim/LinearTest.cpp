// Linears over a prompt as the chunk pass shares them out among workgroups, on both architectures: wide tiles, the narrower one at the end of
// the columns, and rows enough for a second group of tiles. Numbers are exact, so results are the host's to the bit.
#include "test/codegen/sim/OpKernels.h"

namespace llmc::test {
namespace {

struct Linear {
  int rows, k, columns;
};

class PromptLinears : public testing::TestWithParam<const char *> {};

void expectTheHosts(const Linear &s, const char *arch) {
  SCOPED_TRACE(std::to_string(s.rows) + " rows, " + std::to_string(s.k) + " k, " + std::to_string(s.columns) + " columns");
  const std::string k = std::to_string(s.k), n = std::to_string(s.columns), x = "tensor<?x" + k + "xbf16>", w = "tensor<" + n + "x" + k + "xbf16>",
                    y = "tensor<?x" + n + "xf32>", types = "(" + x + ", " + w + ", " + y + ") -> " + y;
  // With a residual, which the epilogue adds in registers.
  OpKernels kernels("func.func @f(%x: " + x + ", %w: " + w + ", %r: " + y + ") -> " + y + " {\n" +
                        "  %y = llm.dispatch(%x, %w, %r) {kernel = \"linear\", tied = array<i64: -1>} : " + types + " {\n" +
                        "  ^bb0(%a: " + x + ", %b: " + w + ", %c: " + y + "):\n" +
                        "    %z = llm.linear %a, %b : (" + x + ", " + w + ") -> " + y + "\n" +
                        "    %s = llm.map %z, %c : (" + y + ", " + y + ") -> " + y + " {\n" +
                        "    ^bb0(%u: f32, %v: f32):\n      %t = arith.addf %u, %v : f32\n      llm.yield %t : f32\n    }\n" +
                        "    llm.yield %s : " + y + "\n  }\n  return %y : " + y + "\n}\n",
                    arch);
  const int panels = (s.columns + 31) / 32;
  std::vector<uint16_t> rows, packed(size_t(panels) * s.k * 32);
  std::vector<float> residual(size_t(s.rows) * s.columns), made(residual.size(), -1), expected(residual.size());
  for (int i = 0; i < s.rows * s.k; ++i)
    rows.push_back(bf16Of(exactValue(size_t(i) * 7 + 1)));
  auto weight = [&](int column, int i) { return exactValue((size_t(column) * s.k + i) * 5 + 3); };
  for (size_t i = 0; i < residual.size(); ++i)
    residual[i] = expected[i] = exactValue(i * 3);
  for (int c = 0; c < s.columns; ++c)
    for (int i = 0; i < s.k; ++i)
      packed[(size_t(c / 32) * s.k + i) * 32 + c % 32] = bf16Of(weight(c, i));
  std::vector<float> column(s.k);
  for (int c = 0; c < s.columns; ++c) {
    for (int i = 0; i < s.k; ++i)
      column[i] = weight(c, i);
    for (int r = 0; r < s.rows; ++r)
      for (int i = 0; i < s.k; ++i)
        expected[size_t(r) * s.columns + c] += wide(rows[size_t(r) * s.k + i]) * column[i];
  }
  kernels.run("linear", {s.rows, 1, 1, 0, 0}, {buffer(rows), buffer(packed), buffer(residual), buffer(made)});
  for (size_t i = 0; i < made.size(); ++i)
    ASSERT_EQ(made[i], expected[i]) << "row " << i / s.columns << ", column " << i % s.columns;
}

// 256 columns a tile and 8 in the last; 160 a tile. One to three tiles of rows: on sm_90a two at a time are a cluster's.
TEST_P(PromptLinears, OfManyColumnsAreTheHosts) {
  expectTheHosts({1, 72, 4104}, GetParam());
  expectTheHosts({129, 24, 4104}, GetParam());
  expectTheHosts({200, 136, 4160}, GetParam());
  expectTheHosts({300, 16, 4352}, GetParam());
}

// 18 tiles of rows by three of columns: 16 and 2 are taken together.
TEST_P(PromptLinears, OfManyRowsAreTheHosts) { expectTheHosts({2180, 16, 264}, GetParam()); }

INSTANTIATE_TEST_SUITE_P(Architectures, PromptLinears, testing::Values("sm_80", "sm_90a"));

} // namespace
} // namespace llmc::test
