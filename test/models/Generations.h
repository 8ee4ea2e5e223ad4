// generations.txt of test/golden: what independent loops made of prompts.
#pragma once
#include "llmc.h"
#include <cstdint>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace llmc::test {

/// A line: see test/golden/README.md.
struct Generation {
  std::vector<std::pair<std::string, std::string>> settings;
  std::vector<int32_t> prompt, tokens;
  llmc_sampling sampling{0, 1, 0, 0, 0};
};

inline std::vector<Generation> parseGenerations(const std::string &text) {
  std::vector<Generation> all;
  std::istringstream file(text);
  for (std::string line; std::getline(file, line);) {
    Generation g;
    std::istringstream parts(line);
    std::string settings, prompt, tokens, cost, sampling;
    for (std::string *part : {&settings, &prompt, &tokens, &cost, &sampling})
      std::getline(parts, *part, '|');
    std::istringstream(sampling) >> g.sampling.temperature >> g.sampling.seed; // absent: greedy
    std::istringstream words(settings);
    for (std::string word; words >> word;)
      g.settings.push_back({word.substr(0, word.find('=')), word.substr(word.find('=') + 1)});
    auto numbers = [](const std::string &list, std::vector<int32_t> &to) {
      std::istringstream in(list);
      for (std::string item; std::getline(in, item, ',');)
        to.push_back(std::stoi(item));
    };
    numbers(prompt, g.prompt);
    numbers(tokens, g.tokens);
    all.push_back(std::move(g));
  }
  return all;
}

} // namespace llmc::test
