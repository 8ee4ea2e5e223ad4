// Functions of libllmc-sim.so beside the driver's: what tests set and ask. Found with dlsym.
#pragma once
#include <cstdint>

#pragma GCC visibility push(default)
extern "C" {
/// The compute capability that the device reports (9, 0 unless set) and its memory.
void llmcSimSetDevice(int major, int minor, uint64_t memoryBytes);
/// The version that the driver reports, e.g. 13000, and how many devices it finds.
void llmcSimSetDriver(int version, int devices);
/// Makes the call after `count` further ones answer `code`; negative: none. Calls that give back or name
/// errors are not counted and do not fail.
void llmcSimFailCall(int64_t count, int code);
/// Whether launches run their kernels, or do nothing.
void llmcSimRunKernels(int isOn);
/// Which call was made to fail, "" while none was.
const char *llmcSimFailedCall(void);
/// How often a driver function was called, by its name with version suffix.
int64_t llmcSimCalls(const char *name);
/// How many launches said that they may start before the one before them ends.
int64_t llmcSimEarlyLaunches(void);
/// How many bytes kernels have prefetched, lines of 128 whole.
int64_t llmcSimPrefetchedBytes(void);
/// What is not given back: "1 device allocation, 2 graphs", or "".
const char *llmcSimLiveObjects(void);
/// What was wrong with the last launch that failed or the last misuse, "" when there was none.
const char *llmcSimReport(void);
}
#pragma GCC visibility pop
