// Functions of libllmc-sim.so beside the driver's: what tests set and ask. Found with dlsym.
#pragma once
#include <cstdint>

#pragma GCC visibility push(default)
extern "C" {
/// The compute capability that the device reports (9, 0 unless set) and its memory.
void llmcSimSetDevice(int major, int minor, uint64_t memoryBytes);
/// Makes the allocation after `count` further ones fail; negative: none.
void llmcSimFailAllocation(int64_t count);
/// Number of allocations of device memory that are not freed.
int64_t llmcSimLiveAllocations(void);
/// What was wrong with the last launch that failed, "" when none has.
const char *llmcSimReport(void);
}
#pragma GCC visibility pop
