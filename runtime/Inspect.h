// An artifact as tables for people. Verifies like any load, executes nothing.
#pragma once
#include "absl/status/status.h"
#include <cstdio>
#include <string>

namespace llmc::runtime {

/// Prints programs, kernels, code, weights, states and where each byte of memory goes. Reads no weights.
absl::Status inspect(const std::string &path, FILE *out);
/// Prints what a block of every GPU kernel needs: threads, registers and spilled bytes of a thread, shared memory, global scratch.
absl::Status inspectResources(const std::string &path, FILE *out);

} // namespace llmc::runtime
