// See Profile.h.
#include "runtime/Profile.h"
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <unistd.h>

namespace llmc::runtime {

static int64_t clockNow() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Profile::Profile() : begin_(clockNow()) { events_.reserve(1 << 16); }
int64_t Profile::now() const { return clockNow() - begin_; }

absl::Status Profile::writeTrace(const std::string &path, const Plan &plan) const {
  std::string temporary = path + ".tmp-" + std::to_string(getpid());
  FILE *out = fopen(temporary.c_str(), "w");
  if (!out)
    return absl::UnknownError(path + ": cannot write the profile: " + strerror(errno));
  fputs("{\"displayTimeUnit\": \"ns\", \"traceEvents\": [\n", out);
  for (size_t i = 0; i < events_.size(); ++i) {
    const Event &e = events_[i];
    fprintf(out,
            "%s{\"name\": \"%s\", \"cat\": \"%s\", \"ph\": \"X\", \"pid\": 1, \"tid\": 1, \"ts\": %.3f, "
            "\"dur\": %.3f, \"args\": {\"tokens\": %lld}}",
            i ? ",\n" : "", plan.kernels[e.kernel].name.c_str(), e.program, e.begin / 1e3,
            (e.end - e.begin) / 1e3, (long long)e.tokens);
  }
  fputs("\n]}\n", out);
  bool failed = ferror(out);
  failed |= fclose(out) != 0;
  if (!failed && rename(temporary.c_str(), path.c_str()) == 0)
    return absl::OkStatus();
  int error = errno;
  unlink(temporary.c_str());
  return absl::UnknownError(path + ": cannot write the profile: " + strerror(error));
}

void Profile::print(FILE *out, const Plan &plan) const {
  struct Sum {
    int64_t time = 0, calls = 0;
  };
  std::map<std::pair<std::string, uint32_t>, Sum> sums;
  std::map<std::string, int64_t> totals;
  for (const Event &e : events_) {
    Sum &sum = sums[{e.program, e.kernel}];
    sum.time += e.end - e.begin;
    ++sum.calls;
    totals[e.program] += e.end - e.begin;
  }
  std::vector<std::pair<std::pair<std::string, uint32_t>, Sum>> rows(sums.begin(), sums.end());
  std::sort(rows.begin(), rows.end(), [](auto &a, auto &b) { return a.second.time > b.second.time; });
  fprintf(out, "%-8s %-36s %8s %12s %10s %7s\n", "program", "kernel", "calls", "total ms", "us a call",
          "share");
  for (auto &[key, sum] : rows)
    fprintf(out, "%-8s %-36s %8lld %12.3f %10.1f %6.1f%%\n", key.first.c_str(),
            plan.kernels[key.second].name.c_str(), (long long)sum.calls, sum.time / 1e6,
            sum.time / 1e3 / sum.calls, 100.0 * sum.time / totals[key.first]);
}

} // namespace llmc::runtime
