// Matrix products written by hand in the NVVM dialect: compared with a plain host loop at awkward sizes, and
// with mistakes planted that must be found.
#include "test/codegen/sim/Simulation.h"

namespace llmc::test {
namespace {

struct Product {
  int m, n, k;
  std::vector<uint16_t> a, b;
  std::vector<float> c, expected;

  Product(int m, int n, int k) : m(m), n(n), k(k) {
    for (int i = 0; i < m * k; ++i)
      a.push_back(bf16Of(exactValue(size_t(i))));
    for (int i = 0; i < n * k; ++i)
      b.push_back(bf16Of(exactValue(size_t(i) + 7)));
    c.assign(size_t(m) * n, -1.0f);
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        float sum = 0;
        for (int l = 0; l < k; ++l)
          sum += exactValue(size_t(i * k + l)) * exactValue(size_t(j * k + l) + 7);
        expected.push_back(sum);
      }
  }
  std::string run(const std::string &variant = "") {
    LaunchShape shape;
    shape.blocks = unsigned((m + 31) / 32 * ((n + 7) / 8));
    shape.threads = 64;
    return launchKernel(compileKernels(readKernel("matmul-sm80", variant)), "k", shape,
                        {buffer(a), buffer(b), buffer(c), scalar(m), scalar(n), scalar(k)});
  }
};

TEST(MatmulSm80, IsTheHostsAtAwkwardSizes) {
  for (auto [m, n, k] : {std::array<int, 3>{1, 1, 8}, {19, 21, 40}, {33, 8, 16}, {64, 17, 104}}) {
    Product p(m, n, k);
    EXPECT_EQ(p.run(), "");
    EXPECT_EQ(p.c, p.expected) << m << " x " << n << " x " << k;
  }
}

TEST(MatmulSm80, MissingWaitIsFound) {
  expectFound(Product(19, 21, 40).run("no-wait"),
              "block 0: thread 0 reads what a cp.async of thread 0 writes, before that was waited for: "
              "shared memory at offset 0 (nvvm.ldmatrix 1");
}

TEST(MatmulSm80, MissingCommitIsFound) {
  expectFound(Product(19, 21, 40).run("no-commit"), "before that was waited for: shared memory at offset 0");
}

TEST(MatmulSm80, MissingBarrierAfterTheWaitIsFound) {
  expectFound(Product(19, 21, 40).run("no-barrier-after-wait"), "shared memory at offset ");
  expectFound(Product(19, 21, 40).run("no-barrier-after-wait"), "a cp.async of thread ");
}

TEST(MatmulSm80, MissingBarrierBeforeReuseIsFound) {
  expectFound(Product(19, 21, 64).run("no-barrier-before-reuse"),
              "writes what another thread reads, without a barrier");
}

TEST(MatmulSm80, MisalignedRowsAreFound) {
  expectFound(Product(19, 21, 40).run("misaligned"),
              "uses an address that is not a multiple of 16: shared memory at offset 1032 (nvvm.ldmatrix 2");
}

TEST(MatmulSm80, DivergentWarpsAreFound) {
  expectFound(Product(19, 21, 40).run("divergent"), "which does not take part in a warp operation");
}

} // namespace
} // namespace llmc::test
