// libFuzzer target of config.json: parsing, rotary parameters, and the search for keys that nobody read.
#include "models/Rope.h"

#include <cmath>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text(reinterpret_cast<const char *>(data), size);
  absl::StatusOr<llmc::ConfigReader> config = llmc::ConfigReader::parse(text, "input");
  if (!config.ok())
    return 0;
  llmc::RopeScaling rope = llmc::readRopeScaling(*config, 8);
  bool good = config->status().ok();
  for (float value : rope.inverseFrequencies(8))
    if (good && !std::isfinite(value))
      std::abort();
  (void)config->getIntOrInts("eos_token_id");
  (void)config->finish();
  return 0;
}
