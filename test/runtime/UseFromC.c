/* The C API as a C compiler sees it. */
#include "llmc.h"
#include <stdio.h>
#include <string.h>

int useFromC(const char *path);

/* Forks, saves, restores and cancels a session that has a token to go on from. All of them must say the same.
 */
static int useSessions(llmc_model *model, llmc_session *session, const char *path) {
  llmc_session *sessions[3] = {session, NULL, NULL};
  llmc_sampling sampling[3];
  char file[512];
  int32_t tokens[3], all[16];
  int64_t count = llmc_session_tokens(session);
  int i;
  snprintf(file, sizeof file, "%s.session", path);
  if (llmc_session_fork(session, &sessions[1]) != LLMC_OK || llmc_session_save(session, file) != LLMC_OK ||
      llmc_session_restore(model, file, &sessions[2]) != LLMC_OK)
    return 10;
  for (i = 0; i < 3; ++i)
    llmc_session_sampling(sessions[i], &sampling[i]);
  if (llmc_advance_batch(sessions, sampling, 3, tokens) != LLMC_OK || tokens[0] != tokens[1] ||
      tokens[0] != tokens[2])
    return 11;
  if (llmc_session_read_tokens(sessions[2], 0, all, 16) != count + 1 || all[count] != tokens[0])
    return 12;
  llmc_session_cancel(sessions[1]);
  if (llmc_advance_batch(sessions, sampling, 3, tokens) != LLMC_CANCELLED || tokens[1] != -1 ||
      tokens[0] != tokens[2])
    return 13;
  llmc_session_free(sessions[1]);
  llmc_session_free(sessions[2]);
  return remove(file) == 0 ? 0 : 14;
}

int useFromC(const char *path) {
  llmc_model_options options;
  llmc_model *model = NULL;
  llmc_session *session = NULL;
  llmc_text_stream *stream = NULL;
  llmc_sampling sampling;
  int32_t tokens[8], token = -1;
  const char *text = NULL;
  size_t count = 0, bytes = 0;
  int code;
  llmc_model_options_init(&options);
  options.threads = 1;
  options.slots = 3;
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
  code = useSessions(model, session, path);
  llmc_session_free(session);
  llmc_model_close(model);
  return strlen(llmc_version()) > 0 ? code : 7;
}
