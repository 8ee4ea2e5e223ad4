/* The C API as a C compiler sees it. */
#include "llmc.h"
#include <string.h>

int useFromC(const char *path);
int useFromC(const char *path) {
  llmc_model_options options;
  llmc_model *model = NULL;
  llmc_session *session = NULL;
  llmc_text_stream *stream = NULL;
  llmc_sampling sampling;
  int32_t tokens[8], token = -1;
  const char *text = NULL;
  size_t count = 0, bytes = 0;
  llmc_model_options_init(&options);
  options.threads = 1;
  if (llmc_model_open(path, &options, &model) != LLMC_OK)
    return 1;
  if (llmc_tokenize(model, "hello", 5, LLMC_TOKENIZE_START, tokens, 8, &count) != LLMC_OK || count != 4)
    return 2;
  if (llmc_session_create(model, &session) != LLMC_OK || llmc_ingest(session, tokens, (int64_t)count) != LLMC_OK)
    return 3;
  llmc_model_sampling(model, &sampling);
  if (sampling.temperature != 0 || llmc_advance(session, &sampling, &token) != LLMC_OK || token < 0)
    return 4;
  if (llmc_text_stream_create(model, &stream) != LLMC_OK || llmc_text_stream_push(stream, 95, &text, &bytes) != LLMC_OK)
    return 5;
  if (bytes != 2 || memcmp(text, "he", 2) != 0)
    return 6;
  llmc_text_stream_free(stream);
  llmc_session_free(session);
  llmc_model_close(model);
  return strlen(llmc_version()) > 0 ? 0 : 7;
}
