// llmc-bench: tokens per second of an artifact beside what the machine can do in the same minute. Uses the C
// API only. Times neither tokenising nor printing; drawing the token is part of a decode step.
#include "llmc.h"
#include "tools/llmc-bench/MachineSpeed.h"
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

const char *const kUsage = "usage: llmc-bench m.llmc [-p PROMPT_TOKENS] [-n NEW_TOKENS] [-b SESSIONS] [-t "
                           "THREADS] [-r REPEATS] [--temp T] [--top-p P] [-o md|json]\n";

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

[[noreturn]] void fail(const std::string &message, int status = 1) {
  fprintf(stderr, "llmc-bench: error: %s\n", message.c_str());
  exit(status);
}

void check(llmc_status status) {
  if (status != LLMC_OK)
    fail(llmc_last_error());
}

struct Spread {
  double mean = 0, deviation = 0, best = 0;
  explicit Spread(const std::vector<double> &values) {
    for (double v : values) {
      mean += v / values.size();
      best = std::max(best, v);
    }
    for (double v : values)
      deviation += (v - mean) * (v - mean) / std::max<size_t>(values.size() - 1, 1);
    deviation = std::sqrt(deviation);
  }
};

double number(const llmc_model *model, const char *key) {
  const char *text = llmc_model_text(model, key);
  return text ? atof(text) : 0;
}

} // namespace

int main(int argc, char **argv) {
  std::string path, format = "md";
  long prompt = 512, generated = 128, threads = 0, repeats = 5, batch = 1;
  llmc_sampling parameters{}; // greedy
  parameters.top_p = 1;
  for (int i = 1; i < argc; ++i) {
    std::string arg = argv[i];
    long *target = arg == "-p"   ? &prompt
                   : arg == "-n" ? &generated
                   : arg == "-t" ? &threads
                   : arg == "-r" ? &repeats
                   : arg == "-b" ? &batch
                                 : nullptr;
    float *real = arg == "--temp" ? &parameters.temperature : arg == "--top-p" ? &parameters.top_p : nullptr;
    if (target || real || arg == "-o") {
      if (++i == argc)
        fail(arg + " needs a value\n" + kUsage, 2);
      if (arg == "-o") {
        format = argv[i];
        continue;
      }
      char *end;
      if (real) {
        *real = strtof(argv[i], &end);
        if (*end || !(*real >= 0))
          fail(arg + " " + argv[i] + ": expects a number of at least 0", 2);
        continue;
      }
      *target = strtol(argv[i], &end, 10);
      if (*end || *target < (arg == "-t" || arg == "-p" || arg == "-n" ? 0 : 1))
        fail(arg + " " + argv[i] + ": expects a whole number", 2);
    } else if (arg == "--help" || arg == "-h") {
      fputs(kUsage, stdout);
      return 0;
    } else if (arg[0] == '-' || !path.empty()) {
      fail(arg + ": unknown\n" + kUsage, 2);
    } else {
      path = arg;
    }
  }
  if (path.empty() || (format != "md" && format != "json"))
    fail(std::string("expects an artifact, and -o md or json\n") + kUsage, 2);

  llmc_model_options options;
  llmc_model_options_init(&options);
  options.threads = threads;
  options.slots = batch;
  options.context = prompt + generated + 64;
  llmc_model *model;
  double begin = seconds();
  check(llmc_model_open(path.c_str(), &options, &model));
  double loadSeconds = seconds() - begin;
  threads = llmc_model_info(model, LLMC_INFO_THREADS);
  long vocab = llmc_model_info(model, LLMC_INFO_VOCAB);
  std::vector<int32_t> tokens(std::max(prompt, 1l));
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = (i * 7919 + 13) % vocab;

  std::vector<double> prefill, decode;
  llmc::MachineSpeed machine = llmc::measureMachine(threads);
  for (long r = -1; r < repeats; ++r) { // the first run only warms caches
    std::vector<llmc_session *> sessions(batch);
    for (auto &session : sessions)
      check(llmc_session_create(model, &session));
    double start = seconds();
    for (auto *session : sessions) {
      check(llmc_ingest(session, tokens.data(), tokens.size()));
      check(llmc_flush(session));
    }
    double middle = seconds();
    std::vector<llmc_sampling> sampling(batch, parameters);
    std::vector<int32_t> next(batch);
    for (long i = 0; i < generated; ++i)
      check(llmc_advance_batch(sessions.data(), sampling.data(), batch, next.data()));
    double end = seconds();
    for (auto *session : sessions)
      llmc_session_free(session);
    if (r < 0)
      continue;
    if (prompt > 1)
      prefill.push_back(batch * (prompt - 1) / (middle - start));
    if (generated)
      decode.push_back(batch * generated / (end - middle));
  }
  llmc::MachineSpeed again =
      llmc::measureMachine(threads); // the better of before and after: the machine may be shared
  machine.readBytesPerSecond = std::max(machine.readBytesPerSecond, again.readBytesPerSecond);
  machine.flopsPerSecond = std::max(machine.flopsPerSecond, again.flopsPerSecond);

  double weightBytes = number(model, "advance_weight_bytes");
  // A step reads the weights once for all sessions; every session's recurrent state once, and its cache as it
  // is half way.
  double stepBytes =
      weightBytes + batch * (number(model, "state_bytes") +
                             number(model, "state_bytes_per_token") * (prompt + generated / 2.0));
  double flopsPerToken = number(
      model, "ingest_weight_bytes"); // bf16: two bytes and two operations per weight; ingest has no head
  Spread p(prefill.empty() ? std::vector<double>{0} : prefill),
      d(decode.empty() ? std::vector<double>{0} : decode);
  double bandwidth = d.mean / batch * stepBytes / machine.readBytesPerSecond,
         rate = p.mean * flopsPerToken / machine.flopsPerSecond;
  const char *name = llmc_model_text(model, "name"), *level = llmc_model_text(model, "code_level");
  if (format == "json") {
    printf("{\"model\": \"%s\", \"level\": \"%s\", \"threads\": %ld, \"sessions\": %ld, \"load_seconds\": "
           "%.6f, \"prompt_tokens\": %ld, \"new_tokens\": %ld, "
           "\"repeats\": %ld, \"prefill_tokens_per_second\": %.3f, \"prefill_deviation\": %.3f, "
           "\"prefill_fraction_of_fma\": %.4f, "
           "\"decode_tokens_per_second\": %.3f, \"decode_deviation\": %.3f, "
           "\"decode_fraction_of_bandwidth\": %.4f, \"bytes_per_step\": %.0f, "
           "\"read_bytes_per_second\": %.0f, \"flops_per_second\": %.0f}\n",
           name, level, threads, batch, loadSeconds, prompt, generated, repeats, p.mean, p.deviation, rate,
           d.mean, d.deviation, bandwidth, stepBytes, machine.readBytesPerSecond, machine.flopsPerSecond);
  } else {
    printf("| model | code | threads | sessions | test | tokens/s | of the machine "
           "|\n|---|---|---|---|---|---|---|\n");
    if (!prefill.empty())
      printf("| %s | %s | %ld | %ld | prompt %ld | %.1f +- %.1f | %.1f %% of %.0f GFLOP/s |\n", name, level,
             threads, batch, prompt, p.mean, p.deviation, rate * 100, machine.flopsPerSecond / 1e9);
    if (!decode.empty())
      printf("| %s | %s | %ld | %ld | decode %ld | %.2f +- %.2f | %.1f %% of %.1f GB/s (%.1f MB a step) |\n",
             name, level, threads, batch, generated, d.mean, d.deviation, bandwidth * 100,
             machine.readBytesPerSecond / 1e9, stepBytes / 1e6);
  }
  llmc_model_close(model);
  return 0;
}
