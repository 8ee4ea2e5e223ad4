/* The C API of the llmc runtime: open an artifact, tokenize, generate.
 *
 * Threads: different models are independent. Of one model,
 *   - calls that change or copy sessions (create, fork, restore, save, reset, ingest, flush, advance, score) and the profile
 *     must not overlap in time, whichever threads make them: an overlapping one is refused with LLMC_BUSY and changes nothing;
 *   - llmc_session_cancel may come from any thread at any time while the session is not freed;
 *   - llmc_session_free may come from any thread while no call that was given this session runs, others may run;
 *   - reading a session (tokens, read_tokens, sampling) must not overlap calls that were given it;
 *   - queries of metadata, tokenizing and detokenizing may run at any time, and a text stream in one thread at a time.
 * Errors: functions return an llmc_status; llmc_last_error() is the text of the calling thread's last failure.
 * Lifetimes: a model lives until it and all its sessions and text streams are freed, in any order.
 * Trust: an artifact holds machine code and weights. Damaged files are found; open only files from people you trust. */
#ifndef LLMC_H
#define LLMC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LLMC_API __attribute__((visibility("default")))

typedef enum llmc_status {
  LLMC_OK = 0,
  LLMC_INVALID_ARGUMENT = 1, /* the caller's values */
  LLMC_NOT_FOUND = 2,        /* no such file, tokenizer or entry */
  LLMC_BAD_ARTIFACT = 3,     /* damaged or truncated file, an artifact or a saved session */
  LLMC_UNSUPPORTED = 4,      /* other version, CPU, GPU or driver, a program that the artifact lacks, a session of another artifact */
  LLMC_OUT_OF_MEMORY = 5,    /* memory or session slots */
  LLMC_CONTEXT_FULL = 6,
  LLMC_BUSY = 7,
  LLMC_NOT_FINITE = 8,       /* the model produced NaN or infinity */
  LLMC_IO = 9,
  LLMC_CANCELLED = 10        /* the session was cancelled */
} llmc_status;

typedef struct llmc_model llmc_model;
typedef struct llmc_session llmc_session;
typedef struct llmc_text_stream llmc_text_stream;

/* Initialise with llmc_model_options_init, which sets every field to its default. */
typedef struct llmc_model_options {
  uint32_t struct_bytes;
  int32_t threads;        /* 0: one per core that this process may use */
  int64_t context;        /* tokens per session, 0: the model's, at most 4096; rounded up to a multiple of 32 */
  int32_t slots;          /* sessions at once, default 1 */
  int32_t verify_weights; /* not 0: read the whole file once and compare all checksums */
  const char *libcuda;    /* the CUDA driver's library for an artifact with CUDA code; null: libcuda.so.1 */
} llmc_model_options;

/* How the next token is drawn. temperature 0 takes the likeliest token and ignores the rest. For models that predict
 * temperature or top_p themselves (llmc_model_text(model, "predicts") names which) these multiply what is predicted, so 1
 * leaves it as it is. */
typedef struct llmc_sampling {
  float temperature;
  float top_p;   /* above 0 to 1 */
  float min_p;   /* 0 to 1 */
  int32_t top_k; /* 0: all */
  uint64_t seed; /* equal seeds and prompts give equal texts */
} llmc_sampling;

LLMC_API const char *llmc_version(void);
/* Text of the calling thread's last error, "" before the first. Valid until its next call. */
LLMC_API const char *llmc_last_error(void);

LLMC_API void llmc_model_options_init(llmc_model_options *options);
/* options may be NULL. */
LLMC_API llmc_status llmc_model_open(const char *path, const llmc_model_options *options, llmc_model **model);
LLMC_API void llmc_model_close(llmc_model *model);

/* Records the time of every dispatch from now on (costs a little time itself). */
LLMC_API llmc_status llmc_profile_start(llmc_model *model);
/* Writes what was recorded as a Chrome/Perfetto trace (path may be NULL), and a table by kernel to standard error if `table` is not 0. */
LLMC_API llmc_status llmc_profile_write(const llmc_model *model, const char *path, int table);

/* Numbers about a model. */
typedef enum llmc_info {
  LLMC_INFO_VOCAB = 0,         /* columns of logits */
  LLMC_INFO_CONTEXT = 1,       /* tokens per session, as opened */
  LLMC_INFO_MODEL_CONTEXT = 2, /* tokens the model was made for */
  LLMC_INFO_SLOTS = 3,
  LLMC_INFO_THREADS = 4,
  LLMC_INFO_MAX_TOKENS = 5,    /* rows in one call */
  LLMC_INFO_MAX_SEQUENCES = 6,
  LLMC_INFO_BOS = 7,           /* -1: none */
  LLMC_INFO_EOS_COUNT = 8,
  LLMC_INFO_FILE_BYTES = 9,
  LLMC_INFO_STATE_BYTES = 10,  /* of all slots */
  LLMC_INFO_ARENA_BYTES = 11,
  LLMC_INFO_HAS_TOKENIZER = 12,
  LLMC_INFO_MOST_TOKENS = 13,  /* most tokens that one llmc_fill gives: 1, or more for models that make several at once */
  LLMC_INFO_PATCH = 14,        /* tokens of a patch, of models that work on patches; 0 for others */
  LLMC_INFO_LATENT = 15,       /* numbers from which a patch is decoded, of models that have no logits; 0 for others */
  LLMC_INFO_PIECE_TOKENS = 16  /* a text that llmc_score gets in parts gives the bits of the whole if they end at multiples of this */
} llmc_info;
LLMC_API int64_t llmc_model_info(const llmc_model *model, llmc_info info);
/* "name", "family", "producer", "code_level", "chat_template" or a key of the artifact's metadata; NULL when there is none. */
LLMC_API const char *llmc_model_text(const llmc_model *model, const char *key);
/* Whether a token ends generation. */
LLMC_API int llmc_model_is_eos(const llmc_model *model, int32_t token);
/* The model's own sampling parameters (generation_config.json), seed 0; greedy when it has none. 1 for what it predicts. */
LLMC_API void llmc_model_sampling(const llmc_model *model, llmc_sampling *sampling);

/* A sequence of tokens with its state; takes one of the model's slots. */
LLMC_API llmc_status llmc_session_create(llmc_model *model, llmc_session **session);
LLMC_API void llmc_session_free(llmc_session *session);
/* A second session that goes on from where the first is: equal calls give equal results in both, bit for bit. */
LLMC_API llmc_status llmc_session_fork(const llmc_session *session, llmc_session **fork);
/* Writes a session to a file (under a temporary name, then renamed), and reads it back as a new session that goes on bit for bit.
 * It can be restored with the same artifact on a CPU or GPU of the same code level; context and slots may differ. */
LLMC_API llmc_status llmc_session_save(const llmc_session *session, const char *path);
LLMC_API llmc_status llmc_session_restore(llmc_model *model, const char *path, llmc_session **session);
/* Stops a session: its slot is free for another one as soon as no call runs. A running call goes on with its other sessions and
 * leaves this one out from its next step on. Such a call, and every later one with the session, returns LLMC_CANCELLED. Free it all the same. */
LLMC_API void llmc_session_cancel(llmc_session *session);
/* Forgets all tokens. */
LLMC_API llmc_status llmc_session_reset(llmc_session *session);
/* Tokens so far. */
LLMC_API int64_t llmc_session_tokens(const llmc_session *session);
/* Copies at most `capacity` of them from number `first` on and returns how many; -1 for wrong arguments. */
LLMC_API int64_t llmc_session_read_tokens(const llmc_session *session, int64_t first, int32_t *tokens, int64_t capacity);
/* The parameters of the session's last advance, saved and forked with it; before the first one the model's own. */
LLMC_API void llmc_session_sampling(const llmc_session *session, llmc_sampling *sampling);

/* Appends tokens. Work may be deferred to the next call: how a prompt is cut into calls never changes results. */
LLMC_API llmc_status llmc_ingest(llmc_session *session, const int32_t *tokens, int64_t count);
/* Appends tokens to several sessions of one model in one batch. */
LLMC_API llmc_status llmc_ingest_batch(llmc_session *const *sessions, const int32_t *const *tokens, const int64_t *counts,
                                       int64_t sessions_count);
/* Runs what llmc_ingest deferred, all but the last token. Cutting a prompt around a flush may change roundings. */
LLMC_API llmc_status llmc_flush(llmc_session *session);
/* Draws the next token and appends it. */
LLMC_API llmc_status llmc_advance(llmc_session *session, const llmc_sampling *sampling, int32_t *token);
/* The same for several sessions of one model in one batch; results equal those of separate calls bit for bit. With
 * LLMC_NOT_FINITE and LLMC_CANCELLED the tokens of the sessions concerned are -1, the others have advanced. */
LLMC_API llmc_status llmc_advance_batch(llmc_session *const *sessions, const llmc_sampling *sampling, int64_t sessions_count,
                                        int32_t *tokens);
/* Says how many tokens are to come from here on. Models that fill masks need to know, others ignore it. */
LLMC_API llmc_status llmc_begin(llmc_session *session, int64_t count);
/* A parameter of generation that the artifact declares (llmc inspect lists them), as a number or word: "steps", "32". Stays until the
 * session is freed. */
LLMC_API llmc_status llmc_set(llmc_session *session, const char *name, const char *value);
/* The next tokens, as many as the model makes at once, at most LLMC_INFO_MOST_TOKENS; for every model. They are final. */
LLMC_API llmc_status llmc_fill(llmc_session *session, const llmc_sampling *sampling, int32_t *tokens, int64_t capacity,
                               int64_t *count);
/* The same for several sessions of one model in one batch: session i gets counts[i] tokens at tokens + i * capacity. */
LLMC_API llmc_status llmc_fill_batch(llmc_session *const *sessions, const llmc_sampling *sampling, int64_t sessions_count,
                                     int32_t *tokens, int64_t capacity, int64_t *counts);
/* What the session's last token was drawn with, of a model that predicts it; otherwise LLMC_NOT_FOUND. */
LLMC_API llmc_status llmc_session_decoding(const llmc_session *session, float *temperature, float *top_p);
/* Appends tokens and gives the logits after each: count rows of vocab floats. No token is left to advance from. */
LLMC_API llmc_status llmc_score(llmc_session *session, const int32_t *tokens, int64_t count, float *logits);
/* For models without logits (LLMC_INFO_LATENT above 0), whole patches only: appends tokens and gives two independent draws, at temperature 1
 * and by the session's seed, of the token one patch after each of them; latents (may be NULL): count / patch rows, what the first draws were
 * decoded from. */
LLMC_API llmc_status llmc_score_draws(llmc_session *session, const int32_t *tokens, int64_t count, int32_t *first, int32_t *second,
                                      float *latents);
/* The seed of draws that no llmc_sampling comes with. */
LLMC_API llmc_status llmc_seed(llmc_session *session, uint64_t seed);

enum {
  LLMC_TOKENIZE_START = 1,  /* text starts a sequence: add BOS where the tokenizer does */
  LLMC_TOKENIZE_SPECIAL = 2 /* recognise special tokens written in the text; leave out for text of strangers */
};
/* Writes at most `capacity` tokens; *count is how many there are in all. */
LLMC_API llmc_status llmc_tokenize(llmc_model *model, const char *text, size_t bytes, int flags, int32_t *tokens, size_t capacity,
                                   size_t *count);
/* Writes at most `capacity` bytes of text without special tokens, unterminated; *bytes is how many there are in all. */
LLMC_API llmc_status llmc_detokenize(llmc_model *model, const int32_t *tokens, size_t count, char *text, size_t capacity,
                                     size_t *bytes);
/* The raw bytes of one token, valid as long as the model; length 0 for ids that are no token. */
LLMC_API llmc_status llmc_token_bytes(llmc_model *model, int32_t token, const char **bytes, size_t *length);

/* A message of a conversation, UTF-8: who speaks ("system", "user", "assistant") and what. */
typedef struct llmc_chat_message {
  const char *role, *content;
} llmc_chat_message;
/* The text of a conversation by the model's own chat template; tokenize it with LLMC_TOKENIZE_SPECIAL, without _START. With
 * `ask` not 0 it ends where the assistant's answer begins. variables_json may be NULL or hold more variables for the template as
 * a JSON object, e.g. {"enable_thinking": false}. Writes at most `capacity` bytes; *bytes is how many there are in all.
 * LLMC_NOT_FOUND: no template; LLMC_UNSUPPORTED: it has a construct that is not supported. */
LLMC_API llmc_status llmc_chat_render(llmc_model *model, const llmc_chat_message *messages, size_t count, int ask,
                                      const char *variables_json, char *text, size_t capacity, size_t *bytes);

/* Text as tokens come: only whole characters, the rest is held back until it is whole. */
LLMC_API llmc_status llmc_text_stream_create(llmc_model *model, llmc_text_stream **stream);
LLMC_API void llmc_text_stream_free(llmc_text_stream *stream);
/* *text has *bytes bytes (possibly 0) and is valid until the stream's next call. */
LLMC_API llmc_status llmc_text_stream_push(llmc_text_stream *stream, int32_t token, const char **text, size_t *bytes);
LLMC_API llmc_status llmc_text_stream_finish(llmc_text_stream *stream, const char **text, size_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
