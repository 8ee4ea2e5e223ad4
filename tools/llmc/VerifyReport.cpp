// What `llmc verify` prints.
#include "tools/llmc/Verify.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

namespace llmc {
namespace {

/// "1.2e-07"; JSON has no infinity, so there it is a string too.
std::string errorText(double error) {
  char text[32];
  snprintf(text, sizeof text, error == 0 ? "0" : "%.2g", error);
  return text;
}

void printTable(const VerifyReport &report, FILE *out) {
  size_t value = 5, kernel = 6, shape = 5;
  for (const VerifiedValue &v : report.values) {
    value = std::max(value, v.name.size());
    kernel = std::max(kernel, v.kernel.size());
    shape = std::max(shape, v.shape.size());
  }
  auto line = [&](const char *program, const char *name, const char *code, const char *size,
                  const char *error, const char *row, const char *end) {
    fprintf(out, "%-8s %-*s  %-*s  %-*s  %8s  %-16s%s\n", program, int(value), name, int(kernel), code,
            int(shape), size, error, row, end);
  };
  line("program", "value", "kernel", "shape", "rel. L2", "worst row", "");
  for (const VerifiedValue &v : report.values) {
    std::string row =
        v.worstRowError == 0 ? "" : std::to_string(v.worstRow) + ": " + errorText(v.worstRowError);
    line(v.program.c_str(), v.name.c_str(), v.kernel.c_str(), v.shape.c_str(), errorText(v.relative).c_str(),
         row.c_str(), v.isWithin ? "" : "  BEYOND TOLERANCE");
  }
}

void printSummary(const VerifyReport &report, FILE *out) {
  const VerifiedValue *largest = nullptr;
  for (const VerifiedValue &v : report.values)
    if (!largest || v.relative > largest->relative)
      largest = &v;
  fprintf(
      out,
      "\n%s: %zu values that cross a dispatch compared with the reference, %zu more are inside of kernels "
      "and not seen\n",
      report.file.c_str(), report.values.size(), report.hidden);
  if (const VerifiedValue *first = report.firstBeyond())
    fprintf(out, "first beyond tolerance: %s (program %s, kernel %s): relative L2 error %s, tolerance %s\n",
            first->name.c_str(), first->program.c_str(), first->kernel.c_str(),
            errorText(first->relative).c_str(), errorText(report.tolerance).c_str());
  else if (largest)
    fprintf(out, "all within %s; the largest error is %s at %s (program %s)\n",
            errorText(report.tolerance).c_str(), errorText(largest->relative).c_str(), largest->name.c_str(),
            largest->program.c_str());
}

void printJson(const VerifyReport &report, FILE *out) {
  auto number = [](double v) {
    return std::isfinite(v) ? llvm::json::Value(v) : llvm::json::Value("infinite");
  };
  std::string text;
  llvm::raw_string_ostream stream(text);
  llvm::json::OStream json(stream, 1);
  json.object([&] {
    json.attribute("file", report.file);
    json.attribute("tolerance", report.tolerance);
    json.attributeArray("tokens", [&] {
      for (int32_t token : report.tokens)
        json.value(token);
    });
    json.attributeArray("values", [&] {
      for (const VerifiedValue &v : report.values)
        json.object([&] {
          json.attribute("program", v.program);
          json.attribute("value", v.name);
          json.attribute("kernel", v.kernel);
          json.attribute("shape", v.shape);
          json.attribute("relative_l2", number(v.relative));
          json.attribute("worst_row", v.worstRow);
          json.attribute("worst_row_error", number(v.worstRowError));
          json.attribute("within", v.isWithin);
        });
    });
    json.attribute("hidden", int64_t(report.hidden));
    const VerifiedValue *first = report.firstBeyond();
    json.attribute("first_beyond", first ? llvm::json::Value(first->name) : llvm::json::Value(nullptr));
  });
  fprintf(out, "%s\n", text.c_str());
}

} // namespace

void print(const VerifyReport &report, bool isJson, FILE *out) {
  if (isJson)
    return printJson(report, out);
  printTable(report, out);
  printSummary(report, out);
}

} // namespace llmc
