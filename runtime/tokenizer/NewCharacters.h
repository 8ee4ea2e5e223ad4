// Letters, marks and numbers that are newer than PCRE2's tables.
#pragma once
#include <string>
#include <string_view>

namespace llmc::runtime {

/// If `text`, which is UTF-8, has letters, marks or numbers of Unicode 15 to 16: fills `copy` with a text of the same length
/// in which older characters of the same category stand for them, and returns true.
bool replaceNewCharacters(std::string_view text, std::string &copy);

} // namespace llmc::runtime
