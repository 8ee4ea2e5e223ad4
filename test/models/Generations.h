// generations.txt of test/golden: what independent loops made of prompts (see test/golden/README.md).
#pragma once
#include <cstdint>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace llmc::test {

/// A line: settings, a prompt, the tokens that follow it.
struct Generation {
  std::vector<std::pair<std::string, std::string>> settings;
  std::vector<int32_t> prompt, tokens;
};

inline std::vector<Generation> parseGenerations(const std::string &text) {
  std::vector<Generation> all;
  std::istringstream file(text);
  for (std::string line; std::getline(file, line);) {
    Generation g;
    std::istringstream parts(line);
    std::string settings, prompt, tokens;
    std::getline(parts, settings, '|');
    std::getline(parts, prompt, '|');
    std::getline(parts, tokens, '|');
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
