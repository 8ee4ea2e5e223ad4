// Accuracy of the expanded transcendental functions, in units of the last place of the result.
#include "test/codegen/run/Kernel.h"
#include <cmath>
#include <functional>
#include <gtest/gtest.h>

namespace llmc::test {
namespace {

using Exact = std::function<long double(long double)>;

/// Largest error of `op` on `points`, in ulp; equal infinities and NaN for NaN count as exact.
template <typename T>
double worstUlp(const std::string &op, const std::string &element, const std::string &level, std::vector<T> points,
                const Exact &exact, T *where) {
  size_t tiles = (points.size() + 39) / 40;
  points.resize(tiles * 40, points.back());
  Buffer<T> x(tiles * 40), o(tiles * 40);
  // Twice in different positions: as a lane and as the scalar at the end of a tile.
  for (size_t i = 0; i < points.size(); ++i)
    x[i] = points[i];
  Kernels kernels(tileProgram("function", {{"OP", op}, {"E", element}}), level);
  kernels.run("function", {x.data(), o.data()}, {int64_t(tiles)});
  double worst = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    long double expected = exact((long double)(x[i]));
    double error;
    if (std::isnan(expected) || std::isinf(T(expected)))
      error = (std::isnan(expected) ? std::isnan(o[i]) : o[i] == T(expected)) ? 0 : 1e30;
    else {
      T rounded = std::fabs(T(expected));
      long double ulp = (long double)(std::nextafter(rounded, T(INFINITY))) - rounded;
      error = double(std::fabs((long double)(o[i]) - expected) / ulp);
      if (std::isnan(o[i]))
        error = 1e30;
    }
    if (error > worst) {
      worst = error;
      *where = x[i];
    }
  }
  return worst;
}

template <typename T> std::vector<T> sweep(double from, double to, int count, std::vector<T> extra) {
  std::vector<T> points;
  for (int i = 0; i <= count; ++i)
    points.push_back(T(from + (to - from) * i / count));
  for (int e = -149; e < 10; ++e) // small numbers of both signs
    for (double sign : {-1.0, 1.0}) {
      T value = T(sign * std::ldexp(1.3, e));
      if (value >= from && value <= to)
        points.push_back(value);
    }
  points.insert(points.end(), extra.begin(), extra.end());
  return points;
}

const double kInf = INFINITY;

struct Case {
  const char *op;
  double from, to;
  std::vector<double> extra;
  Exact exact;
  double ulpF32, ulpF64;
};

TEST(Function, AccuracyOverTheWholeRange) {
  const Case cases[] = {
      {"exp", -110, 90, {-kInf, kInf, NAN, -1000, 1000, 0, -0.0}, [](long double x) { return std::exp(x); }, 2, 2},
      {"exp2", -155, 130, {-kInf, kInf, NAN, -1000, 1000, 0}, [](long double x) { return std::exp2(x); }, 2, 2},
      {"expm1", -110, 88, {-kInf, kInf, NAN, 0}, [](long double x) { return std::expm1(x); }, 1, 4},
      {"log", 0, 1000, {kInf, NAN, -1, -kInf, 1e30, 1}, [](long double x) { return std::log(x); }, 1, 2},
      {"log2", 0, 1000, {kInf, NAN, -1, 1e30}, [](long double x) { return std::log2(x); }, 1, 4},
      {"log1p", -1, 1000, {kInf, NAN, -2, 1e30}, [](long double x) { return std::log1p(x); }, 1, 4},
      {"tanh", -30, 30, {-kInf, kInf, NAN, 1000}, [](long double x) { return std::tanh(x); }, 2, 4},
      {"sin", -40, 40, {100000, 1e6, -123456.7, NAN}, [](long double x) { return std::sin(x); }, 1, 2},
      {"cos", -40, 40, {100000, 1e6, -123456.7, NAN}, [](long double x) { return std::cos(x); }, 1, 2},
      {"erf", -7, 7, {-kInf, kInf, NAN}, [](long double x) { return std::erf(x); }, 1, 4},
      // In f64 the rounding of x * x in the exponent costs erfc some digits, which f32 does not see.
      {"erfc", -7, 10, {-kInf, kInf, NAN}, [](long double x) { return std::erfc(x); }, 1, 256},
      {"rsqrt", 0, 1000, {kInf, NAN, 1e30}, [](long double x) { return 1 / std::sqrt(x); }, 2, 2},
      {"sqrt", 0, 1000, {kInf, NAN, 1e30}, [](long double x) { return std::sqrt(x); }, 0.501, 0.501},
      {"floor", -10, 10, {kInf, 1e30}, [](long double x) { return std::floor(x); }, 0, 0},
      {"roundeven", -10, 10, {2.5, 3.5, kInf}, [](long double x) { return std::nearbyint(x); }, 0, 0},
  };
  for (const std::string &level : levels())
    for (const Case &c : cases) {
      SCOPED_TRACE(level + " " + c.op);
      float at = 0;
      std::vector<float> extra(c.extra.begin(), c.extra.end());
      EXPECT_LE(worstUlp<float>(c.op, "f32", level, sweep<float>(c.from, c.to, 5000, extra), c.exact, &at), c.ulpF32) << "f32 at " << at;
      double at64 = 0;
      EXPECT_LE(worstUlp<double>(c.op, "f64", level, sweep<double>(c.from, c.to, 5000, c.extra), c.exact, &at64), c.ulpF64) << "f64 at " << at64;
    }
}

} // namespace
} // namespace llmc::test
