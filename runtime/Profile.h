// Time per dispatch, recorded when asked for: dispatches then run one at a time, so the sum is a little above
// an unprofiled run.
#pragma once
#include "absl/status/status.h"
#include "runtime/Plan.h"
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace llmc::runtime {

class Profile {
public:
  /// One dispatch of `program`, nanoseconds since the profile began.
  struct Event {
    const char *program;
    uint32_t kernel;
    int64_t tokens;
    int64_t begin, end;
  };

  Profile();
  int64_t now() const;
  void add(const Event &event) { events_.push_back(event); }

  /// A trace that chrome://tracing and ui.perfetto.dev read; written under a temporary name and renamed.
  absl::Status writeTrace(const std::string &path, const Plan &plan) const;
  /// Time by program and kernel, longest first.
  void print(FILE *out, const Plan &plan) const;

private:
  int64_t begin_;
  std::vector<Event> events_;
};

} // namespace llmc::runtime
