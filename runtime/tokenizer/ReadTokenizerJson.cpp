// tokenizer.json of the Hugging Face tokenizers library, for byte-level BPE. What it may ask for and this
// does not do is an error.
#include "runtime/Tokenizer.h"
#include "runtime/tokenizer/Json.h"
#include "runtime/tokenizer/Utf8.h"
#include <array>
#include <nlohmann/json.hpp>

namespace llmc::runtime {
namespace {
using nlohmann::json;

/// GPT-2's stand-ins for bytes: printable Latin-1 characters are themselves, the others follow from U+0100
/// on. -1: none.
int byteOf(uint32_t codepoint) {
  static const std::array<int16_t, 512> table = [] {
    std::array<int16_t, 512> t;
    t.fill(-1);
    int next = 256;
    for (int byte = 0; byte < 256; ++byte) {
      bool isPrintable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      t[static_cast<size_t>(isPrintable ? byte : next++)] = static_cast<int16_t>(byte);
    }
    return t;
  }();
  return codepoint < table.size() ? table[codepoint] : -1;
}

/// The bytes that a vocabulary entry stands for; false when it has characters that stand for none (control
/// tokens).
bool toBytes(const std::string &token, std::string &bytes) {
  bytes.clear();
  for (size_t at = 0; at < token.size();) {
    Utf8Char c = readUtf8(std::string_view(token).substr(at));
    int byte = c.kind == Utf8Kind::complete ? byteOf(c.codepoint) : -1;
    if (byte < 0)
      return false;
    bytes.push_back(static_cast<char>(byte));
    at += c.bytes;
  }
  return true;
}

class Reader : public BulkSink {
public:
  explicit Reader(const std::string &what) : what_(what) {}

  absl::StatusOr<TokenizerParts> read(std::string_view text) {
    parts_.bpe.vocabulary.reserve(text.size() / 48, text.size() / 8);
    auto root = parseJson(text, what_, this);
    if (!root.ok())
      return root.status();
    DismantledJson dismantled(*root);
    if (!root->is_object())
      return fail("is not a JSON object");
    using Step = absl::Status (Reader::*)(const json &);
    for (Step step : {&Reader::readModel, &Reader::readAdded, &Reader::readNormalizer,
                      &Reader::readPreTokenizer, &Reader::readPostProcessor, &Reader::readDecoder})
      if (absl::Status s = (this->*step)(*root); !s.ok())
        return s;
    return std::move(parts_);
  }

  bool vocabulary(const std::string &token, uint64_t id) override {
    bool isBytes = toBytes(token, bytes_);
    return id < Vocabulary::kMaxTokens &&
           parts_.bpe.vocabulary.add(static_cast<uint32_t>(id), isBytes ? bytes_ : token, isBytes);
  }

  // Merges may come before the vocabulary in the file, so they are kept until both are there.
  bool merge(const std::string &left, const std::string &right) override {
    if (mergeText_.size() + left.size() + right.size() > UINT32_MAX)
      return false;
    mergeText_ += left;
    mergeEnds_.push_back(static_cast<uint32_t>(mergeText_.size()));
    mergeText_ += right;
    mergeEnds_.push_back(static_cast<uint32_t>(mergeText_.size()));
    return true;
  }

private:
  absl::Status fail(const std::string &what) const { return absl::InvalidArgumentError(what_ + ": " + what); }

  static const json &member(const json &object, const char *key) {
    static const json none;
    auto found = object.is_object() ? object.find(key) : object.end();
    return object.is_object() && found != object.end() ? *found : none;
  }
  static std::string textOf(const json &object, const char *key) {
    const json &value = member(object, key);
    return value.is_string() ? value.get_ref<const std::string &>() : std::string();
  }
  static bool isTrue(const json &object, const char *key, bool otherwise = false) {
    const json &value = member(object, key);
    return value.is_boolean() ? value.get<bool>() : otherwise;
  }
  /// -1 when there is no such number that is a token id.
  static int64_t idOf(const json &value) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() >= Vocabulary::kMaxTokens)
      return -1;
    return static_cast<int64_t>(value.get<uint64_t>());
  }

  absl::Status readModel(const json &root) {
    const json &model = member(root, "model");
    std::string type = textOf(model, "type");
    // Old files leave the type out; merges then say that it is BPE.
    if (!model.is_object() || (type != "BPE" && !(type.empty() && model.contains("merges"))))
      return fail("model type '" + type + "' is not supported, only byte-level BPE is");
    for (const char *key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!textOf(model, key).empty())
        return fail(std::string("model has ") + key + ", which byte-level BPE does not use");
    if (isTrue(model, "byte_fallback"))
      return fail("model uses byte_fallback, which is not supported");
    Bpe &bpe = parts_.bpe;
    if (bpe.vocabulary.size() == 0)
      return fail("model has no vocabulary");
    bpe.isWholePieceFirst = isTrue(model, "ignore_merges");
    bpe.reserveMerges(mergeEnds_.size() / 2);
    std::string left, right;
    uint32_t begin = 0;
    for (size_t i = 0; i < mergeEnds_.size(); i += 2) {
      std::string first = mergeText_.substr(begin, mergeEnds_[i] - begin);
      std::string second = mergeText_.substr(mergeEnds_[i], mergeEnds_[i + 1] - mergeEnds_[i]);
      begin = mergeEnds_[i + 1];
      int32_t ids[3] = {-1, -1, -1};
      if (toBytes(first, left) && toBytes(second, right)) {
        ids[0] = bpe.vocabulary.find(left);
        ids[1] = bpe.vocabulary.find(right);
        ids[2] = bpe.vocabulary.find(left + right);
      }
      if (ids[0] < 0 || ids[1] < 0 || ids[2] < 0)
        return fail("merge " + std::to_string(i / 2) + " of '" + first + "' and '" + second +
                    "' is not of tokens");
      bpe.addMerge(ids[0], ids[1], {static_cast<uint32_t>(i / 2), ids[2]});
    }
    std::string unknown = textOf(model, "unk_token");
    if (!unknown.empty() && toBytes(unknown, bytes_))
      bpe.unknown = bpe.vocabulary.find(bytes_);
    return absl::OkStatus();
  }

  absl::Status readAdded(const json &root) {
    for (const json &token : member(root, "added_tokens")) {
      AddedToken added;
      int64_t id = idOf(member(token, "id"));
      added.text = textOf(token, "content");
      if (id < 0 || added.text.empty())
        return fail("an added token has no content or id");
      if (isTrue(token, "single_word"))
        return fail("added token '" + added.text + "' is single_word, which is not supported");
      added.id = static_cast<uint32_t>(id);
      added.isSpecial = isTrue(token, "special");
      added.isNormalized = isTrue(token, "normalized", !added.isSpecial);
      added.isStrippingLeft = isTrue(token, "lstrip");
      added.isStrippingRight = isTrue(token, "rstrip");
      parts_.added.push_back(std::move(added));
    }
    return absl::OkStatus();
  }

  absl::Status readNormalizer(const json &root) { return normalizer(member(root, "normalizer")); }
  absl::Status normalizer(const json &n) {
    std::string type = textOf(n, "type");
    if (n.is_null())
      return absl::OkStatus();
    if (type == "NFC") {
      parts_.isNfc = true;
      return absl::OkStatus();
    }
    if (type != "Sequence")
      return fail("normalizer '" + type + "' is not supported, only NFC is");
    for (const json &part : member(n, "normalizers"))
      if (absl::Status s = normalizer(part); !s.ok())
        return s;
    return absl::OkStatus();
  }

  absl::Status readPreTokenizer(const json &root) {
    if (absl::Status s = preTokenizer(member(root, "pre_tokenizer")); !s.ok())
      return s;
    return isByteLevel_ ? absl::OkStatus()
                        : fail("pre_tokenizer has no ByteLevel, only byte-level BPE is supported");
  }

  absl::Status addPattern(std::string_view text) {
    auto pattern = SplitPattern::compile(text);
    if (!pattern.ok())
      return fail(std::string(pattern.status().message()));
    parts_.patterns.push_back(std::move(*pattern));
    return absl::OkStatus();
  }

  absl::Status preTokenizer(const json &p) {
    std::string type = textOf(p, "type");
    if (p.is_null())
      return absl::OkStatus();
    // After ByteLevel the pieces are no text any more.
    if (isByteLevel_)
      return fail("pre_tokenizer '" + type + "' follows ByteLevel, which is not supported");
    if (type == "Sequence") {
      for (const json &part : member(p, "pretokenizers"))
        if (absl::Status s = preTokenizer(part); !s.ok())
          return s;
      return absl::OkStatus();
    }
    if (type == "ByteLevel") {
      isByteLevel_ = true;
      bool isAddingSpace = isTrue(p, "add_prefix_space", true);
      if (isAddingSpace && !parts_.patterns.empty())
        return fail("pre_tokenizer ByteLevel adds a space to pieces of others, which is not supported");
      parts_.isAddingSpace = isAddingSpace;
      return isTrue(p, "use_regex", true) ? addPattern(kGpt2Pattern) : absl::OkStatus();
    }
    if (type == "Digits")
      return addPattern(isTrue(p, "individual_digits") ? R"(\p{N})" : R"(\p{N}+)");
    if (type == "Split") {
      std::string behavior = textOf(p, "behavior"), regex = textOf(member(p, "pattern"), "Regex");
      if (behavior != "Isolated" && !(behavior == "Removed" && isTrue(p, "invert")))
        return fail("pre_tokenizer Split with behavior '" + behavior +
                    "' is not supported, only Isolated is");
      if (regex.empty())
        return fail("pre_tokenizer Split has no regular expression");
      return addPattern(regex);
    }
    return fail("pre_tokenizer '" + type + "' is not supported");
  }

  absl::Status readPostProcessor(const json &root) { return postProcessor(member(root, "post_processor")); }
  absl::Status postProcessor(const json &p) {
    std::string type = textOf(p, "type");
    if (p.is_null() || type == "ByteLevel") // ByteLevel only trims offsets, which are not kept
      return absl::OkStatus();
    if (type == "Sequence") {
      for (const json &part : member(p, "processors"))
        if (absl::Status s = postProcessor(part); !s.ok())
          return s;
      return absl::OkStatus();
    }
    if (type != "TemplateProcessing")
      return fail("post_processor '" + type + "' is not supported");
    bool isAfter = false;
    for (const json &item : member(p, "single")) {
      if (item.contains("Sequence")) {
        isAfter = true;
        continue;
      }
      std::string name = textOf(member(item, "SpecialToken"), "id");
      const json &ids = member(member(member(p, "special_tokens"), name.c_str()), "ids");
      if (!ids.is_array())
        return fail("post_processor names special token '" + name + "', which has no ids");
      for (const json &value : ids) {
        int64_t id = idOf(value);
        if (id < 0)
          return fail("post_processor's special token '" + name + "' has a bad id");
        (isAfter ? parts_.suffix : parts_.prefix).push_back(static_cast<int32_t>(id));
      }
    }
    return absl::OkStatus();
  }

  absl::Status readDecoder(const json &root) {
    const json &decoder = member(root, "decoder");
    std::string type = textOf(decoder, "type");
    bool isByteLevel = decoder.is_null() || type == "ByteLevel";
    if (type == "Sequence")
      for (const json &part : member(decoder, "decoders"))
        isByteLevel |= textOf(part, "type") == "ByteLevel";
    return isByteLevel ? absl::OkStatus()
                       : fail("decoder '" + type + "' is not supported, only ByteLevel is");
  }

  const std::string &what_;
  TokenizerParts parts_;
  std::string bytes_, mergeText_;
  std::vector<uint32_t> mergeEnds_;
  bool isByteLevel_ = false;
};
} // namespace

absl::StatusOr<TokenizerParts> readTokenizerJson(std::string_view text, const std::string &what) {
  return Reader(what).read(text);
}

} // namespace llmc::runtime
