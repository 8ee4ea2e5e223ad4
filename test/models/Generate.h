// Whole generations of models that make several tokens a call: how those of test/golden are made again, alone and in batches.
#pragma once
#include "test/models/Cases.h"
#include "test/models/Generations.h"

using llmc::test::Generation;

inline std::vector<Generation> generationsOf(const std::string &name) {
  return llmc::test::parseGenerations(readFile(kGolden + name + "/generations.txt"));
}

inline void prepare(Session &session, const Generation &g) {
  for (const auto &[name, value] : g.settings)
    ASSERT_EQ(llmc_set(session.session, name.c_str(), value.c_str()), LLMC_OK) << llmc_last_error();
  session.ingest(g.prompt);
  ASSERT_EQ(llmc_begin(session.session, g.tokens.size()), LLMC_OK) << llmc_last_error();
}

inline std::vector<int32_t> generate(const Model &model, const Generation &g, const llmc_sampling &sampling = {0, 1, 0, 0, 0}) {
  Session session(model);
  prepare(session, g);
  std::vector<int32_t> made, block(llmc_model_info(model.model, LLMC_INFO_MOST_TOKENS));
  while (made.size() < g.tokens.size()) {
    int64_t count = 0;
    if (llmc_fill(session.session, &sampling, block.data(), block.size(), &count) != LLMC_OK || count == 0) {
      ADD_FAILURE() << llmc_last_error();
      break;
    }
    made.insert(made.end(), block.begin(), block.begin() + count);
  }
  made.resize(g.tokens.size());
  return made;
}

/// The first generations in one batch, each with its sampling parameters, against each alone. `model` has a slot for each.
inline void expectBatchesEqualEachAlone(const Model &model, const std::vector<Generation> &generations,
                                        const std::vector<llmc_sampling> &sampling) {
  const size_t count = sampling.size();
  const int64_t most = llmc_model_info(model.model, LLMC_INFO_MOST_TOKENS);
  std::vector<std::vector<int32_t>> alone, together(count);
  for (size_t i = 0; i < count; ++i)
    alone.push_back(generate(model, generations[i], sampling[i]));
  std::vector<std::unique_ptr<Session>> sessions;
  for (size_t i = 0; i < count; ++i) {
    sessions.push_back(std::make_unique<Session>(model));
    prepare(*sessions.back(), generations[i]);
  }
  for (bool isOpen = true; isOpen;) {
    std::vector<llmc_session *> list;
    std::vector<llmc_sampling> parameters;
    std::vector<size_t> which;
    for (size_t i = 0; i < count; ++i)
      if (together[i].size() < alone[i].size()) {
        list.push_back(sessions[i]->session);
        parameters.push_back(sampling[i]);
        which.push_back(i);
      }
    isOpen = !list.empty();
    if (!isOpen)
      break;
    std::vector<int32_t> tokens(list.size() * most);
    std::vector<int64_t> counts(list.size());
    ASSERT_EQ(llmc_fill_batch(list.data(), parameters.data(), list.size(), tokens.data(), most, counts.data()), LLMC_OK)
        << llmc_last_error();
    for (size_t k = 0; k < list.size(); ++k)
      together[which[k]].insert(together[which[k]].end(), &tokens[k * most], &tokens[k * most] + counts[k]);
  }
  for (size_t i = 0; i < count; ++i) {
    together[i].resize(alone[i].size());
    EXPECT_EQ(together[i], alone[i]) << i;
  }
}
