// Byte-pair encoding of one piece of text: vocabulary, merges, and the merging itself.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llmc::runtime {

/// Token ids and their bytes, both ways. Ids may have gaps.
class Vocabulary {
public:
  /// False when the bytes or the id were there already. Tokens that are not searchable have bytes but are
  /// never found.
  bool add(uint32_t id, std::string_view bytes, bool isSearchable = true);
  /// -1 when no token has these bytes.
  int32_t find(std::string_view bytes) const;
  std::string_view bytes(uint32_t id) const {
    return has(id) ? std::string_view(pool_).substr(entries_[id].offset, entries_[id].length)
                   : std::string_view();
  }
  bool has(uint32_t id) const { return id < entries_.size() && entries_[id].isThere; }
  /// One more than the highest id.
  uint32_t size() const { return static_cast<uint32_t>(entries_.size()); }
  size_t longest() const { return longest_; }
  void reserve(size_t tokens, size_t bytes);

  static constexpr uint32_t kMaxTokens = 1 << 24;

private:
  struct Entry {
    uint64_t offset;
    uint32_t length;
    bool isThere;
  };
  void grow();
  bool index(uint32_t id, std::string_view bytes);
  std::string pool_;
  std::vector<Entry> entries_;
  std::vector<int32_t> slots_; ///< open addressing, -1 is free
  size_t count_ = 0, longest_ = 0;
};

class Bpe {
public:
  /// The result of joining two tokens: lower ranks come first.
  struct Merge {
    uint32_t rank;
    int32_t id;
  };
  /// Reused between pieces.
  struct Scratch {
    struct Node {
      int32_t id, previous, next;
      uint32_t begin, end;
    };
    struct Candidate {
      uint32_t rank;
      int32_t node, left, right, merged;
    };
    std::vector<Node> nodes;
    std::vector<Candidate> heap;
  };

  Vocabulary vocabulary;
  /// A piece that is a token is taken whole (always so with ranks from the vocabulary).
  bool isWholePieceFirst = false;
  /// Rank of a merge is the id of its result, and every token is a possible result (tiktoken), instead of a
  /// list of merges.
  bool isRankedById = false;
  /// Emitted for bytes that are no token; -1: encoding fails.
  int32_t unknown = -1;

  /// Records a merge; of two for the same pair the later one counts.
  void addMerge(int32_t left, int32_t right, Merge merge);
  void reserveMerges(size_t count);
  /// Call when vocabulary and merges are complete.
  void finish();
  /// Appends the tokens of a piece; the byte that cannot be expressed, or -1. Near-linear in the piece's
  /// length.
  int encode(std::string_view piece, Scratch &scratch, std::vector<int32_t> &tokens) const;

private:
  struct Slot {
    uint64_t pair = UINT64_MAX;
    Merge merge = {0, -1};
  };
  Merge lookUp(int32_t left, int32_t right, std::string_view joined) const;
  void grow(size_t slots);
  std::vector<Slot> slots_;
  size_t merges_ = 0;
  std::array<int32_t, 256> byteTokens_;
};

} // namespace llmc::runtime
