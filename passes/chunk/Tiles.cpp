// See Tiles.h.
#include "passes/chunk/Tiles.h"

namespace llmc {

/// cuda: 128 x 128 keeps the tensor cores of an SM busy out of shared memory (64 multiply-adds per value read), with accumulators of 64
/// registers a thread. Out of the L2 cache it does not keep those of wgmma busy: 132 SMs that do 600 TFLOP/s would read 9.4 TB/s. 128 x 256 need
/// 7.0 TB/s, and 128 registers; 4096 columns make 128 such workgroups out of 1024 rows, about one an SM. A step's rows are the narrow side of
/// mma.sync; 2 panels make its 64-column tiles.
std::optional<Tiles> tilesOf(llvm::StringRef name) {
  if (name == "cpu")
    return Tiles();
  if (name != "cuda")
    return std::nullopt;
  Tiles tiles;
  tiles.promptRows = 128;
  tiles.promptPanels = 4;
  tiles.widePanels = 8;
  tiles.wideColumns = 4096;
  tiles.rowsTogether = 16; // of the workgroups that 132 SMs run at a time: 16 tiles of rows and 8 twice as wide of columns are the fewest bytes
  tiles.stepRows = 16;
  tiles.stepPanels = 2;
  tiles.attentionRows = 128; // a key or value read out of the L2 cache serves as many rows, which wgmma needs to be busy: 128 flop per byte
  tiles.attentionKeys = 64;  // scores and the sums of 128 columns are 96 registers a thread; twice as many positions would be 128
  tiles.deltaRows = 32;    // more are fewer steps of the scan, but more than shared memory has room for where the factors are made
  tiles.deltaColumns = 32; // two warps: a head's 128 columns are four workgroups, 32 heads fill 132 SMs
  tiles.deltaScans = 33;   // a quarter of the SMs: segments are 2.4 times the products
  tiles.segments = 32; // times 8 key heads: two one-warp workgroups an SM, each with 8 KiB of keys or values under way
  tiles.narrowProducts = true;
  return tiles;
}

} // namespace llmc
