// Unicode normalization form C, which several tokenizers ask for.
#pragma once
#include <string>
#include <string_view>

namespace llmc::runtime {

/// `text` (valid UTF-8) in form C.
std::string toNfc(std::string_view text);

} // namespace llmc::runtime
