// See CudaCode.h. A code object is PTX text, a cubin, or host code for the simulator; the blob's first bytes
// tell.
#include "runtime/cuda/CudaCode.h"
#include <cstring>
#include <elf.h>

namespace llmc::runtime {
using namespace llmc::cuda;

namespace {

constexpr uint32_t kSharedWithoutAsking = 48 << 10;

/// "sm_90a": number 90, and whether it is for that one architecture only.
struct ArchName {
  int number = 0;
  bool isSpecific = false;
};
ArchName parseArch(const std::string &level) {
  ArchName arch;
  if (level.compare(0, 3, "sm_") != 0)
    return arch;
  size_t at = 3;
  for (; at < level.size() && level[at] >= '0' && level[at] <= '9' && arch.number < 1000; ++at)
    arch.number = arch.number * 10 + (level[at] - '0');
  arch.isSpecific = at < level.size() && level[at] == 'a';
  return arch;
}

enum class CodeKind { ptx, cubin, simulated, damaged };
CodeKind kindOf(const uint8_t *data, uint64_t bytes) {
  Elf64_Ehdr header;
  if (bytes < sizeof header)
    return CodeKind::damaged;
  if (memcmp(data, ELFMAG, SELFMAG) != 0)
    return data[bytes - 1] == 0 ? CodeKind::ptx : CodeKind::damaged;
  memcpy(&header, data, sizeof header);
  return header.e_machine == EM_CUDA ? CodeKind::cubin : CodeKind::simulated;
}

/// A cubin runs on its own generation only; PTX, and code for the simulator, on every later one too.
bool runsOn(const ArchName &arch, CodeKind kind, int capability) {
  if (arch.isSpecific)
    return arch.number == capability;
  return arch.number > 0 && arch.number <= capability &&
         (kind != CodeKind::cubin || arch.number / 10 == capability / 10);
}

} // namespace

Result encodeTensorMap(const CudaDriver &driver, const TensorMap &map, ElementType type, void *address, const Dims &dims,
                       TensorMapBytes &bytes) {
  const size_t rank = map.shape.size();
  uint64_t extents[kMaxTensorMapRank], strides[kMaxTensorMapRank] = {}, stride = elementBytes(type);
  uint32_t box[kMaxTensorMapRank], steps[kMaxTensorMapRank];
  for (size_t d = 0; d < rank; ++d) { // the driver counts from the contiguous dimension
    const Dim &dim = map.shape[rank - 1 - d];
    extents[d] = dim.multiplier * (dim.symbol == Symbol::one ? 1 : static_cast<uint64_t>(dims[static_cast<size_t>(dim.symbol) - 1]));
    box[d] = map.box[rank - 1 - d];
    steps[d] = 1;
    stride *= extents[d];
    strides[d] = stride; // of dimension d + 1
  }
  int kind = type == ElementType::bf16 ? kTensorMapBfloat16 : type == ElementType::f16 ? kTensorMapFloat16 : kTensorMapFloat32;
  return driver.cuTensorMapEncodeTiled(&bytes, kind, static_cast<uint32_t>(rank), address, extents, strides, box, steps, /*interleave=*/0,
                                       map.swizzle, kTensorMapPromotion128, /*fill=*/0);
}

absl::StatusOr<std::unique_ptr<CudaCode>> CudaCode::load(const Gpu &gpu) {
  std::unique_ptr<CudaCode> code(new CudaCode(gpu));
  if (absl::Status s = code->choose(); !s.ok())
    return s;
  if (absl::Status s = code->loadModule(); !s.ok())
    return s;
  if (absl::Status s = code->findFunctions(); !s.ok())
    return s;
  if (absl::Status s = code->loadLoopTest(); !s.ok())
    return s;
  return code;
}

CudaCode::~CudaCode() {
  gpu_.use();
  for (void *module : {loopTestModule_, module_})
    if (module)
      gpu_.api().cuModuleUnload(module);
}

absl::Status CudaCode::choose() {
  const Artifact &artifact = gpu_.artifact();
  const CudaDriver &driver = gpu_.api();
  std::string present;
  int best = 0;
  bool hasOtherKind = false, hasKind = false;
  for (const CodeObject &o : artifact.plan().codeObjects) {
    if (o.target != "cuda")
      continue;
    CodeKind kind = kindOf(artifact.blobData(o.blob), artifact.blobs()[o.blob].bytes);
    if (kind == CodeKind::damaged)
      return damagedArtifact(artifact.path(), "code object '" + o.level +
                                                  "' is neither an ELF file nor text that ends with a zero");
    present += (present.empty() ? "" : ", ") + o.level + (kind == CodeKind::cubin ? " (cubin)" : "");
    bool isOurs = (kind == CodeKind::simulated) == driver.isSimulator;
    (isOurs ? hasKind : hasOtherKind) = true;
    ArchName arch = parseArch(o.level);
    int rank = 2 * arch.number + arch.isSpecific;
    if (isOurs && runsOn(arch, kind, gpu_.capability()) && rank > best) {
      best = rank;
      object_ = &o;
    }
  }
  if (object_)
    return absl::OkStatus();
  if (hasOtherKind && !hasKind)
    return gpu_.unsupported(
        driver.isSimulator
            ? "its CUDA code is for GPUs and " + driver.path +
                  " is the simulator; compile the model again with --sim, or run it without --libcuda"
            : "its CUDA code is for the simulator and " + driver.path +
                  " drives GPUs; compile the model again without --sim, or run it with "
                  "--libcuda=libllmc-sim.so");
  return gpu_.unsupported("has no code for " + gpu_.name() + " (sm_" + std::to_string(gpu_.capability()) +
                          "): the artifact holds " + present +
                          "; compile the model again with --arch for this GPU");
}

absl::Status CudaCode::loadModule() {
  const CudaDriver &driver = gpu_.api();
  Result r = driver.cuModuleLoadData(&module_, gpu_.artifact().blobData(object_->blob));
  if (!r)
    return absl::OkStatus();
  module_ = nullptr;
  if (r == kUnsupportedPtxVersion)
    return gpu_.unsupported("its PTX is newer than the CUDA driver " + driver.describe() +
                            " knows; install a newer driver");
  if (r == kOutOfMemory)
    return gpu_.failed("no memory for the " + object_->level + " code", r);
  return gpu_.unsupported("the CUDA driver " + driver.describe() + " does not load the " + object_->level +
                          " code on " + gpu_.name() + ": " + driver.name(r) +
                          (r == kNoBinaryForGpu || r == kInvalidImage
                               ? "; install a newer driver, or compile the model again with --arch for this GPU"
                               : ""));
}

absl::Status CudaCode::findFunctions() {
  for (const KernelLaunch &launch : object_->launches) {
    auto function = findFunction(module_, launch);
    if (!function.ok())
      return function.status();
    functions_.push_back(*function);
  }
  if (object_->merged && gpu_.hasCooperativeLaunch()) {
    auto function = findFunction(module_, *object_->merged);
    if (!function.ok())
      return function.status();
    mergedFunction_ = *function;
  }
  return absl::OkStatus();
}

/// What it calls is the driver's own, and younger than the rest: a driver that does not load it leaves loops to the host.
absl::Status CudaCode::loadLoopTest() {
  const CudaDriver &driver = gpu_.api();
  const Artifact &artifact = gpu_.artifact();
  if (driver.version < kLoopCudaVersion)
    return absl::OkStatus();
  for (const CodeObject &o : artifact.plan().codeObjects)
    if (o.target == kLoopTestTarget && o.level == object_->level) {
      if (Result r = driver.cuModuleLoadData(&loopTestModule_, artifact.blobData(o.blob))) {
        loopTestModule_ = nullptr;
        return r == kOutOfMemory ? gpu_.failed("no memory for the test of loops", r) : absl::OkStatus();
      }
      auto function = findFunction(loopTestModule_, o.launches.front());
      if (!function.ok())
        return function.status();
      loopTest_ = &o.launches.front();
      loopTestFunction_ = *function;
    }
  return absl::OkStatus();
}

absl::StatusOr<void *> CudaCode::findFunction(void *module, const KernelLaunch &launch) const {
  const CudaDriver &driver = gpu_.api();
  void *function = nullptr;
  if (Result r = driver.cuModuleGetFunction(&function, module, launch.symbol.c_str())) {
    if (r != kNotFound)
      return gpu_.failed("kernel '" + launch.symbol + "' cannot be loaded", r);
    return damagedArtifact(gpu_.artifact().path(),
                           "code object '" + object_->level + "' lacks kernel '" + launch.symbol + "'");
  }
  if (launch.sharedBytes <= kSharedWithoutAsking)
    return function;
  if (launch.sharedBytes > gpu_.sharedBytes())
    return gpu_.unsupported("kernel '" + launch.symbol + "' needs " + std::to_string(launch.sharedBytes) +
                            " bytes of shared memory, " + gpu_.name() + " has " + std::to_string(gpu_.sharedBytes()) +
                            "; compile the model again with --arch for this GPU");
  if (Result r = driver.cuFuncSetAttribute(function, kMaxDynamicSharedBytes, static_cast<int>(launch.sharedBytes)))
    return gpu_.failed("kernel '" + launch.symbol + "' cannot have its shared memory", r);
  return function;
}

} // namespace llmc::runtime
