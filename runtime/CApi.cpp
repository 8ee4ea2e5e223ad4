// The C API over engine, sessions and tokenizer: handles, status codes, the thread's last error. No exception
// crosses it.
#include "runtime/Session.h"
#include "runtime/Tokenizer.h"
#include "runtime/include/llmc.h"
#include "runtime/template/Chat.h"
#include "runtime/tokenizer/Json.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <new>
#include <nlohmann/json.hpp>

using namespace llmc::runtime;

namespace {

struct Model {
  std::unique_ptr<Engine> engine;
  std::unique_ptr<SessionPool> sessions;
  llmc_sampling sampling = {0, 1, 0, 0, 0};
  std::once_flag tokenizerOnce;
  absl::Status tokenizerStatus;
  std::unique_ptr<Tokenizer> tokenizer;
};

thread_local std::string lastError;

/// Keeps the text for llmc_last_error; without memory for it a shorter one, which needs none.
llmc_status fail(llmc_status code, std::string_view text) noexcept {
  try {
    lastError = text;
  } catch (const std::bad_alloc &) {
    lastError = "out of memory";
  }
  return code;
}

llmc_status result(const absl::Status &status) {
  if (status.ok())
    return LLMC_OK;
  llmc_status code = LLMC_IO;
  switch (status.code()) {
  case absl::StatusCode::kInvalidArgument:
    code = LLMC_INVALID_ARGUMENT;
    break;
  case absl::StatusCode::kNotFound:
    code = LLMC_NOT_FOUND;
    break;
  case absl::StatusCode::kDataLoss:
    code = LLMC_BAD_ARTIFACT;
    break;
  case absl::StatusCode::kFailedPrecondition:
  case absl::StatusCode::kUnimplemented:
    code = LLMC_UNSUPPORTED;
    break;
  case absl::StatusCode::kResourceExhausted:
    code = LLMC_OUT_OF_MEMORY;
    break;
  case absl::StatusCode::kOutOfRange:
    code = LLMC_CONTEXT_FULL;
    break;
  case absl::StatusCode::kUnavailable:
    code = LLMC_BUSY;
    break;
  case absl::StatusCode::kInternal:
    code = LLMC_NOT_FINITE;
    break;
  case absl::StatusCode::kCancelled:
    code = LLMC_CANCELLED;
    break;
  default:
    break;
  }
  return fail(code, {status.message().data(), status.message().size()});
}

/// Runs `body`; the only exception that the library can meet is memory running out.
template <typename Body> llmc_status guarded(const Body &body) {
  try {
    return body();
  } catch (const std::bad_alloc &) {
    return fail(LLMC_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception &error) {
    return fail(LLMC_IO, error.what());
  }
}

llmc_status nullArgument() { return fail(LLMC_INVALID_ARGUMENT, "a pointer that must not be null is null"); }

void readGenerationConfig(Model &model) {
  for (const KeyValue &entry : model.engine->plan().metadata.entries) {
    if (entry.key != kGenerationConfigKey)
      continue;
    auto config = parseJson(entry.value, kGenerationConfigKey);
    if (!config.ok())
      return;
    DismantledJson dismantled(*config);
    if (!config->is_object())
      return;
    auto number = [&](const char *key, double otherwise, double low, double high) {
      auto found = config->find(key);
      if (found == config->end() || !found->is_number())
        return otherwise;
      return std::min(std::max(found->get<double>(), low), high);
    };
    auto doSample = config->find("do_sample");
    bool isSampling = doSample != config->end() && doSample->is_boolean() && doSample->get<bool>();
    model.sampling.temperature = isSampling ? static_cast<float>(number("temperature", 1, 0, 100)) : 0;
    model.sampling.top_p = static_cast<float>(number("top_p", 1, 1e-6, 1));
    model.sampling.min_p = static_cast<float>(number("min_p", 0, 0, 1));
    model.sampling.top_k = static_cast<int32_t>(number("top_k", 0, 0, 1 << 24));
  }
}

/// What the model predicts is its own business: its parameters leave that alone, whatever the base's
/// generation_config.json says.
void readPredicted(Model &model) {
  for (const KeyValue &entry : model.engine->plan().metadata.entries)
    if (entry.key == kPredictsKey) {
      if (entry.value.find("temperature") != std::string::npos || model.sampling.temperature == 0)
        model.sampling.temperature = 1; // greedy ignores what is predicted
      if (entry.value.find("top_p") != std::string::npos)
        model.sampling.top_p = 1;
    }
}

/// Where no generation_config.json says how to draw, and within what is possible at all.
void readTemperature(Model &model) {
  const Metadata &m = model.engine->plan().metadata;
  float &temperature = model.sampling.temperature;
  if (temperature == 0 && m.temperature >= 0)
    temperature = static_cast<float>(m.temperature);
  if (m.mostTemperature > 0)
    temperature = std::min(temperature, static_cast<float>(m.mostTemperature));
}

absl::Status loadTokenizer(Model &model) {
  // On first use: a model that is only given tokens need not read a vocabulary.
  std::call_once(model.tokenizerOnce, [&] {
    const Artifact &artifact = model.engine->artifact();
    const TokenizerPlan &plan = artifact.plan().tokenizer;
    std::string_view bytes;
    if (plan.kind != TokenizerKind::none) {
      model.tokenizerStatus = artifact.verifyBlob(plan.blob);
      if (!model.tokenizerStatus.ok())
        return;
      bytes = {reinterpret_cast<const char *>(artifact.blobData(plan.blob)),
               artifact.blobs()[plan.blob].bytes};
    }
    const char *file = plan.kind == TokenizerKind::tiktoken          ? ": tiktoken.model"
                       : plan.kind == TokenizerKind::huggingFaceJson ? ": tokenizer.json"
                                                                     : "";
    auto tokenizer = Tokenizer::create(plan, bytes, artifact.path() + file);
    if (tokenizer.ok())
      model.tokenizer = std::move(*tokenizer);
    else
      model.tokenizerStatus = tokenizer.status();
  });
  return model.tokenizerStatus;
}

Sampling samplingOf(const llmc_sampling &s) { return {s.temperature, s.top_p, s.min_p, s.top_k, s.seed}; }
llmc_sampling samplingOf(const Sampling &s) { return {s.temperature, s.topP, s.minP, s.topK, s.seed}; }

} // namespace

struct llmc_model {
  std::shared_ptr<Model> model;
};
struct llmc_session {
  std::shared_ptr<Model> model; ///< ends after the session
  std::unique_ptr<Session> session;
};
struct llmc_text_stream {
  std::shared_ptr<Model> model;
  TextStream stream;
  std::string text;
};

namespace {
/// The sessions of a batch; a fixed number on the stack, so that advance does not allocate.
constexpr int64_t kStackSessions = 64;
template <typename T> struct Batch {
  T local[kStackSessions];
  std::vector<T> large;
  T *reserve(int64_t count) {
    if (count <= kStackSessions)
      return local;
    large.resize(static_cast<size_t>(count));
    return large.data();
  }
};

bool areOfOneModel(llmc_session *const *sessions, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    if (!sessions[i] || sessions[i]->model != sessions[0]->model)
      return false;
  return true;
}

/// Makes a handle of the session that `make` gives for a pool.
template <typename Make>
llmc_status newSession(const std::shared_ptr<Model> &model, llmc_session **session, const Make &make) {
  *session = nullptr;
  auto handle = std::make_unique<llmc_session>(llmc_session{model, nullptr});
  absl::StatusOr<std::unique_ptr<Session>> made = make(*model->sessions);
  if (!made.ok())
    return result(made.status());
  handle->session = std::move(*made);
  *session = handle.release();
  return LLMC_OK;
}
} // namespace

const char *llmc_version(void) { return "0.1.0"; }
const char *llmc_last_error(void) { return lastError.c_str(); }

void llmc_model_options_init(llmc_model_options *options) {
  *options = {sizeof(llmc_model_options), 0, 0, 1, 0, nullptr};
}

llmc_status llmc_model_open(const char *path, const llmc_model_options *options, llmc_model **model) {
  return guarded([&]() -> llmc_status {
    if (!path || !model)
      return nullArgument();
    *model = nullptr;
    llmc_model_options given;
    llmc_model_options_init(&given);
    if (options) {
      if (options->struct_bytes != sizeof given)
        return fail(LLMC_INVALID_ARGUMENT,
                    "llmc_model_options were not made by llmc_model_options_init of this version");
      given = *options;
    }
    auto opened = std::make_shared<Model>();
    auto engine = Engine::open(path, {given.threads, given.context, given.slots, given.verify_weights != 0, given.libcuda ? given.libcuda : ""});
    if (!engine.ok())
      return result(engine.status());
    opened->engine = std::move(*engine);
    opened->sessions = std::make_unique<SessionPool>(*opened->engine);
    readGenerationConfig(*opened);
    readPredicted(*opened);
    readTemperature(*opened);
    *model = new llmc_model{std::move(opened)};
    return LLMC_OK;
  });
}

void llmc_model_close(llmc_model *model) { delete model; }

llmc_status llmc_profile_start(llmc_model *model) {
  return guarded([&]() -> llmc_status {
    if (!model)
      return nullArgument();
    model->model->engine->startProfile();
    return LLMC_OK;
  });
}

llmc_status llmc_profile_write(const llmc_model *model, const char *path, int table) {
  return guarded([&]() -> llmc_status {
    const Profile *profile = model ? model->model->engine->profile() : nullptr;
    if (!profile)
      return fail(LLMC_INVALID_ARGUMENT, "llmc_profile_write: no profile was started");
    const Plan &plan = model->model->engine->plan();
    if (table)
      profile->print(stderr, plan);
    return path ? result(profile->writeTrace(path, plan)) : LLMC_OK;
  });
}

int64_t llmc_model_info(const llmc_model *model, llmc_info info) {
  if (!model)
    return -1;
  const Engine &engine = *model->model->engine;
  const Metadata &m = engine.plan().metadata;
  switch (info) {
  case LLMC_INFO_VOCAB:
    return m.vocab;
  case LLMC_INFO_CONTEXT:
    return engine.context();
  case LLMC_INFO_MODEL_CONTEXT:
    return static_cast<int64_t>(m.context);
  case LLMC_INFO_SLOTS:
    return engine.slots();
  case LLMC_INFO_THREADS:
    return engine.threads();
  case LLMC_INFO_MAX_TOKENS:
    return m.maxTokens;
  case LLMC_INFO_MAX_SEQUENCES:
    return m.maxSequences;
  case LLMC_INFO_BOS:
    return m.bos;
  case LLMC_INFO_EOS_COUNT:
    return static_cast<int64_t>(m.eos.size());
  case LLMC_INFO_FILE_BYTES:
    return static_cast<int64_t>(engine.artifact().fileBytes());
  case LLMC_INFO_STATE_BYTES:
    return static_cast<int64_t>(engine.stateBytes());
  case LLMC_INFO_ARENA_BYTES:
    return static_cast<int64_t>(engine.arenaBytes());
  case LLMC_INFO_HAS_TOKENIZER:
    return engine.plan().tokenizer.kind != TokenizerKind::none;
  case LLMC_INFO_MOST_TOKENS:
    return model->model->sessions->mostTokens();
  case LLMC_INFO_PATCH:
    return m.patch;
  case LLMC_INFO_PIECE_TOKENS:
    return m.pieceTokens;
  case LLMC_INFO_LATENT:
    return model->model->sessions->latentColumns();
  }
  return -1;
}

const char *llmc_model_text(const llmc_model *model, const char *key) {
  if (!model || !key)
    return nullptr;
  const Engine &engine = *model->model->engine;
  const Metadata &m = engine.plan().metadata;
  if (!strcmp(key, "name"))
    return m.name.c_str();
  if (!strcmp(key, "family"))
    return m.family.c_str();
  if (!strcmp(key, "producer"))
    return m.producer.c_str();
  if (!strcmp(key, "code_level"))
    return engine.codeLevel().c_str();
  if (!strcmp(key, "chat_template") && !engine.plan().tokenizer.chatTemplate.empty())
    return engine.plan().tokenizer.chatTemplate.c_str();
  for (const KeyValue &entry : m.entries)
    if (entry.key == key)
      return entry.value.c_str();
  return nullptr;
}

int llmc_model_is_eos(const llmc_model *model, int32_t token) {
  if (!model || token < 0)
    return 0;
  const auto &eos = model->model->engine->plan().metadata.eos;
  return std::find(eos.begin(), eos.end(), static_cast<uint32_t>(token)) != eos.end();
}

void llmc_model_sampling(const llmc_model *model, llmc_sampling *sampling) {
  if (model && sampling)
    *sampling = model->model->sampling;
}

llmc_status llmc_session_create(llmc_model *model, llmc_session **session) {
  return guarded([&]() -> llmc_status {
    if (!model || !session)
      return nullArgument();
    return newSession(model->model, session,
                      [&](SessionPool &pool) { return pool.create(samplingOf(model->model->sampling)); });
  });
}

llmc_status llmc_session_fork(const llmc_session *session, llmc_session **fork) {
  return guarded([&]() -> llmc_status {
    if (!session || !fork)
      return nullArgument();
    return newSession(session->model, fork, [&](SessionPool &pool) { return pool.fork(*session->session); });
  });
}

llmc_status llmc_session_save(const llmc_session *session, const char *path) {
  return guarded([&]() -> llmc_status {
    if (!session || !path)
      return nullArgument();
    return result(session->model->sessions->save(*session->session, path));
  });
}

llmc_status llmc_session_restore(llmc_model *model, const char *path, llmc_session **session) {
  return guarded([&]() -> llmc_status {
    if (!model || !path || !session)
      return nullArgument();
    return newSession(model->model, session, [&](SessionPool &pool) { return pool.restore(path); });
  });
}

void llmc_session_cancel(llmc_session *session) {
  if (session)
    session->session->cancel();
}

void llmc_session_free(llmc_session *session) { delete session; }

llmc_status llmc_session_reset(llmc_session *session) {
  return guarded([&] {
    return session ? result(session->model->sessions->reset(session->session.get())) : nullArgument();
  });
}

int64_t llmc_session_tokens(const llmc_session *session) {
  return session ? static_cast<int64_t>(session->session->tokens().size()) : -1;
}

int64_t llmc_session_read_tokens(const llmc_session *session, int64_t first, int32_t *tokens,
                                 int64_t capacity) {
  if (!session || first < 0 || capacity < 0 || (!tokens && capacity))
    return -1;
  const std::vector<int32_t> &all = session->session->tokens();
  int64_t count = std::min(std::max<int64_t>(static_cast<int64_t>(all.size()) - first, 0), capacity);
  std::copy_n(all.data() + (count ? first : 0), count, tokens);
  return count;
}

void llmc_session_sampling(const llmc_session *session, llmc_sampling *sampling) {
  if (session && sampling)
    *sampling = samplingOf(session->session->sampling());
}

llmc_status llmc_ingest(llmc_session *session, const int32_t *tokens, int64_t count) {
  return llmc_ingest_batch(&session, &tokens, &count, 1);
}

llmc_status llmc_ingest_batch(llmc_session *const *sessions, const int32_t *const *tokens,
                              const int64_t *counts, int64_t sessions_count) {
  return guarded([&]() -> llmc_status {
    if (!sessions || !tokens || !counts || sessions_count < 1 || !areOfOneModel(sessions, sessions_count))
      return fail(LLMC_INVALID_ARGUMENT, "ingest needs one or more sessions, all of one model");
    Batch<Prompt> batch;
    Prompt *prompts = batch.reserve(sessions_count);
    for (int64_t i = 0; i < sessions_count; ++i) {
      if (!tokens[i] && counts[i] != 0)
        return nullArgument();
      prompts[i] = {sessions[i]->session.get(), tokens[i], counts[i]};
    }
    return result(sessions[0]->model->sessions->ingest(prompts, sessions_count));
  });
}

llmc_status llmc_flush(llmc_session *session) {
  return guarded([&] {
    Session *one = session ? session->session.get() : nullptr;
    return one ? result(session->model->sessions->flush(&one, 1)) : nullArgument();
  });
}

llmc_status llmc_advance(llmc_session *session, const llmc_sampling *sampling, int32_t *token) {
  return llmc_advance_batch(&session, sampling, 1, token);
}

llmc_status llmc_advance_batch(llmc_session *const *sessions, const llmc_sampling *sampling,
                               int64_t sessions_count, int32_t *tokens) {
  return guarded([&]() -> llmc_status {
    if (!sessions || !sampling || !tokens || sessions_count < 1 || !areOfOneModel(sessions, sessions_count))
      return fail(LLMC_INVALID_ARGUMENT, "advance needs one or more sessions, all of one model");
    Batch<Session *> batch;
    Batch<Sampling> parameters;
    Session **list = batch.reserve(sessions_count);
    Sampling *values = parameters.reserve(sessions_count);
    for (int64_t i = 0; i < sessions_count; ++i) {
      list[i] = sessions[i]->session.get();
      values[i] = samplingOf(sampling[i]);
    }
    return result(sessions[0]->model->sessions->advance(list, values, sessions_count, tokens));
  });
}

llmc_status llmc_begin(llmc_session *session, int64_t count) {
  return guarded([&]() -> llmc_status {
    if (!session)
      return nullArgument();
    return result(session->model->sessions->begin(session->session.get(), count));
  });
}

llmc_status llmc_set(llmc_session *session, const char *name, const char *value) {
  return guarded([&]() -> llmc_status {
    if (!session || !name || !value)
      return nullArgument();
    return result(session->model->sessions->set(session->session.get(), name, value));
  });
}

llmc_status llmc_fill(llmc_session *session, const llmc_sampling *sampling, int32_t *tokens, int64_t capacity, int64_t *count) {
  return llmc_fill_batch(&session, sampling, 1, tokens, capacity, count);
}

llmc_status llmc_fill_batch(llmc_session *const *sessions, const llmc_sampling *sampling, int64_t sessions_count,
                            int32_t *tokens, int64_t capacity, int64_t *counts) {
  return guarded([&]() -> llmc_status {
    if (!sessions || !sampling || !tokens || !counts || capacity < 1 || sessions_count < 1 ||
        !areOfOneModel(sessions, sessions_count))
      return fail(LLMC_INVALID_ARGUMENT, "fill needs one or more sessions, all of one model, and room for tokens");
    Batch<Session *> batch;
    Batch<Sampling> parameters;
    Batch<Emission> emissions;
    Session **list = batch.reserve(sessions_count);
    Sampling *values = parameters.reserve(sessions_count);
    Emission *made = emissions.reserve(sessions_count);
    for (int64_t i = 0; i < sessions_count; ++i) {
      list[i] = sessions[i]->session.get();
      values[i] = samplingOf(sampling[i]);
      made[i] = {tokens + i * capacity, capacity, 0};
    }
    absl::Status status = sessions[0]->model->sessions->fill(list, values, sessions_count, made);
    for (int64_t i = 0; i < sessions_count; ++i)
      counts[i] = made[i].count;
    return result(status);
  });
}

llmc_status llmc_session_decoding(const llmc_session *session, float *temperature, float *top_p) {
  return guarded([&]() -> llmc_status {
    if (!session || !temperature || !top_p)
      return nullArgument();
    Decoding decoding = session->session->decoding();
    if (std::isnan(decoding.temperature))
      return fail(LLMC_NOT_FOUND, session->model->engine->advance().decoding
                                      ? "no token was drawn in this session yet"
                                      : "this model does not predict its sampling parameters");
    *temperature = decoding.temperature;
    *top_p = decoding.topP;
    return LLMC_OK;
  });
}

llmc_status llmc_score(llmc_session *session, const int32_t *tokens, int64_t count, float *logits) {
  return guarded([&]() -> llmc_status {
    if (!session || (count != 0 && (!tokens || !logits)))
      return nullArgument();
    return result(session->model->sessions->score(session->session.get(), tokens, count, logits));
  });
}

llmc_status llmc_score_draws(llmc_session *session, const int32_t *tokens, int64_t count, int32_t *first, int32_t *second,
                             float *latents) {
  return guarded([&]() -> llmc_status {
    if (!session || (count != 0 && (!tokens || !first || !second)))
      return nullArgument();
    return result(session->model->sessions->scoreDraws(session->session.get(), tokens, count, {first, second, latents}));
  });
}

llmc_status llmc_seed(llmc_session *session, uint64_t seed) {
  if (!session)
    return nullArgument();
  session->session->setSeed(seed);
  return LLMC_OK;
}

llmc_status llmc_tokenize(llmc_model *model, const char *text, size_t bytes, int flags, int32_t *tokens,
                          size_t capacity, size_t *count) {
  return guarded([&]() -> llmc_status {
    if (!model || !count || (!text && bytes) || (!tokens && capacity))
      return nullArgument();
    if (absl::Status s = loadTokenizer(*model->model); !s.ok())
      return result(s);
    std::vector<int32_t> found;
    EncodeOptions options{(flags & LLMC_TOKENIZE_START) != 0, (flags & LLMC_TOKENIZE_SPECIAL) != 0};
    if (absl::Status s = model->model->tokenizer->encode({text ? text : "", bytes}, options, found); !s.ok())
      return result(s);
    *count = found.size();
    std::copy_n(found.begin(), std::min(capacity, found.size()), tokens);
    return LLMC_OK;
  });
}

llmc_status llmc_detokenize(llmc_model *model, const int32_t *tokens, size_t count, char *text,
                            size_t capacity, size_t *bytes) {
  return guarded([&]() -> llmc_status {
    if (!model || !bytes || (!tokens && count) || (!text && capacity))
      return nullArgument();
    if (absl::Status s = loadTokenizer(*model->model); !s.ok())
      return result(s);
    TextStream stream(*model->model->tokenizer);
    std::string all;
    for (size_t i = 0; i < count; ++i)
      stream.push(tokens[i], all);
    stream.finish(all);
    *bytes = all.size();
    std::copy_n(all.begin(), std::min(capacity, all.size()), text);
    return LLMC_OK;
  });
}

llmc_status llmc_token_bytes(llmc_model *model, int32_t token, const char **bytes, size_t *length) {
  return guarded([&]() -> llmc_status {
    if (!model || !bytes || !length)
      return nullArgument();
    if (absl::Status s = loadTokenizer(*model->model); !s.ok())
      return result(s);
    std::string_view found = model->model->tokenizer->bytes(token);
    *bytes = found.data();
    *length = found.size();
    return LLMC_OK;
  });
}

llmc_status llmc_chat_render(llmc_model *model, const llmc_chat_message *messages, size_t count, int ask,
                             const char *variables_json, char *text, size_t capacity, size_t *bytes) {
  return guarded([&]() -> llmc_status {
    if (!model || !bytes || (!messages && count) || (!text && capacity))
      return nullArgument();
    std::vector<ChatMessage> list;
    for (size_t i = 0; i < count; ++i) {
      if (!messages[i].role || !messages[i].content)
        return nullArgument();
      list.emplace_back(messages[i].role, messages[i].content);
    }
    const Engine &engine = *model->model->engine;
    auto rendered =
        renderChat(engine.plan(), engine.artifact().path(), list, ask != 0, variables_json ? variables_json : "");
    if (!rendered.ok())
      return result(rendered.status());
    *bytes = rendered->size();
    std::copy_n(rendered->begin(), std::min(capacity, rendered->size()), text);
    return LLMC_OK;
  });
}

llmc_status llmc_text_stream_create(llmc_model *model, llmc_text_stream **stream) {
  return guarded([&]() -> llmc_status {
    if (!model || !stream)
      return nullArgument();
    *stream = nullptr;
    if (absl::Status s = loadTokenizer(*model->model); !s.ok())
      return result(s);
    *stream = new llmc_text_stream{model->model, TextStream(*model->model->tokenizer), {}};
    return LLMC_OK;
  });
}

void llmc_text_stream_free(llmc_text_stream *stream) { delete stream; }

llmc_status llmc_text_stream_push(llmc_text_stream *stream, int32_t token, const char **text, size_t *bytes) {
  return guarded([&]() -> llmc_status {
    if (!stream || !text || !bytes)
      return nullArgument();
    stream->text.clear();
    stream->stream.push(token, stream->text);
    *text = stream->text.data();
    *bytes = stream->text.size();
    return LLMC_OK;
  });
}

llmc_status llmc_text_stream_finish(llmc_text_stream *stream, const char **text, size_t *bytes) {
  return guarded([&]() -> llmc_status {
    if (!stream || !text || !bytes)
      return nullArgument();
    stream->text.clear();
    stream->stream.finish(stream->text);
    *text = stream->text.data();
    *bytes = stream->text.size();
    return LLMC_OK;
  });
}
