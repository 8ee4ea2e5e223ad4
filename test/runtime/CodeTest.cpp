// Code objects: loading ELF without the dynamic linker, hostile ones included, and choosing by CPU.
#include "TestModel.h"
#include "runtime/cpu/CpuLevel.h"
#include "runtime/cpu/ElfImage.h"
#include <cstring>
#include <elf.h>
#include <random>

namespace llmc::test {
using namespace llmc::runtime;
namespace {

absl::StatusOr<std::unique_ptr<ElfImage>> load(const std::string &bytes) {
  return ElfImage::load(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size(), "m");
}
std::string refusal(const std::string &bytes) { return std::string(load(bytes).status().message()); }

TEST(ElfImage, finds_kernels_and_applies_relative_relocations) {
  auto image = load(readFile(LLMC_TEST_KERNELS_RELATIVE));
  ASSERT_TRUE(image.ok()) << image.status();
  for (const char *name : {"remember", "remember.grid", "accumulate", "logits", "sample.grid"})
    EXPECT_NE((*image)->function(name), nullptr) << name;
  EXPECT_EQ((*image)->function("absent"), nullptr);
  auto grid = reinterpret_cast<int64_t (*)(const int64_t *)>((*image)->function("logits.grid"));
  int64_t dims[5] = {7, 1, 1, 32, 1};
  EXPECT_EQ(grid(dims), 91);
  EXPECT_EQ(reinterpret_cast<int (*)()>((*image)->function("through_pointers"))(), 12);
}

TEST(ElfImage, refuses_what_needs_a_dynamic_linker) {
  EXPECT_NE(refusal(readFile(LLMC_TEST_KERNELS_UNDEFINED)).find("m: code object "), std::string::npos);
  EXPECT_EQ(refusal(readFile(LLMC_TEST_KERNELS_CONSTRUCTOR)),
            "m: code object has constructors or destructors; compile the model again");
  EXPECT_EQ(refusal("no ELF"),
            "m: code object of 6 bytes is too short for an ELF header; compile the model again");
  EXPECT_EQ(refusal(std::string(100, 'x')),
            "m: code object is not an x86-64 ELF shared object; compile the model again");
  std::string writable = readFile(LLMC_TEST_KERNELS_V3);
  Elf64_Ehdr header;
  memcpy(&header, writable.data(), sizeof header);
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    char *at = &writable[header.e_phoff + static_cast<size_t>(i) * sizeof segment];
    memcpy(&segment, at, sizeof segment);
    if (segment.p_type == PT_LOAD)
      segment.p_flags |= PF_W | PF_X;
    memcpy(at, &segment, sizeof segment);
  }
  EXPECT_EQ(refusal(writable),
            "m: code object has a segment that is writable and executable; compile the model again");
}

TEST(ElfImage, truncations_and_mutations_never_crash) {
  std::string good = readFile(LLMC_TEST_KERNELS_RELATIVE);
  for (size_t size = 0; size < good.size(); size += 13)
    load(good.substr(0, size)).status().IgnoreError();
  std::mt19937 random(2);
  static const uint64_t values[] = {
      0, 1, ~0ull, 1ull << 63, 0x7fffffffffffffff, 4096, 1ull << 30, 0xfffffffffffff000};
  for (int round = 0; round < 20000; ++round) {
    std::string bad = good;
    for (unsigned i = 0; i <= random() % 4; ++i) {
      size_t at = random() % (random() % 2 ? std::min<size_t>(bad.size(), 1024) : bad.size());
      if (random() % 2)
        bad[at] = static_cast<char>(bad[at] ^ (1 << random() % 8));
      else if (at / 8 * 8 + 8 <= bad.size())
        memcpy(&bad[at / 8 * 8], &values[random() % 8], 8);
    }
    load(bad).status().IgnoreError();
  }
}

TEST(CpuLevel, takes_the_best_that_runs) {
  std::vector<CodeObject> objects = {
      {"cpu", "x86-64-v3", {}, 0}, {"cpu", "x86-64-v4", {}, 1}, {"cpu", "x86-64-v4", {"amx-tile"}, 2}};
  EXPECT_EQ(*chooseCodeObject(objects, {3, {}}, "m"), 0u);
  EXPECT_EQ(*chooseCodeObject(objects, {4, {}}, "m"), 1u);
  EXPECT_EQ(*chooseCodeObject(objects, {4, {"amx-tile"}}, "m"), 2u);
  EXPECT_EQ(chooseCodeObject(objects, {2, {}}, "m.llmc").status().message(),
            "m.llmc: has no code for this CPU: the artifact holds cpu x86-64-v3, cpu x86-64-v4, cpu "
            "x86-64-v4+amx-tile, this CPU is "
            "x86-64-v2; compile the model again with --cpu for this machine");
  EXPECT_EQ(chooseCodeObject({{"cuda", "sm_90a", {}, 0}}, {4, {}}, "m.llmc").status().message(),
            "m.llmc: has no code for this CPU: the artifact holds cuda sm_90a, this CPU is x86-64-v4; "
            "compile the model again with --cpu "
            "for this machine");
  EXPECT_EQ(cpuLevelNumber("x86-64-v4"), 4);
  EXPECT_EQ(cpuLevelNumber("sm_90a"), 0);
  EXPECT_GE(detectCpu().level, 1);
}

} // namespace
} // namespace llmc::test
