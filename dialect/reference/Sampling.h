// What drawing tokens shares: counter-based random numbers, and which tokens stay.
#pragma once
#include <cstdint>
#include <vector>

namespace llmc::reference {

/// First word of Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) with this key at the
/// counter (low, high half of `position`, `step`, `index`).
uint32_t philox(uint64_t key, uint64_t position, uint32_t step = 0, uint32_t index = 0);
/// Drops tokens that are not among the `topK` most probable; those equal to the last of them stay.
void keepTopK(std::vector<double> &p, int64_t topK);
/// Drops what the most probable tokens do not need to reach the fraction `topP` of the mass that is left; those equal to
/// the last needed stay.
void keepTopP(std::vector<double> &p, double topP);

} // namespace llmc::reference
