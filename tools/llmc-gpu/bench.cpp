// llmc-gpu-bench: how fast kernels and models are on a GPU, beside what the device can do in the same run. Takes a folder that
// tools/gpu-bench has made. Its file `tests` says what is measured, a line each:
//
//   kernels TITLE  ARTIFACT PROGRAM PART   TOKENS PAST flops N     kernels of a program whose names contain PART
//   kernels TITLE  ARTIFACT PROGRAM PART   TOKENS PAST bytes       bytes: those of the kernels' parameters
//   decode  TITLE  ARTIFACT PROMPT  NEW
//
// with _ for blanks in titles. Exit code 1: something failed, 2: wrong usage, 3: no GPU.
#include "llmc.h"
#include "runtime/cuda/CudaDevice.h"
#include "tools/llmc-gpu/DeviceSpeed.h"
#include "tools/llmc-gpu/KernelRun.h"
#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

using namespace llmc;
using namespace llmc::runtime;

namespace {

const char *const kUsage =
    R"(usage: llmc-gpu-bench FOLDER [--libcuda PATH] [--cublaslt PATH] [--json FILE] [--copy-mib N] [--matmul-size N] [--repeats N]
       [--launches N]

Prints a table; --json writes the figures too ('-': instead of the table). A kernel's time is the shortest of N repeats of a recording of
N launches, so many (20) that the wait at its end does not count.
)";

struct Settings {
  std::string folder, libcuda, cublasLt, json;
  long copyMib = 2048, matmulSize = 8192, repeats = 5, launches = 20;
};

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// A line of the results. `reference`: what the device does of the same; 0: nothing to compare with.
struct Figure {
  std::string title;
  double value = 0;
  const char *unit = "";
  double fraction = 0;
  std::string of, failure;
};

struct KernelTest {
  std::string artifact, program, part, kind;
  int64_t tokens = 1, past = 0;
  double flops = 0;
};

/// What is in a buffer of reals: small numbers that are not zero.
void fillReals(std::vector<uint8_t> &bytes, ElementType type, uint64_t salt) {
  uint64_t state = 0x9e3779b97f4a7c15ull * (salt + 1);
  auto next = [&] {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<float>(static_cast<int64_t>(state >> 40) - (1 << 23)) * 0x1p-27f; // within 1/16
  };
  uint64_t each = elementBytes(type);
  for (uint64_t i = 0; i + each <= bytes.size(); i += each) {
    float value = next();
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    auto high = static_cast<uint16_t>(bits >> 16);
    auto half = static_cast<_Float16>(value);
    double wide = value;
    const void *from = type == ElementType::bf16  ? static_cast<const void *>(&high)
                       : type == ElementType::f16 ? static_cast<const void *>(&half)
                       : type == ElementType::f64 ? static_cast<const void *>(&wide)
                                                  : static_cast<const void *>(&value);
    memcpy(&bytes[i], from, each);
  }
}

/// Seconds that a kernel takes on buffers made up for it.
class KernelTimer {
public:
  KernelTimer(const Artifact &artifact, Device &device, const KernelTest &test, const Settings &settings)
      : plan_(artifact.plan()), device_(device), test_(test), settings_(settings) {
    int64_t context = (test.past + test.tokens + kContextBlock - 1) / kContextBlock * kContextBlock;
    dims_ = {test.tokens, test.program == "advance" ? test.tokens : 1, 1, context, context / kContextBlock};
    if (test.program == "advance")
      dims_[2] = test.tokens; // one slot for each sequence
  }

  absl::StatusOr<double> time(const Dispatch &dispatch, double &bytes) {
    const Kernel &kernel = plan_.kernels[dispatch.kernel];
    auto sizes = parameterBytes(kernel, dims_);
    if (!sizes.ok())
      return sizes.status();
    std::vector<uint64_t> offsets = offsetsOf(*sizes);
    auto memory = device_.allocate({{offsets.back(), MemoryUse::device}});
    if (!memory.ok())
      return absl::ResourceExhaustedError("no " + std::to_string(offsets.back()) + " bytes for kernel '" + kernel.name +
                                          "' " + std::string(memory.status().message()));
    void *base = (*memory)[0].device;
    DeviceDispatch launch{dispatch.kernel, {}};
    bytes = 0;
    for (size_t p = 0; p < sizes->size(); ++p) {
      bytes += static_cast<double>((*sizes)[p]);
      launch.buffers.push_back(static_cast<uint8_t *>(base) + offsets[p]);
      if (absl::Status s = fill(kernel, dispatch, p, base, offsets[p], (*sizes)[p]); !s.ok())
        return s;
    }
    auto program = device_.prepare({std::vector<DeviceDispatch>(static_cast<size_t>(settings_.launches), launch), {}, dims_}, {}, {dims_});
    if (!program.ok())
      return program.status();
    double best = 0;
    for (long i = 0; i <= settings_.repeats; ++i) { // the first one warms up
      double begin = seconds();
      const int64_t rows[kMaxSpans] = {dims_[0]};
      if (absl::Status s = device_.run(**program, dims_, rows, nullptr); !s.ok())
        return s;
      double took = (seconds() - begin) / static_cast<double>(settings_.launches);
      if (i)
        best = i == 1 ? took : std::min(best, took);
    }
    return best;
  }

private:
  absl::Status fill(const Kernel &kernel, const Dispatch &dispatch, size_t p, void *base, uint64_t offset,
                    uint64_t bytes) {
    const Buffer &buffer = plan_.buffers[dispatch.buffers[p]];
    if (buffer.kind == BufferKind::state || kernel.parameters[p].written)
      return absl::OkStatus(); // zero, which costs the same
    std::vector<uint8_t> data(bytes);
    if (kernel.parameters[p].type <= ElementType::f64)
      fillReals(data, kernel.parameters[p].type, p);
    else if (buffer.kind == BufferKind::input)
      fillInput(buffer.name, data);
    else if (buffer.kind != BufferKind::constant)
      return absl::InvalidArgumentError("kernel '" + kernel.name +
                                        "' takes numbers that another kernel makes; measure it in a model");
    return device_.write(base, offset, bytes, data.data());
  }

  /// The call's tables: one sequence of all tokens, or in advance a sequence for each token.
  void fillInput(const std::string &name, std::vector<uint8_t> &data) {
    auto *numbers = reinterpret_cast<int32_t *>(data.data());
    const bool isAdvance = test_.program == "advance";
    auto T = static_cast<int32_t>(test_.tokens), past = static_cast<int32_t>(test_.past);
    if (name == "where")
      for (int32_t t = 0; t < T; ++t) {
        numbers[2 * t] = isAdvance ? t : 0;
        numbers[2 * t + 1] = past + (isAdvance ? 0 : t);
      }
    if (name == "rows")
      for (int32_t s = 0; s < (isAdvance ? T : 1); ++s) {
        const int32_t row[4] = {s, s, isAdvance ? 1 : T, past};
        memcpy(numbers + 4 * s, row, sizeof row);
      }
  }

  const Plan &plan_;
  Device &device_;
  const KernelTest &test_;
  const Settings &settings_;
  Dims dims_;
};

class GpuBench {
public:
  explicit GpuBench(const Settings &settings) : settings_(settings) {}

  absl::Status measureMachine() {
    auto speed = measureDevice(settings_.libcuda, settings_.cublasLt, static_cast<uint64_t>(settings_.copyMib) << 20,
                               settings_.matmulSize);
    if (!speed.ok())
      return speed.status();
    speed_ = *speed;
    figures.push_back({"copy within device memory", speed_.copyBytesPerSecond / 1e9, "GB/s", 0, "", ""});
    figures.push_back({"cuBLASLt bf16 matmul " + std::to_string(settings_.matmulSize) + "^3",
                       speed_.matmulFlopsPerSecond / 1e12, "TFLOP/s", 0, "", speed_.matmulReason});
    return absl::OkStatus();
  }

  /// One line of the file of tests; false when it cannot be read.
  bool run(const std::string &line) {
    std::istringstream in(line);
    std::string kind, title, artifact;
    in >> kind >> title >> artifact;
    std::replace(title.begin(), title.end(), '_', ' ');
    if (kind == "kernels") {
      KernelTest test;
      test.artifact = artifact;
      in >> test.program >> test.part >> test.tokens >> test.past >> test.kind;
      if (test.kind == "flops")
        in >> test.flops;
      if (!in || test.tokens < 1 || test.past < 0 || (test.kind != "flops" && test.kind != "bytes"))
        return false;
      keep(title, kernels(test, title));
      return true;
    }
    long prompt = 0, count = 0;
    in >> prompt >> count;
    if (kind != "decode" || !in || prompt < 1 || count < 1)
      return false;
    keep(title, decode(title, artifact, prompt, count));
    return true;
  }

  std::vector<Figure> figures;
  bool hasFailed = false;

private:
  void keep(const std::string &title, const absl::Status &status) {
    if (status.ok())
      return;
    hasFailed = true;
    figures.push_back({title, 0, "", 0, "", std::string(status.message())});
  }
  std::string path(const std::string &artifact) const { return settings_.folder + "/" + artifact; }

  absl::Status kernels(const KernelTest &test, const std::string &title) {
    auto artifact = Artifact::open(path(test.artifact));
    if (!artifact.ok())
      return artifact.status();
    const Plan &plan = (*artifact)->plan();
    const Program *program = plan.program(test.program.c_str());
    std::set<uint32_t> seen;
    double total = 0, bytes = 0;
    std::string names;
    for (size_t i = 0; program && i < program->steps.size(); ++i) {
      const Dispatch &dispatch = std::get<Dispatch>(program->steps[i]);
      const std::string &name = plan.kernels[dispatch.kernel].name;
      if (!seen.insert(dispatch.kernel).second)
        continue;
      names += " " + name;
      if (name.find(test.part) == std::string::npos)
        continue;
      // A device of its own for each kernel: its memory goes with it.
      auto device = openCudaDevice(**artifact, settings_.libcuda);
      if (!device.ok())
        return device.status();
      double its = 0;
      auto time = KernelTimer(**artifact, **device, test, settings_).time(dispatch, its);
      if (!time.ok())
        return time.status();
      total += *time;
      bytes += its;
    }
    if (total == 0)
      return absl::NotFoundError(path(test.artifact) + ": program '" + test.program + "' has no kernel '*" + test.part +
                                 "*', only" + names);
    Figure time{title + ", time", total * 1e3, "ms", 0, "", ""};
    Figure rate{title, 0, "", 0, "", ""};
    if (test.kind == "flops") {
      rate.value = test.flops / total / 1e12;
      rate.unit = "TFLOP/s";
      rate.fraction = speed_.matmulFlopsPerSecond > 0 ? test.flops / total / speed_.matmulFlopsPerSecond : 0;
      rate.of = "cuBLASLt";
    } else {
      rate.value = bytes / total / 1e9;
      rate.unit = "GB/s";
      rate.fraction = bytes / total / speed_.copyBytesPerSecond;
      rate.of = "copy";
    }
    figures.push_back(time);
    figures.push_back(rate);
    return absl::OkStatus();
  }

  absl::Status decode(const std::string &title, const std::string &artifact, long prompt, long count) {
    llmc_model_options options;
    llmc_model_options_init(&options);
    options.libcuda = settings_.libcuda.empty() ? nullptr : settings_.libcuda.c_str();
    options.context = prompt + count + 64;
    double begin = seconds();
    llmc_model *opened = nullptr;
    if (llmc_model_open(path(artifact).c_str(), &options, &opened) != LLMC_OK)
      return absl::UnknownError(llmc_last_error());
    double loadSeconds = seconds() - begin;
    std::unique_ptr<llmc_model, void (*)(llmc_model *)> model(opened, llmc_model_close);
    llmc_session *session = nullptr;
    if (llmc_session_create(opened, &session) != LLMC_OK)
      return absl::UnknownError(llmc_last_error());
    std::unique_ptr<llmc_session, void (*)(llmc_session *)> owner(session, llmc_session_free);
    std::vector<int32_t> tokens(static_cast<size_t>(prompt));
    int64_t vocab = llmc_model_info(opened, LLMC_INFO_VOCAB);
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = static_cast<int32_t>((static_cast<int64_t>(i) * 7919 + 13) % vocab);
    llmc_sampling greedy{};
    greedy.top_p = 1;
    int32_t next = 0;
    begin = seconds();
    if (llmc_ingest(session, tokens.data(), prompt) != LLMC_OK || llmc_flush(session) != LLMC_OK)
      return absl::UnknownError(llmc_last_error());
    double prefill = seconds() - begin;
    double total = 0;
    for (long i = 0; i < count; ++i) {
      begin = seconds();
      if (llmc_advance(session, &greedy, &next) != LLMC_OK)
        return absl::UnknownError(llmc_last_error());
      total += i ? seconds() - begin : 0; // the first one warms up
    }
    auto number = [&](const char *key) {
      const char *text = llmc_model_text(opened, key);
      return text ? atof(text) : 0;
    };
    double stepBytes = number("advance_weight_bytes") + number("state_bytes") +
                       number("state_bytes_per_token") * (static_cast<double>(prompt) + static_cast<double>(count) / 2);
    double rate = static_cast<double>(std::max(count - 1, 1l)) / std::max(total, 1e-9);
    double fileBytes = static_cast<double>(llmc_model_info(opened, LLMC_INFO_FILE_BYTES));
    figures.push_back({title + ", load", loadSeconds, "s", 0, "", ""});
    figures.push_back({title + ", load", fileBytes / loadSeconds / 1e9, "GB/s", 0, "", ""});
    figures.push_back({title + ", prompt " + std::to_string(prompt), static_cast<double>(prompt) / prefill, "tokens/s", 0, "", ""});
    figures.push_back({title + ", decode", rate, "tokens/s", rate * stepBytes / speed_.copyBytesPerSecond, "copy", ""});
    return absl::OkStatus();
  }

  const Settings &settings_;
  DeviceSpeed speed_;
};

std::string quoted(const std::string &text) {
  std::string result = "\"";
  for (char c : text)
    result += c == '"' || c == '\\' ? std::string("\\") + c : static_cast<unsigned char>(c) < 0x20 ? " " : std::string(1, c);
  return result + "\"";
}

void writeJson(FILE *out, const std::string &device, const std::vector<Figure> &figures) {
  fprintf(out, "{\"device\": %s, \"figures\": [", quoted(device).c_str());
  for (size_t i = 0; i < figures.size(); ++i) {
    const Figure &f = figures[i];
    fprintf(out, "%s\n  {\"title\": %s, ", i ? "," : "", quoted(f.title).c_str());
    if (!f.failure.empty())
      fprintf(out, "\"not_measured\": %s}", quoted(f.failure).c_str());
    else if (f.fraction > 0)
      fprintf(out, "\"value\": %.6g, \"unit\": \"%s\", \"fraction\": %.4f, \"of\": \"%s\"}", f.value, f.unit, f.fraction, f.of.c_str());
    else
      fprintf(out, "\"value\": %.6g, \"unit\": \"%s\"}", f.value, f.unit);
  }
  fprintf(out, "\n]}\n");
}

void printTable(const std::string &device, const std::vector<Figure> &figures) {
  printf("On %s:\n\n| what | figure | of the device |\n|---|---|---|\n", device.c_str());
  for (const Figure &f : figures)
    if (!f.failure.empty())
      printf("| %s | not measured | %s |\n", f.title.c_str(), f.failure.c_str());
    else if (f.fraction > 0)
      printf("| %s | %.4g %s | %.1f %% of %s |\n", f.title.c_str(), f.value, f.unit, f.fraction * 100, f.of.c_str());
    else
      printf("| %s | %.4g %s | |\n", f.title.c_str(), f.value, f.unit);
}

std::string parse(int argc, char **argv, Settings &settings) {
  for (int i = 1; i < argc; ++i) {
    std::string arg = argv[i], value;
    if (size_t equals = arg.find('='); arg.compare(0, 2, "--") == 0 && equals != std::string::npos) {
      value = arg.substr(equals + 1);
      arg.resize(equals);
    }
    std::string *text = arg == "--libcuda"    ? &settings.libcuda
                        : arg == "--cublaslt" ? &settings.cublasLt
                        : arg == "--json"     ? &settings.json
                                              : nullptr;
    long *number = arg == "--copy-mib"      ? &settings.copyMib
                   : arg == "--matmul-size" ? &settings.matmulSize
                   : arg == "--repeats"     ? &settings.repeats
                   : arg == "--launches"    ? &settings.launches
                                            : nullptr;
    if (!text && !number) {
      if (arg[0] == '-' || !settings.folder.empty())
        return "unknown argument " + arg;
      settings.folder = arg;
      continue;
    }
    if (value.empty() && i + 1 < argc)
      value = argv[++i];
    if (value.empty())
      return arg + " needs a value";
    char *end = nullptr;
    if (text)
      *text = value;
    else if ((*number = strtol(value.c_str(), &end, 10)) < 1 || *end)
      return arg + " expects a number above 0";
  }
  return settings.folder.empty() ? "no folder given" : "";
}

} // namespace

int main(int argc, char **argv) {
  Settings settings;
  std::string error = parse(argc, argv, settings);
  std::ifstream tests(settings.folder + "/tests");
  if (error.empty() && !tests)
    error = settings.folder + "/tests: cannot be read; make the folder with tools/gpu-bench bundle";
  if (!error.empty()) {
    fprintf(stderr, "llmc-gpu-bench: error: %s\n%s", error.c_str(), kUsage);
    return 2;
  }
  std::string device;
  if (std::string reason = whyNoGpu(settings.libcuda, device); !reason.empty()) {
    printf("no GPU here, nothing was measured: %s\n", reason.c_str());
    return 3;
  }
  GpuBench bench(settings);
  if (absl::Status s = bench.measureMachine(); !s.ok()) {
    fprintf(stderr, "llmc-gpu-bench: error: %s\n", std::string(s.message()).c_str());
    return 1;
  }
  std::string line;
  for (int number = 1; std::getline(tests, line); ++number)
    if (!line.empty() && line[0] != '#' && !bench.run(line)) {
      fprintf(stderr, "llmc-gpu-bench: error: %s/tests: line %d cannot be understood: %s\n", settings.folder.c_str(), number, line.c_str());
      return 2;
    }
  if (settings.json != "-")
    printTable(device, bench.figures);
  if (settings.json.empty())
    return bench.hasFailed;
  FILE *out = settings.json == "-" ? stdout : fopen(settings.json.c_str(), "w");
  if (!out) {
    fprintf(stderr, "llmc-gpu-bench: error: %s: %s\n", settings.json.c_str(), strerror(errno));
    return 1;
  }
  writeJson(out, device, bench.figures);
  if (out != stdout && fclose(out) != 0)
    return 1;
  return bench.hasFailed;
}
