// `llmc run`: compiles a directory if its artifact is not in the cache, then becomes llmc-run.
#pragma once
#include "llvm/ADT/ArrayRef.h"

namespace llmc {
/// `args` = DIR and flags for llmc-run. Returns an exit status, or does not return.
int runCommand(llvm::ArrayRef<char *> args);
} // namespace llmc
