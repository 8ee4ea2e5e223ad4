// A conversation by the model's chat template, turn by turn.
#pragma once
#include "tools/llmc-run/Generate.h"
#include <utility>

class Chat {
public:
  using Session = std::unique_ptr<llmc_session, Closer>;
  /// The model has a second slot, for going back to before an answer.
  Chat(llmc_model *model, Session session, const Options &options)
      : model_(model), session_(std::move(session)), options_(options) {}
  /// The exit code.
  int run();

private:
  /// What a turn came to; `fatal`: the conversation cannot go on.
  enum class Outcome { good, refused, fatal };
  struct Message {
    std::string role, content;
  };
  int start();
  int readLines();
  bool render(const std::vector<Message> &messages, bool isAsking, std::string &text);
  void findEndTokens();
  bool isEnd(int32_t token) const;
  Outcome turn(const std::string &text);
  Outcome ingest(const std::string &text);
  bool goBack(std::vector<int32_t> &fresh);
  bool append(const std::vector<int32_t> &tokens);
  size_t tokensBeforeAnswer(const std::vector<int32_t> &tokens);
  Outcome answer(std::string &reply);
  Outcome refuse(const std::string &why);
  int64_t context() const { return llmc_model_info(model_, LLMC_INFO_CONTEXT); }
  void reset();
  void printStats() const;

  llmc_model *model_;
  Session session_;
  const Options &options_;
  llmc_sampling sampling_ = {};
  std::vector<Message> messages_;
  std::vector<int32_t> ends_;       ///< what the template puts after an answer
  std::vector<int32_t> tokens_;     ///< in the session
  std::string text_;                ///< the same as text, special tokens written out
  bool isAhead_ = false;            ///< the session has tokens after the end of the last answer
  bool isRewriting_ = false;        ///< the template does not repeat answers as they were
  Session turn_;                    ///< if so, the session as it was before the last answer
  std::vector<int32_t> turnTokens_; ///< in it
  int64_t ingested_ = 0, made_ = 0; ///< by the last turn
  double ingestSeconds_ = 0, answerSeconds_ = 0;
};
