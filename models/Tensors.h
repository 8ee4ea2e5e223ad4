// What a model family expects to find among a checkpoint's tensors. Plain data, shared by families and
// frontends.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace llmc {

struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
  bool optional = false;                          ///< May be absent (a tied lm_head, for example).
  std::vector<std::vector<int64_t>> alternatives; ///< Other shapes with the same elements in the same order.
};

} // namespace llmc
