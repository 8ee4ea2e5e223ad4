// Tensor maps (what cuTensorMapEncodeTiled makes, in a form of the simulator's own), swizzles, and matrix
// descriptors: how bulk tensor copies and wgmma find an element in memory.
#pragma once
#include <cstdint>
#include <string>

namespace llmc::sim {

/// The XOR of the bits [4, 4 + n) of a shared address with its bits [7, 7 + n), n = 1, 2, 3: 16-byte chunks
/// of 8 rows change places in a pattern that repeats every 256, 512 or 1024 bytes.
enum class Swizzle : uint8_t { none, bytes32, bytes64, bytes128 };

inline uintptr_t swizzled(uintptr_t address, Swizzle swizzle) {
  uintptr_t mask = (uintptr_t(1) << static_cast<int>(swizzle)) - 1;
  return address ^ ((address >> 7 & mask) << 4);
}
/// Bytes of a row of the pattern; 16 without a swizzle.
inline uint32_t spanOf(Swizzle swizzle) { return 16u << static_cast<int>(swizzle); }

/// A tensor in global memory and the box of it that a copy moves. Dimension 0 is contiguous.
struct TensorMap {
  uint32_t magic;
  uint8_t type; ///< CUtensorMapDataType
  uint8_t rank;
  Swizzle swizzle;
  uint8_t fillsNan; ///< out of bounds, else zeros
  uint64_t address;
  uint32_t extents[5];
  uint16_t box[5];
  uint64_t strides[5]; ///< in bytes, of dimensions 1, ...

  static constexpr uint32_t kMagic = 0x70616d74;
  uint32_t elementBytes() const;
  uint64_t boxBytes() const;
};
static_assert(sizeof(TensorMap) <= 128);

/// Fills `map` as cuTensorMapEncodeTiled would; else what the driver would refuse.
std::string encodeTiled(TensorMap &map, int type, uint32_t rank, uint64_t address, const uint64_t *extents,
                        const uint64_t *strides, const uint32_t *box, const uint32_t *elementStrides,
                        int interleave, int swizzle, int fill);

/// The 64-bit descriptor of a matrix in shared memory (PTX ISA, matrix descriptor of wgmma). Rows run along M
/// or N. Offsets of element (row, k) of 16 bits before the swizzle, C = span of the swizzle in bytes:
///
///   K-major                 (row / 8) * stride + (row % 8) * C + 2 * k
///   K-major, no swizzle     (row / 8) * stride + (row % 8) * 16 + (k / 8) * leading + 2 * (k % 8)
///   MN-major                (k / 8) * stride + (k % 8) * C + (2 * row / C) * leading + 2 * row % C
///   MN-major, no swizzle    (k / 8) * leading + (k % 8) * 16 + (row / 8) * stride + 2 * (row % 8)
struct MatrixDescriptor {
  uint32_t start, leading, stride, baseOffset; ///< in bytes, but for the last
  Swizzle swizzle;

  explicit MatrixDescriptor(uint64_t bits);
  /// `elementBytes` 4: tf32, K-major only.
  uint32_t offset(uint32_t row, uint32_t k, bool isKMajor, uint32_t elementBytes) const;
};

} // namespace llmc::sim
