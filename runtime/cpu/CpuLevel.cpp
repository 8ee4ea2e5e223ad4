// CPU detection by cpuid and xgetbv. Bits are those of Intel's manual, volume 2, CPUID, and of the x86-64
// psABI levels.
#include "runtime/cpu/CpuLevel.h"
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace llmc::runtime {

#if defined(__x86_64__)
static uint64_t enabledStates() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

CpuAbility detectCpu() {
  CpuAbility cpu;
  unsigned a, b, c, d;
  unsigned c1 = 0, d1 = 0, b7 = 0, c7 = 0, d7 = 0, a71 = 0, d71 = 0, c81 = 0, b24 = 0;
  if (__get_cpuid(1, &a, &b, &c1, &d1) == 0)
    return cpu;
  unsigned leaves7 = 0;
  if (__get_cpuid_count(7, 0, &leaves7, &b7, &c7, &d7) && leaves7 >= 1)
    __get_cpuid_count(7, 1, &a71, &b, &c, &d71);
  __get_cpuid(0x80000001, &a, &b, &c81, &d);
  if (d71 >> 19 & 1)
    __get_cpuid_count(0x24, 0, &a, &b24, &c, &d);
  auto has = [](unsigned word, int bit) { return (word >> bit & 1) != 0; };

  // v2: SSE3, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT and LAHF.
  if (has(c1, 0) && has(c1, 9) && has(c1, 13) && has(c1, 19) && has(c1, 20) && has(c1, 23) && has(c81, 0))
    cpu.level = 2;
  uint64_t states = has(c1, 27) ? enabledStates() : 0;
  bool hasYmm = (states & 0x6) == 0x6, hasZmm = (states & 0xe6) == 0xe6,
       hasTiles = (states & 0x60000) == 0x60000;
  // v3: FMA, MOVBE, AVX, F16C, BMI1, AVX2, BMI2, LZCNT.
  if (cpu.level == 2 && hasYmm && has(c1, 12) && has(c1, 22) && has(c1, 28) && has(c1, 29) && has(b7, 3) &&
      has(b7, 5) && has(b7, 8) && has(c81, 5))
    cpu.level = 3;
  // v4: AVX512 F, DQ, CD, BW, VL.
  if (cpu.level == 3 && hasZmm && has(b7, 16) && has(b7, 17) && has(b7, 28) && has(b7, 30) && has(b7, 31))
    cpu.level = 4;

  auto add = [&](bool present, const char *name) {
    if (present)
      cpu.features.insert(name);
  };
  bool v4 = cpu.level == 4, v3 = cpu.level >= 3;
  add(v4 && has(b7, 21), "avx512ifma");
  add(v4 && has(c7, 1), "avx512vbmi");
  add(v4 && has(c7, 6), "avx512vbmi2");
  add(v4 && has(c7, 11), "avx512vnni");
  add(v4 && has(c7, 12), "avx512bitalg");
  add(v4 && has(c7, 14), "avx512vpopcntdq");
  add(v4 && has(d7, 23), "avx512fp16");
  add(v4 && has(a71, 5), "avx512bf16");
  add(v3 && has(a71, 4), "avxvnni");
  add(v4 && has(d7, 8), "avx512vp2intersect");
  add(v4 && (b24 & 0xff) >= 2, "avx10.2");
  add(v3 && has(a71, 23), "avxifma");
  add(v3 && has(d71, 4), "avxvnniint8");
  add(v3 && has(d71, 5), "avxneconvert");
  add(v3 && has(d71, 10), "avxvnniint16");
  add(v3 && has(c7, 8), "gfni");
  add(v3 && has(c7, 9), "vaes");
  add(v3 && has(c7, 10), "vpclmulqdq");
  add(hasTiles && has(d7, 24), "amx-tile");
  add(hasTiles && has(d7, 22), "amx-bf16");
  add(hasTiles && has(d7, 25), "amx-int8");
  return cpu;
}
#else
CpuAbility detectCpu() { return {0, {}}; }
#endif

static std::string levelName(int level) { return level == 1 ? "x86-64" : "x86-64-v" + std::to_string(level); }

int cpuLevelNumber(const std::string &name) {
  for (int level = 1; level <= 4; ++level)
    if (name == levelName(level))
      return level;
  return 0;
}

absl::StatusOr<uint32_t> chooseCodeObject(const std::vector<CodeObject> &objects, const CpuAbility &cpu,
                                          const std::string &file) {
  int best = -1;
  auto rank = [&](const CodeObject &o) {
    return cpuLevelNumber(o.level) * 1000 + static_cast<int>(o.features.size());
  };
  std::string present;
  for (size_t i = 0; i < objects.size(); ++i) {
    const CodeObject &o = objects[i];
    present += (present.empty() ? "" : ", ") + o.target + " " + o.level;
    for (const std::string &feature : o.features)
      present += "+" + feature;
    int level = cpuLevelNumber(o.level);
    bool runs = o.target == "cpu" && level > 0 && level <= cpu.level;
    for (const std::string &feature : o.features)
      runs = runs && cpu.features.count(feature) > 0;
    if (runs && (best < 0 || rank(o) > rank(objects[static_cast<size_t>(best)])))
      best = static_cast<int>(i);
  }
  if (best >= 0)
    return static_cast<uint32_t>(best);
  std::string mine = cpu.level == 0 ? "not an x86-64 CPU" : levelName(cpu.level);
  for (const std::string &feature : cpu.features)
    mine += "+" + feature;
  return absl::FailedPreconditionError(file + ": has no code for this CPU: the artifact holds " +
                                       (present.empty() ? "none" : present) + ", this CPU is " + mine +
                                       "; compile the model again with --cpu for this machine");
}

} // namespace llmc::runtime
