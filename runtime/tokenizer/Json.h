// JSON from files that others made: bounded depth, no duplicate keys, errors with positions, no exceptions.
#pragma once
#include "absl/status/statusor.h"
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace llmc::runtime {

/// Receives the two big parts of a tokenizer.json as they are read, so that no tree is built of them; they
/// are left out of the returned value. Return false to stop with an error.
class BulkSink {
public:
  virtual ~BulkSink() = default;
  virtual bool vocabulary(const std::string &token, uint64_t id) = 0;
  virtual bool merge(const std::string &left, const std::string &right) = 0;
};

/// Takes a value apart when its scope ends. nlohmann's destructor of a value with others in it asks for
/// memory and ends the process when there is none; this needs none.
class DismantledJson {
public:
  explicit DismantledJson(nlohmann::json &value) : value_(value) {}
  ~DismantledJson();
  DismantledJson(const DismantledJson &) = delete;
  DismantledJson &operator=(const DismantledJson &) = delete;

private:
  nlohmann::json &value_;
};

/// `what` names the text in errors.
absl::StatusOr<nlohmann::json> parseJson(std::string_view text, const std::string &what,
                                         BulkSink *bulk = nullptr);

} // namespace llmc::runtime
