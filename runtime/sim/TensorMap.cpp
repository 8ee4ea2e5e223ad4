// See TensorMap.h.
#include "runtime/sim/TensorMap.h"

namespace llmc::sim {

uint32_t TensorMap::elementBytes() const {
  // CUtensorMapDataType: UINT8, UINT16, UINT32, INT32, UINT64, INT64, FLOAT16, FLOAT32, FLOAT64, BFLOAT16,
  // FLOAT32_FTZ, TFLOAT32, TFLOAT32_FTZ
  constexpr uint8_t kBytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
  return type < sizeof kBytes ? kBytes[type] : 0;
}

uint64_t TensorMap::boxBytes() const {
  uint64_t bytes = elementBytes();
  for (uint32_t d = 0; d < rank; ++d)
    bytes *= box[d];
  return bytes;
}

std::string encodeTiled(TensorMap &map, int type, uint32_t rank, uint64_t address, const uint64_t *extents,
                        const uint64_t *strides, const uint32_t *box, const uint32_t *elementStrides,
                        int interleave, int swizzle, int fill) {
  map = TensorMap();
  map.type = static_cast<uint8_t>(type);
  map.rank = static_cast<uint8_t>(rank);
  if (type < 0 || type > 12 || rank < 1 || rank > 5)
    return "expects a known element type and 1 to 5 dimensions";
  if (interleave != 0)
    return "interleaved layouts are not simulated";
  if (swizzle < 0 || swizzle > 3 || fill < 0 || fill > 1)
    return "expects a swizzle of 0 to 3 and a fill of 0 or 1";
  if (address % 16)
    return "the tensor's address is not a multiple of 16";
  const uint32_t bytes = map.elementBytes();
  for (uint32_t d = 0; d < rank; ++d) {
    const std::string which = "dimension " + std::to_string(d);
    if (extents[d] == 0 || extents[d] > uint64_t(1) << 32)
      return which + " has an extent that is not in 1..2^32";
    if (box[d] == 0 || box[d] > 256)
      return which + " has a box of " + std::to_string(box[d]) + ", not in 1..256";
    if (elementStrides[d] != 1)
      return which + " has an element stride, which is not simulated";
    if (d && (strides[d - 1] % 16 || strides[d - 1] >= uint64_t(1) << 40))
      return which + " has a stride of " + std::to_string(strides[d - 1]) + ", no multiple of 16 below 2^40";
    map.extents[d] = static_cast<uint32_t>(extents[d] - 1); // 2^32 fits so
    map.box[d] = static_cast<uint16_t>(box[d]);
    if (d)
      map.strides[d] = strides[d - 1];
  }
  map.swizzle = static_cast<Swizzle>(swizzle);
  if (box[0] * bytes % 16)
    return "a row of the box is not a multiple of 16 bytes";
  if (swizzle && box[0] * bytes > spanOf(map.swizzle))
    return "a row of the box has " + std::to_string(box[0] * bytes) + " bytes, more than the swizzle's " +
           std::to_string(spanOf(map.swizzle));
  map.strides[0] = bytes;
  map.fillsNan = static_cast<uint8_t>(fill);
  map.address = address;
  map.magic = TensorMap::kMagic;
  return "";
}

static Swizzle swizzleOf(uint64_t code) {
  constexpr Swizzle kSwizzles[] = {Swizzle::none, Swizzle::bytes128, Swizzle::bytes64, Swizzle::bytes32};
  return kSwizzles[code];
}

MatrixDescriptor::MatrixDescriptor(uint64_t bits)
    : start((bits & 0x3fff) << 4), leading((bits >> 16 & 0x3fff) << 4), stride((bits >> 32 & 0x3fff) << 4),
      baseOffset(bits >> 49 & 7), swizzle(swizzleOf(bits >> 62)) {}

uint32_t MatrixDescriptor::offset(uint32_t row, uint32_t k, bool isKMajor, uint32_t elementBytes) const {
  const uint32_t span = spanOf(swizzle), column = k * elementBytes;
  if (isKMajor) {
    uint32_t rows = row / 8 * stride + row % 8 * span;
    return swizzle == Swizzle::none ? rows + column / 16 * leading + column % 16 : rows + column;
  }
  uint32_t along = row * elementBytes, within = k % 8 * span + along % span;
  return swizzle == Swizzle::none ? k / 8 * leading + along / 16 * stride + within
                                  : k / 8 * stride + along / span * leading + within;
}

} // namespace llmc::sim
