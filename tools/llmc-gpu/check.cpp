// llmc-gpu-check: kernels and models on a GPU against what the evaluator and the goldens say. Takes a folder that
// tools/gpu-check has made; needs nothing else but the driver. Exit code 1: something is wrong, 2: wrong usage, 3: no GPU.
#include "llmc.h"
#include "runtime/cuda/CudaDevice.h"
#include "tools/llmc-gpu/Cases.h"
#include "tools/llmc-gpu/KernelRun.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <dirent.h>
#include <fstream>
#include <limits>
#include <map>
#include <optional>

using namespace llmc;
using namespace llmc::runtime;

namespace {

const char *const kUsage = R"(usage: llmc-gpu-check FOLDER [--libcuda PATH] [--kernel-tolerance X] [--logits-tolerance X] [--verbose]

Runs every kernel of every FOLDER/M.llmc on the inputs of FOLDER/M.cases, and the model on FOLDER/M.tokens, whose logits are in
FOLDER/M.npy. Tolerances are relative L2 errors (default: 5e-3 and 2e-2).
)";

struct Settings {
  std::string folder, libcuda;
  double kernelTolerance = 5e-3, logitsTolerance = 2e-2;
  bool isVerbose = false;
};

std::optional<std::string> readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  if (!in)
    return std::nullopt;
  return std::string{std::istreambuf_iterator<char>(in), {}};
}

double floatOf(const uint8_t *data, ElementType type, uint64_t i) {
  auto get = [&](auto v) {
    memcpy(&v, data + i * sizeof v, sizeof v);
    return v;
  };
  switch (type) {
  case ElementType::bf16: {
    uint32_t bits = uint32_t(get(uint16_t())) << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
  }
  case ElementType::f16:
    return static_cast<double>(get(_Float16()));
  case ElementType::f64:
    return get(double());
  default:
    return get(float());
  }
}

int64_t integerOf(const uint8_t *data, ElementType type, uint64_t i) {
  int64_t value = 0;
  uint64_t bytes = elementBytes(type);
  memcpy(&value, data + i * bytes, bytes);
  return value << (64 - 8 * bytes) >> (64 - 8 * bytes);
}

/// Sum of squares of differences over that of wanted values; what nobody should write does not count.
struct Error {
  double difference = 0, norm = 0;
  void add(double got, double wanted) {
    if (std::isnan(wanted))
      return;
    difference += std::isfinite(got) || got == wanted ? (got == wanted ? 0 : (got - wanted) * (got - wanted))
                                                      : std::numeric_limits<double>::infinity();
    norm += std::isfinite(wanted) ? wanted * wanted : 0;
  }
  double value() const { return difference == 0 ? 0 : std::sqrt(difference / (norm == 0 ? 1 : norm)); }
};

/// Relative error of reals; of integers 0 or infinite.
double errorOf(const CaseBuffer &buffer, const std::vector<uint8_t> &got) {
  const bool isReal = buffer.type <= ElementType::f64;
  Error error;
  for (uint64_t i = 0, n = got.size() / elementBytes(buffer.type); i < n; ++i)
    if (isReal) {
      error.add(floatOf(got.data(), buffer.type, i), floatOf(buffer.after.data(), ElementType::f32, i));
    } else {
      int64_t wanted = integerOf(buffer.after.data(), buffer.type, i);
      bool isUnwritten = wanted == INT64_MIN >> (64 - 8 * elementBytes(buffer.type));
      if (!isUnwritten && wanted != integerOf(got.data(), buffer.type, i))
        return std::numeric_limits<double>::infinity();
    }
  return error.value();
}

class Check {
public:
  explicit Check(const Settings &settings) : settings_(settings) {}

  /// All checks of one artifact.
  void run(const std::string &model) {
    std::string base = settings_.folder + "/" + model;
    hasExperts_ = false; // unless its kernels say so
    if (auto bytes = readFile(base + ".cases")) {
      auto cases = readCases(*bytes, base + ".cases");
      absl::Status status = cases.ok() ? kernels(model, *cases) : cases.status();
      if (!status.ok())
        wrong(model, std::string(status.message()));
    }
    if (auto tokens = readFile(base + ".tokens"))
      if (std::string error = logits(model, *tokens); !error.empty())
        wrong(model, error);
  }
  int checks = 0, failures = 0;

private:
  void wrong(const std::string &model, const std::string &what) {
    printf("%-14s FAILED  %s\n", model.c_str(), what.c_str());
    ++checks;
    ++failures;
  }
  void tell(const std::string &model, const std::string &what, double error, double tolerance, bool isDetail) {
    bool isRight = error <= tolerance;
    ++checks;
    failures += !isRight;
    if (!isRight || !isDetail || settings_.isVerbose)
      printf("%-14s %-7s %-52s %.2e\n", model.c_str(), isRight ? "ok" : "FAILED", what.c_str(), error);
  }

  absl::Status kernels(const std::string &model, const std::vector<KernelCase> &cases) {
    auto artifact = Artifact::open(settings_.folder + "/" + model + ".llmc");
    if (!artifact.ok())
      return artifact.status();
    auto device = openCudaDevice(**artifact, settings_.libcuda);
    if (!device.ok())
      return device.status();
    uint64_t most = 0;
    for (const KernelCase &c : cases) {
      auto place = placeOf(**artifact, c);
      if (!place.ok())
        return inCase(c, place.status());
      most = std::max(most, place->offsets.back());
    }
    auto memory = (*device)->allocate({{most, MemoryUse::device}});
    if (!memory.ok())
      return memory.status();
    std::map<std::string, double> worst; // by kernel
    for (const KernelCase &c : cases) {
      auto error = launch(**artifact, **device, c, (*memory)[0].device);
      if (!error.ok())
        return inCase(c, error.status());
      tell(model, c.kernel + " in " + c.label, *error, settings_.kernelTolerance, /*isDetail=*/true);
      double &sofar = worst[c.kernel];
      sofar = std::max(sofar, *error);
    }
    hasExperts_ = std::any_of(worst.begin(), worst.end(),
                              [](const auto &kernel) { return kernel.first.find("_route_") != std::string::npos; });
    double largest = 0;
    std::string where;
    for (const auto &[kernel, error] : worst)
      if (error >= largest) {
        largest = error;
        where = kernel;
      }
    printf("%-14s %zu kernels in %zu launches on %s code, largest error %.2e (%s)\n", model.c_str(), worst.size(),
           cases.size(), (*device)->codeLevel().c_str(), largest, where.c_str());
    // Kernels without a case are a hole in the check.
    for (const Kernel &kernel : (*artifact)->plan().kernels)
      if (!worst.count(kernel.name))
        wrong(model, "kernel '" + kernel.name + "' has no case");
    return absl::OkStatus();
  }

  static absl::Status inCase(const KernelCase &c, const absl::Status &s) {
    return absl::Status(s.code(), c.kernel + " in " + c.label + ": " + std::string(s.message()));
  }

  struct Place {
    uint32_t kernel;
    Dims dims;
    std::vector<uint64_t> offsets; ///< of the buffers
  };
  /// Buffers with other rows than the launch may have fewer. They get the place of as many as it has, as in an arena.
  static absl::StatusOr<Place> placeOf(const Artifact &artifact, const KernelCase &c) {
    auto kernel = findKernel(artifact, c.kernel);
    if (!kernel.ok())
      return kernel.status();
    auto dims = sizesOf(artifact.plan().kernels[*kernel], c.buffers);
    if (!dims.ok())
      return dims.status();
    auto bytes = parameterBytes(artifact.plan().kernels[*kernel], *dims);
    if (!bytes.ok())
      return bytes.status();
    for (size_t b = 0; b < c.buffers.size(); ++b)
      (*bytes)[b] = std::max<uint64_t>((*bytes)[b], c.buffers[b].before.size());
    return Place{*kernel, *dims, offsetsOf(*bytes)};
  }

  /// The largest error of the buffers that a launch writes.
  absl::StatusOr<double> launch(const Artifact &artifact, Device &device, const KernelCase &c, void *memory) {
    auto place = placeOf(artifact, c);
    if (!place.ok())
      return place.status();
    const auto &[number, dims, offsets] = *place;
    DeviceDispatch dispatch{number, {}};
    for (size_t b = 0; b < c.buffers.size(); ++b) {
      const Parameter &parameter = artifact.plan().kernels[number].parameters[b];
      if (parameter.type != c.buffers[b].type || parameter.written != c.buffers[b].isWritten)
        return absl::InvalidArgumentError("parameter " + std::to_string(b) +
                                          " is of another type: the cases are of another compilation");
      dispatch.buffers.push_back(static_cast<uint8_t *>(memory) + offsets[b]);
      if (absl::Status s = device.write(memory, offsets[b], c.buffers[b].before.size(), c.buffers[b].before.data()); !s.ok())
        return s;
    }
    auto program = device.prepare({{dispatch}, {}, dims}, {}, {});
    if (!program.ok())
      return program.status();
    const int64_t rows[kMaxSpans] = {dims[0]};
    if (absl::Status s = device.run(**program, dims, rows, nullptr); !s.ok())
      return s;
    double worst = 0;
    for (size_t b = 0; b < c.buffers.size(); ++b) {
      std::vector<uint8_t> got(c.buffers[b].before.size());
      if (absl::Status s = device.read(memory, offsets[b], got.size(), got.data()); !s.ok())
        return s;
      if (c.buffers[b].isWritten)
        worst = std::max(worst, errorOf(c.buffers[b], got));
      else if (got != c.buffers[b].before)
        return absl::InternalError("writes parameter " + std::to_string(b) + ", which it may only read");
    }
    return worst;
  }

  /// A model of the folder, opened as a program would, and two sessions.
  struct Opened {
    llmc_model *model = nullptr;
    llmc_session *sessions[2] = {};
    Opened(const std::string &path, const std::string &libcuda) {
      llmc_model_options options;
      llmc_model_options_init(&options);
      options.libcuda = libcuda.empty() ? nullptr : libcuda.c_str();
      options.slots = 2;
      isOpen = llmc_model_open(path.c_str(), &options, &model) == LLMC_OK && llmc_session_create(model, &sessions[0]) == LLMC_OK &&
               llmc_session_create(model, &sessions[1]) == LLMC_OK;
    }
    ~Opened() {
      for (llmc_session *session : sessions)
        if (session)
          llmc_session_free(session);
      if (model)
        llmc_model_close(model);
    }
    Opened(const Opened &) = delete;
    bool isOpen;
  };

  /// Logits after every token, and that a recorded advance draws what they say.
  std::string logits(const std::string &model, const std::string &text) {
    std::string base = settings_.folder + "/" + model;
    std::vector<int32_t> tokens;
    for (size_t at = 0; at < text.size(); at = text.find(',', at) == std::string::npos ? text.size() : text.find(',', at) + 1)
      tokens.push_back(atoi(text.c_str() + at));
    Opened opened(base + ".llmc", settings_.libcuda);
    if (!opened.isOpen)
      return llmc_last_error();
    const auto vocab = static_cast<size_t>(llmc_model_info(opened.model, LLMC_INFO_VOCAB));
    auto file = readFile(base + ".npy");
    uint16_t headerBytes = 0;
    if (file && file->size() > 10)
      memcpy(&headerBytes, file->data() + 8, 2);
    if (!file || file->size() != 10 + headerBytes + tokens.size() * vocab * 4)
      return base + ".npy: has no float32 logits of " + std::to_string(tokens.size()) + " tokens";
    std::vector<float> got(tokens.size() * vocab), wanted(got.size());
    memcpy(wanted.data(), file->data() + 10 + headerBytes, wanted.size() * sizeof(float));
    if (llmc_score(opened.sessions[0], tokens.data(), static_cast<int64_t>(tokens.size()), got.data()) != LLMC_OK)
      return llmc_last_error();
    tellLogits(model, got, wanted, vocab);
    if (llmc_session_reset(opened.sessions[0]) != LLMC_OK)
      return llmc_last_error();
    const float *last = got.data() + (tokens.size() - 1) * vocab;
    return generation(model, opened, tokens, static_cast<int32_t>(std::max_element(last, last + vocab) - last));
  }

  /// With experts, BF16 near a tie chooses another one, and then a whole row differs; that such rows are few is a claim of its own.
  void tellLogits(const std::string &model, const std::vector<float> &got, const std::vector<float> &wanted, size_t vocab) {
    constexpr double kOtherExpert = 2.5; // times the tolerance: of rows that are not merely inexact
    constexpr size_t kMostFlips = 5;     // of 100 rows
    Error all;
    size_t flips = 0;
    const size_t rows = got.size() / vocab;
    for (size_t row = 0; row < rows; ++row) {
      Error error;
      for (size_t i = row * vocab; i < (row + 1) * vocab; ++i)
        error.add(got[i], wanted[i]);
      if (hasExperts_ && error.value() > kOtherExpert * settings_.logitsTolerance && std::isfinite(error.value())) {
        ++flips;
        continue;
      }
      all.difference += error.difference;
      all.norm += error.norm;
    }
    tell(model, "logits of " + std::to_string(rows - flips) + " tokens", all.value(), settings_.logitsTolerance, false);
    if (flips)
      tell(model, std::to_string(flips) + " tokens with another expert, a share of", double(flips) / double(rows), kMostFlips / 100.0, false);
  }

  /// Two sessions in a batch, from the same tokens: the likeliest next one; of models that make several at once the same in both.
  std::string generation(const std::string &model, Opened &opened, const std::vector<int32_t> &tokens, int32_t likeliest) {
    const int64_t most = llmc_model_info(opened.model, LLMC_INFO_MOST_TOKENS);
    constexpr int64_t kPrompt = 12, kMade = 16; // of models that fill masks, whose tokens here have masks among them: those before
    for (llmc_session *session : opened.sessions)
      if (llmc_ingest(session, tokens.data(), most > 1 ? kPrompt : static_cast<int64_t>(tokens.size())) != LLMC_OK ||
          llmc_begin(session, std::min(most, kMade)) != LLMC_OK)
        return llmc_last_error();
    const llmc_sampling greedy[2] = {{0, 1, 0, 0, 0}, {0, 1, 0, 0, 0}};
    std::vector<int32_t> next(2 * static_cast<size_t>(most));
    int64_t counts[2] = {};
    if (llmc_fill_batch(opened.sessions, greedy, 2, next.data(), most, counts) != LLMC_OK)
      return llmc_last_error();
    if (most == 1) {
      for (int32_t token : next)
        tell(model, "recorded advance draws the likeliest token", token == likeliest ? 0 : 1, 0, false);
    } else {
      bool isSame = counts[0] > 0 && counts[0] == counts[1] && std::equal(&next[0], &next[static_cast<size_t>(counts[0])], &next[static_cast<size_t>(most)]);
      tell(model, std::to_string(counts[0]) + " tokens at once, the same in both sequences", isSame ? 0 : 1, 0, false);
    }
    return "";
  }

  const Settings &settings_;
  bool hasExperts_ = false; ///< the model at hand
};

std::string parse(int argc, char **argv, Settings &settings) {
  for (int i = 1; i < argc; ++i) {
    std::string arg = argv[i], value;
    if (size_t equals = arg.find('='); arg.compare(0, 2, "--") == 0 && equals != std::string::npos) {
      value = arg.substr(equals + 1);
      arg.resize(equals);
    }
    auto take = [&] {
      if (value.empty() && i + 1 < argc)
        value = argv[++i];
      return !value.empty();
    };
    if (arg == "--verbose")
      settings.isVerbose = true;
    else if (arg == "--libcuda" && take())
      settings.libcuda = value;
    else if (double *to = arg == "--kernel-tolerance"   ? &settings.kernelTolerance
                          : arg == "--logits-tolerance" ? &settings.logitsTolerance
                                                        : nullptr) {
      char *end = nullptr;
      if (!take() || !((*to = strtod(value.c_str(), &end)) > 0) || *end)
        return arg + " expects a number above 0";
    } else if (arg[0] == '-' || !settings.folder.empty())
      return "unknown argument " + arg;
    else
      settings.folder = arg;
  }
  return settings.folder.empty() ? "no folder given" : "";
}

} // namespace

int main(int argc, char **argv) {
  Settings settings;
  if (std::string error = parse(argc, argv, settings); !error.empty()) {
    fprintf(stderr, "llmc-gpu-check: error: %s\n%s", error.c_str(), kUsage);
    return 2;
  }
  std::vector<std::string> models;
  if (DIR *folder = opendir(settings.folder.c_str())) {
    while (dirent *entry = readdir(folder))
      if (std::string name = entry->d_name; name.size() > 5 && name.compare(name.size() - 5, 5, ".llmc") == 0)
        models.push_back(name.substr(0, name.size() - 5));
    closedir(folder);
  }
  if (models.empty()) {
    fprintf(stderr, "llmc-gpu-check: error: %s: there are no artifacts (*.llmc); make it with tools/gpu-check bundle\n",
            settings.folder.c_str());
    return 2;
  }
  std::string device;
  if (std::string reason = whyNoGpu(settings.libcuda, device); !reason.empty()) {
    printf("no GPU here, nothing was checked: %s\n", reason.c_str());
    return 3;
  }
  printf("on %s\n", device.c_str());
  std::sort(models.begin(), models.end());
  Check check(settings);
  for (const std::string &model : models)
    check.run(model);
  printf("%d checks, %d failed\n", check.checks, check.failures);
  return check.failures || check.checks == 0;
}
