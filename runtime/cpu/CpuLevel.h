// What this CPU can run, and which of an artifact's code objects suits it best.
#pragma once
#include "absl/status/statusor.h"
#include "runtime/Plan.h"
#include <set>

namespace llmc::runtime {

/// `level` is the x86-64 psABI level (1 to 4) that CPU and operating system support; `features` are LLVM's
/// names of others.
struct CpuAbility {
  int level = 1;
  std::set<std::string> features;
};

CpuAbility detectCpu();
/// 3 for "x86-64-v3"; 0 for names of other things.
int cpuLevelNumber(const std::string &name);

/// Index of the best code object for target "cpu", or an error that names what the artifact has and what the
/// CPU is.
absl::StatusOr<uint32_t> chooseCodeObject(const std::vector<CodeObject> &objects, const CpuAbility &cpu,
                                          const std::string &file);

} // namespace llmc::runtime
