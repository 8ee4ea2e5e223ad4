// Hash tables without an allocation per token, and merging by a heap of candidate pairs.
#include "runtime/tokenizer/Bpe.h"
#include <algorithm>
#define XXH_INLINE_ALL
#include "xxhash.h"

namespace llmc::runtime {

static uint64_t hashOf(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }
static uint64_t hashOf(uint64_t pair) {
  pair *= 0x9e3779b97f4a7c15ull;
  return pair ^ pair >> 32;
}

void Vocabulary::reserve(size_t tokens, size_t bytes) {
  pool_.reserve(bytes);
  entries_.reserve(tokens);
  size_t slots = 1024;
  while (slots < 2 * tokens)
    slots *= 2;
  if (count_ == 0)
    slots_.assign(slots, -1);
}

void Vocabulary::grow() {
  std::vector<int32_t> old = std::move(slots_);
  slots_.assign(old.empty() ? 1024 : 2 * old.size(), -1);
  for (int32_t id : old) {
    if (id < 0)
      continue;
    size_t slot = hashOf(bytes(static_cast<uint32_t>(id))) & (slots_.size() - 1);
    while (slots_[slot] >= 0)
      slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = id;
  }
}

bool Vocabulary::add(uint32_t id, std::string_view token, bool isSearchable) {
  if (id >= kMaxTokens || has(id))
    return false;
  if (isSearchable && !index(id, token))
    return false;
  if (id >= entries_.size())
    entries_.resize(id + 1, {0, 0, false});
  entries_[id] = {pool_.size(), static_cast<uint32_t>(token.size()), true};
  pool_.append(token);
  return true;
}

bool Vocabulary::index(uint32_t id, std::string_view token) {
  if (2 * (count_ + 1) > slots_.size())
    grow();
  size_t slot = hashOf(token) & (slots_.size() - 1);
  for (; slots_[slot] >= 0; slot = (slot + 1) & (slots_.size() - 1))
    if (bytes(static_cast<uint32_t>(slots_[slot])) == token)
      return false;
  slots_[slot] = static_cast<int32_t>(id);
  ++count_;
  longest_ = std::max(longest_, token.size());
  return true;
}

int32_t Vocabulary::find(std::string_view token) const {
  if (slots_.empty())
    return -1;
  for (size_t slot = hashOf(token) & (slots_.size() - 1); slots_[slot] >= 0;
       slot = (slot + 1) & (slots_.size() - 1))
    if (bytes(static_cast<uint32_t>(slots_[slot])) == token)
      return slots_[slot];
  return -1;
}

static uint64_t pairOf(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

void Bpe::grow(size_t slots) {
  std::vector<Slot> old = std::move(slots_);
  slots_.assign(slots, {});
  for (const Slot &entry : old) {
    if (entry.pair == UINT64_MAX)
      continue;
    size_t slot = hashOf(entry.pair) & (slots - 1);
    while (slots_[slot].pair != UINT64_MAX)
      slot = (slot + 1) & (slots - 1);
    slots_[slot] = entry;
  }
}

void Bpe::reserveMerges(size_t count) {
  size_t slots = 1024;
  while (slots < 2 * count)
    slots *= 2;
  if (slots > slots_.size())
    grow(slots);
}

void Bpe::addMerge(int32_t left, int32_t right, Merge merge) {
  reserveMerges(merges_ + 1);
  uint64_t pair = pairOf(left, right);
  size_t slot = hashOf(pair) & (slots_.size() - 1);
  for (; slots_[slot].pair != UINT64_MAX; slot = (slot + 1) & (slots_.size() - 1))
    if (slots_[slot].pair == pair) {
      slots_[slot].merge = merge;
      return;
    }
  slots_[slot] = {pair, merge};
  ++merges_;
}

void Bpe::finish() {
  for (int byte = 0; byte < 256; ++byte) {
    char c = static_cast<char>(byte);
    byteTokens_[static_cast<size_t>(byte)] = vocabulary.find(std::string_view(&c, 1));
  }
}

Bpe::Merge Bpe::lookUp(int32_t left, int32_t right, std::string_view joined) const {
  if (isRankedById) {
    int32_t id = joined.size() <= vocabulary.longest() ? vocabulary.find(joined) : -1;
    return {static_cast<uint32_t>(id), id};
  }
  if (slots_.empty())
    return {0, -1};
  uint64_t pair = pairOf(left, right);
  for (size_t slot = hashOf(pair) & (slots_.size() - 1); slots_[slot].pair != UINT64_MAX;
       slot = (slot + 1) & (slots_.size() - 1))
    if (slots_[slot].pair == pair)
      return slots_[slot].merge;
  return {0, -1};
}

int Bpe::encode(std::string_view piece, Scratch &scratch, std::vector<int32_t> &tokens) const {
  if (piece.empty())
    return -1;
  if ((isWholePieceFirst || isRankedById) && piece.size() <= vocabulary.longest())
    if (int32_t id = vocabulary.find(piece); id >= 0) {
      tokens.push_back(id);
      return -1;
    }
  auto &nodes = scratch.nodes;
  auto &heap = scratch.heap;
  nodes.clear();
  heap.clear();
  const int32_t n = static_cast<int32_t>(piece.size());
  for (int32_t i = 0; i < n; ++i) {
    uint8_t byte = static_cast<uint8_t>(piece[static_cast<size_t>(i)]);
    int32_t id = byteTokens_[byte] >= 0 ? byteTokens_[byte] : unknown;
    if (id < 0)
      return byte;
    nodes.push_back(
        {id, i - 1, i + 1 < n ? i + 1 : -1, static_cast<uint32_t>(i), static_cast<uint32_t>(i + 1)});
  }
  // Lowest rank first, the leftmost of equal ones.
  auto isLater = [](const Scratch::Candidate &a, const Scratch::Candidate &b) {
    return a.rank != b.rank ? a.rank > b.rank : a.node > b.node;
  };
  auto consider = [&](int32_t node) {
    const Scratch::Node &left = nodes[static_cast<size_t>(node)];
    if (left.next < 0)
      return;
    const Scratch::Node &right = nodes[static_cast<size_t>(left.next)];
    Merge merge = lookUp(left.id, right.id, piece.substr(left.begin, right.end - left.begin));
    if (merge.id < 0)
      return;
    heap.push_back({merge.rank, node, left.id, right.id, merge.id});
    std::push_heap(heap.begin(), heap.end(), isLater);
  };
  for (int32_t i = 0; i + 1 < n; ++i)
    consider(i);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), isLater);
    Scratch::Candidate c = heap.back();
    heap.pop_back();
    Scratch::Node &left = nodes[static_cast<size_t>(c.node)];
    // Outdated when either side has been merged since; ids of live neighbours say so.
    if (left.id != c.left || left.next < 0 || nodes[static_cast<size_t>(left.next)].id != c.right)
      continue;
    Scratch::Node &right = nodes[static_cast<size_t>(left.next)];
    left.id = c.merged;
    left.end = right.end;
    left.next = right.next;
    right.id = -1; // dead
    if (left.next >= 0)
      nodes[static_cast<size_t>(left.next)].previous = c.node;
    if (left.previous >= 0)
      consider(left.previous);
    consider(c.node);
  }
  for (int32_t i = 0; i >= 0; i = nodes[static_cast<size_t>(i)].next)
    tokens.push_back(nodes[static_cast<size_t>(i)].id);
  return -1;
}

} // namespace llmc::runtime
