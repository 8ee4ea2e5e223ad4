// Writes a checkpoint of random bf16 weights for a config.json: for benchmarks and for trying sizes that
// cannot be downloaded.
#include "frontends/huggingface/Files.h"
#include "mlir/IR/BuiltinTypes.h"
#include "models/Family.h"
#include "llvm/ADT/Hashing.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>
#include <cstring>

namespace {

int fail(const std::string &message) {
  llvm::errs() << "make-checkpoint: error: " << message << "\n";
  return 1;
}

/// Uniform values in [-limit, limit) around `centre` as bf16, from a linear congruential generator: fast, the
/// same everywhere.
struct RandomBf16 {
  uint64_t state;
  uint16_t next(float limit, float centre) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    float v = centre + limit * (float(state >> 40) / float(1 << 23) - 1.0f);
    uint32_t bits;
    std::memcpy(&bits, &v, 4);
    return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  }
};

uint64_t seedOf(const std::string &name) {
  uint64_t h = 1469598103934665603ull;
  for (unsigned char c : name)
    h = (h ^ c) * 1099511628211ull;
  return h;
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 3) {
    llvm::errs() << "usage: make-checkpoint CONFIG.json DIR\n";
    return 2;
  }
  std::string configPath = argv[1], directory = argv[2];
  auto text = llmc::readFile(configPath, 1 << 22);
  if (!text.ok())
    return fail(std::string(text.status().message()));
  auto config = llmc::ConfigReader::parse(*text, configPath);
  if (!config.ok())
    return fail(std::string(config.status().message()));
  auto family = llmc::findFamily(*config);
  if (!family.ok())
    return fail(std::string(family.status().message()));
  mlir::MLIRContext context;
  auto model = (*family)->build(
      context, *config, [&](llvm::StringRef) -> mlir::Type { return mlir::BFloat16Type::get(&context); });
  if (!model.ok())
    return fail(std::string(model.status().message()));

  std::string header = "{";
  uint64_t offset = 0;
  for (const llmc::TensorSpec &tensor : model->tensors) {
    uint64_t count = 1;
    std::string shape;
    for (int64_t d : tensor.shape) {
      shape += (shape.empty() ? "" : ",") + std::to_string(d);
      count *= d;
    }
    header += (offset ? ",\"" : "\"") + tensor.name + "\":{\"dtype\":\"BF16\",\"shape\":[" + shape +
              "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + 2 * count) +
              "]}";
    offset += 2 * count;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');

  if (auto error = llvm::sys::fs::create_directories(directory))
    return fail(directory + ": cannot make: " + error.message());
  if (auto error = llvm::sys::fs::copy_file(configPath, directory + "/config.json"))
    return fail(directory + "/config.json: cannot write: " + error.message());
  std::string path = directory + "/model.safetensors", temporary = path + ".tmp";
  std::error_code error;
  llvm::raw_fd_ostream out(temporary, error);
  if (error)
    return fail(temporary + ": cannot write: " + error.message());
  uint64_t headerBytes = header.size();
  out.write(reinterpret_cast<const char *>(&headerBytes), 8);
  out << header;
  std::vector<uint16_t> piece;
  for (const llmc::TensorSpec &tensor : model->tensors) {
    uint64_t count = 1;
    for (int64_t d : tensor.shape)
      count *= d;
    // Matrices keep a row's sum of squares near 1; vectors (norms) lie around 1.
    bool vector = tensor.shape.size() == 1;
    float limit = vector ? 0.1f : std::sqrt(3.0f / float(tensor.shape.back()));
    RandomBf16 random{seedOf(tensor.name)};
    for (uint64_t done = 0; done < count;) {
      piece.resize(std::min<uint64_t>(count - done, 1 << 20));
      for (uint16_t &v : piece)
        v = random.next(limit, vector ? 1.0f : 0.0f);
      out.write(reinterpret_cast<const char *>(piece.data()), piece.size() * 2);
      done += piece.size();
    }
  }
  out.close();
  if (out.has_error()) {
    std::string message = out.error().message();
    out.clear_error();
    llvm::sys::fs::remove(temporary);
    return fail(temporary + ": cannot write: " + message);
  }
  if (auto renamed = llvm::sys::fs::rename(temporary, path))
    return fail(path + ": cannot rename: " + renamed.message());
  return 0;
}
