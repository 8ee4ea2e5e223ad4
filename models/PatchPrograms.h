// What families that work on patches of tokens share: the settings of drawing one.
#pragma once
#include "models/Config.h"
#include "models/ModelBuilder.h"

namespace llmc {

/// The rule by which draws become a draw at a temperature, and its limits: what llm.accept_patch reads.
std::vector<Setting> settingsOfDraws();
/// `patch_size`.
int64_t readPatch(const ConfigReader &file);

} // namespace llmc
