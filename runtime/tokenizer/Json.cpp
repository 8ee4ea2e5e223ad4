// An event handler for nlohmann's parser that builds values itself, so that depth and duplicates are its own.
#include "runtime/tokenizer/Json.h"
#include <nlohmann/json.hpp>

namespace llmc::runtime {
namespace {
using nlohmann::json;

class Handler {
public:
  using number_integer_t = json::number_integer_t;
  using number_unsigned_t = json::number_unsigned_t;
  using number_float_t = json::number_float_t;
  using string_t = json::string_t;
  using binary_t = json::binary_t;

  explicit Handler(BulkSink *bulk) : bulk_(bulk) {}
  json root;
  DismantledJson dismantledRoot{root};
  std::string failure;

  bool null() { return value(json()); }
  bool boolean(bool b) { return value(json(b)); }
  bool number_integer(number_integer_t n) { return mode_ == Mode::tree ? value(json(n)) : bulkNumber(-1); }
  bool number_unsigned(number_unsigned_t n) {
    return mode_ == Mode::tree ? value(json(n)) : bulkNumber(n > INT64_MAX ? -1 : static_cast<int64_t>(n));
  }
  bool number_float(number_float_t n, const string_t &) { return value(json(n)); }
  bool binary(binary_t &) { return fail("binary values are not JSON"); }
  bool string(string_t &s) {
    if (mode_ == Mode::tree)
      return value(json(std::move(s)));
    if (mode_ == Mode::pair) {
      if (pairCount_ == 2)
        return fail("a merge has more than two parts");
      pair_[pairCount_++] = std::move(s);
      return true;
    }
    if (mode_ == Mode::merges)
      return textMerge(s);
    return fail("a token's id is not a number");
  }

  bool start_object(std::size_t) {
    if (mode_ != Mode::tree)
      return fail("an object inside the vocabulary or merges");
    if (isAt("vocab")) {
      mode_ = Mode::vocabulary;
      return true;
    }
    return push(json::object());
  }
  bool key(string_t &k) {
    key_ = std::move(k);
    if (mode_ == Mode::vocabulary)
      return true;
    return !stack_.back()->contains(key_) || fail("key '" + key_ + "' occurs twice");
  }
  bool end_object() { return close(Mode::vocabulary); }

  bool start_array(std::size_t) {
    if (mode_ == Mode::merges) {
      mode_ = Mode::pair;
      pairCount_ = 0;
      return true;
    }
    if (mode_ != Mode::tree)
      return fail("an array inside the vocabulary or a merge");
    if (isAt("merges")) {
      mode_ = Mode::merges;
      return true;
    }
    return push(json::array());
  }
  bool end_array() {
    if (mode_ == Mode::pair) {
      mode_ = Mode::merges;
      if (pairCount_ != 2)
        return fail("a merge has not two parts");
      return bulk_->merge(pair_[0], pair_[1]) ||
             fail("merge of '" + pair_[0] + "' and '" + pair_[1] + "' refused");
    }
    return close(Mode::merges);
  }

  bool parse_error(std::size_t position, const std::string &, const nlohmann::detail::exception &) {
    return fail("is not valid JSON at byte " + std::to_string(position));
  }

private:
  enum class Mode { tree, vocabulary, merges, pair };
  static constexpr size_t kMaxDepth = 64;

  bool fail(const std::string &what) {
    if (failure.empty())
      failure = what;
    return false;
  }

  /// Whether the value that begins is root["model"][name].
  bool isAt(const char *name) const {
    return bulk_ && stack_.size() == 2 && stack_[1]->is_object() && modelDepth_ == 2 && key_ == name;
  }

  bool value(json &&v) {
    if (mode_ != Mode::tree)
      return fail("a value of a wrong kind in the vocabulary or merges");
    return place(std::move(v)) != nullptr;
  }

  json *place(json &&v) {
    if (stack_.empty()) {
      root = std::move(v);
      return &root;
    }
    json &parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(v));
      return &parent.back();
    }
    return &(parent[key_] = std::move(v));
  }

  bool push(json &&v) {
    if (stack_.size() >= kMaxDepth)
      return fail("is nested deeper than " + std::to_string(kMaxDepth));
    bool isModel = stack_.size() == 1 && stack_[0]->is_object() && key_ == "model";
    stack_.push_back(place(std::move(v)));
    if (isModel)
      modelDepth_ = 2;
    return true;
  }

  bool close(Mode bulkMode) {
    if (mode_ == bulkMode) {
      mode_ = Mode::tree;
      return place(json()) != nullptr; // remembered, so that a second one is a duplicate
    }
    stack_.pop_back();
    if (stack_.size() < modelDepth_)
      modelDepth_ = 0;
    return true;
  }

  bool bulkNumber(int64_t n) {
    if (mode_ != Mode::vocabulary || n < 0)
      return fail("a number of a wrong kind in the vocabulary or merges");
    return bulk_->vocabulary(key_, static_cast<uint64_t>(n)) ||
           fail("token '" + key_ + "' with id " + std::to_string(n) + " is a duplicate or out of range");
  }

  bool textMerge(const std::string &s) {
    size_t space = s.find(' ', 1);
    if (space == std::string::npos || s.find(' ', space + 1) != std::string::npos)
      return fail("merge '" + s + "' is not two parts with a space between");
    pair_[0].assign(s, 0, space);
    pair_[1].assign(s, space + 1, std::string::npos);
    return bulk_->merge(pair_[0], pair_[1]) || fail("merge '" + s + "' joins what are not tokens");
  }

  BulkSink *bulk_;
  std::vector<json *> stack_;
  size_t modelDepth_ = 0;
  string_t key_;
  std::string pair_[2];
  int pairCount_ = 0;
  Mode mode_ = Mode::tree;
};

void dismantle(json &value) {
  if (!value.is_structured())
    return;
  for (json &inner : value)
    dismantle(inner);
  value.clear(); // of what is empty by now
}
} // namespace

DismantledJson::~DismantledJson() { dismantle(value_); }

absl::StatusOr<json> parseJson(std::string_view text, const std::string &what, BulkSink *bulk) {
  Handler handler(bulk);
  bool isGood = json::sax_parse(text.begin(), text.end(), &handler);
  if (!isGood)
    return absl::InvalidArgumentError(what + ": " +
                                      (handler.failure.empty() ? "is not valid JSON" : handler.failure));
  return std::move(handler.root);
}

} // namespace llmc::runtime
