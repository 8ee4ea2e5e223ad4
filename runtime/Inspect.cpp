// Tables from a verified plan.
#include "runtime/Inspect.h"
#include "runtime/Artifact.h"
#include "runtime/cpu/ElfImage.h"
#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstring>
#include <elf.h>
#include <map>
#include <set>

namespace llmc::runtime {
namespace {

std::string sizeText(uint64_t bytes) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  for (; value >= 1024 && unit < 4; ++unit)
    value /= 1024;
  char text[32];
  snprintf(text, sizeof text, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
  return text;
}

class Printer {
public:
  Printer(const Artifact &artifact, FILE *out) : artifact_(artifact), plan_(artifact.plan()), out_(out) {}

  void print() {
    printHead();
    printSettings();
    printPrograms();
    printKernels();
    printCode();
    printWeights();
    printStates();
    printTokenizer();
    printMemory();
  }

  void printResources() {
    for (const CodeObject &object : plan_.codeObjects) {
      if (object.launches.empty())
        continue;
      line("%s %s (%s)", object.target.c_str(), object.level.c_str(),
           kindOf(artifact_.blobData(object.blob), artifact_.blobs()[object.blob].bytes));
      line("  %-38s %8s %10s %8s %12s %12s", "kernel", "threads", "registers", "spills", "shared", "scratch");
      auto print = [&](const std::string &name, const KernelLaunch &launch) {
        std::string registers = launch.registers ? std::to_string(launch.registers) : "-";
        std::string spills = launch.registers ? std::to_string(launch.spillBytes) : "-";
        line("  %-38s %8u %10s %8s %12s %12s", name.c_str(), launch.threads, registers.c_str(), spills.c_str(),
             sizeText(launch.sharedBytes).c_str(), sizeText(launch.scratchBytes).c_str());
      };
      for (size_t k = 0; k < object.launches.size(); ++k)
        print(object.target == kLoopTestTarget ? object.launches[k].symbol : plan_.kernels[k].name, object.launches[k]);
      if (object.merged) {
        auto isIn = [](const KernelLaunch &launch) { return launch.merged >= 0; };
        print("merged, of " + std::to_string(std::count_if(object.launches.begin(), object.launches.end(), isIn)) + " kernels",
              *object.merged);
      }
    }
  }

private:
  __attribute__((format(printf, 2, 3))) void line(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(out_, format, arguments);
    va_end(arguments);
    fputc('\n', out_);
  }

  void printHead() {
    const Metadata &m = plan_.metadata;
    line("%s: llmc artifact, format version %u, %s", artifact_.path().c_str(), kFormatVersion,
         sizeText(artifact_.fileBytes()).c_str());
    line("  model        %s (%s), made by %s", m.name.c_str(), m.family.c_str(), m.producer.c_str());
    line("  vocabulary   %u tokens, context %" PRIu64 ", per call at most %u tokens of %u sequences", m.vocab,
         m.context, m.maxTokens, m.maxSequences);
    if (m.pieceTokens != Metadata().pieceTokens)
      line("  prompts      cut at multiples of %u tokens", m.pieceTokens);
    std::string eos;
    for (uint32_t token : m.eos)
      eos += (eos.empty() ? "" : ", ") + std::to_string(token);
    line("  bos %s, eos %s", m.bos < 0 ? "none" : std::to_string(m.bos).c_str(),
         eos.empty() ? "none" : eos.c_str());
    for (const KeyValue &entry : m.entries) {
      // What the checkpoint says about sampling is worth a long line, without its line feeds and indentation.
      const size_t most = entry.key == kGenerationConfigKey ? 400 : 60;
      std::string value;
      for (char c : entry.value)
        if (c != '\n' && (c != ' ' || (!value.empty() && value.back() != ' ')))
          value.push_back(c);
      line("  %-12s %s%s", entry.key.c_str(), value.substr(0, most).c_str(), value.size() > most ? "..." : "");
    }
  }

  /// How generation is steered, as flags of llmc-run.
  void printSettings() {
    const Metadata &m = plan_.metadata;
    if (m.patch)
      line("patches      %u tokens, completed with token %u", m.patch, m.filler);
    if (m.temperature >= 0 && m.mostTemperature > 0)
      line("temperature  %g, at most %g", m.temperature, m.mostTemperature);
    const std::vector<Setting> &settings = m.settings;
    if (settings.empty())
      return;
    line("\nsettings         default   possible");
    for (const Setting &s : settings) {
      std::string possible;
      for (const std::string &word : s.words)
        possible += (possible.empty() ? "" : ", ") + word;
      char range[64];
      snprintf(range, sizeof range, "%s from %g to %g", s.isWhole ? "whole numbers" : "numbers", s.least, s.most);
      char number[32];
      snprintf(number, sizeof number, "%g", s.standard);
      line("  --%-12s %8s   %s", s.name.c_str(),
           s.words.empty() ? number : s.words[static_cast<size_t>(s.standard)].c_str(),
           s.words.empty() ? range : possible.c_str());
    }
  }

  void printPrograms() {
    line("\nprograms       dispatches  kernels       arena   inputs -> outputs");
    for (const Program &program : plan_.programs) {
      std::set<uint32_t> kernels;
      for (const Step &step : program.steps)
        kernels.insert(std::get<Dispatch>(step).kernel);
      std::string ends;
      for (uint32_t id : program.inputs)
        ends += plan_.buffers[id].name + " ";
      ends += "->";
      for (uint32_t id : program.outputs)
        ends += " " + plan_.buffers[id].name;
      line("  %-12s %10zu  %7zu  %10s   %s", program.name.c_str(), program.steps.size(), kernels.size(),
           sizeText(program.arenaBytes).c_str(), ends.c_str());
    }
  }

  void printKernels() {
    std::vector<std::map<std::string, size_t>> uses(plan_.kernels.size());
    for (const Program &program : plan_.programs)
      for (const Step &step : program.steps)
        ++uses[std::get<Dispatch>(step).kernel][program.name];
    line("\nkernels (%zu)                             parameters  dispatches", plan_.kernels.size());
    for (size_t i = 0; i < plan_.kernels.size(); ++i) {
      std::string text;
      for (const auto &use : uses[i])
        text += (text.empty() ? "" : ", ") + use.first + " " + std::to_string(use.second);
      line("  %-38s %10zu  %s", plan_.kernels[i].name.c_str(), plan_.kernels[i].parameters.size(),
           text.empty() ? "none" : text.c_str());
    }
  }

  /// What a code object for a GPU is, by its first bytes.
  static const char *kindOf(const uint8_t *data, uint64_t bytes) {
    Elf64_Ehdr header;
    if (bytes < sizeof header || memcmp(data, ELFMAG, SELFMAG) != 0)
      return "PTX";
    memcpy(&header, data, sizeof header);
    return header.e_machine == EM_CUDA ? "cubin" : "simulator";
  }

  void printCode() {
    line("\ncode                                       file      mapped");
    for (const CodeObject &object : plan_.codeObjects) {
      std::string name = object.target + " " + object.level;
      for (const std::string &feature : object.features)
        name += "+" + feature;
      const BlobEntry &blob = artifact_.blobs()[object.blob];
      if (object.target != "cpu") {
        line("  %-34s %10s  %10s", name.c_str(), sizeText(blob.bytes).c_str(), kindOf(artifact_.blobData(object.blob), blob.bytes));
        continue;
      }
      auto image = ElfImage::load(artifact_.blobData(object.blob), blob.bytes, name);
      line("  %-34s %10s  %10s", name.c_str(), sizeText(blob.bytes).c_str(),
           image.ok() ? sizeText((*image)->mappedBytes()).c_str() : "not loadable here");
    }
  }

  void printWeights() {
    std::vector<std::pair<uint64_t, const Buffer *>> weights;
    uint64_t total = 0;
    std::map<ElementType, uint64_t> byType;
    for (const Buffer &b : plan_.buffers)
      if (b.kind == BufferKind::weight || b.kind == BufferKind::constant) {
        uint64_t bytes = *shapeBytes(b.shape, b.type, {});
        weights.push_back({bytes, &b});
        byType[b.type] += bytes;
        total += bytes;
      }
    std::string types;
    for (const auto &entry : byType)
      types +=
          std::string(types.empty() ? "" : ", ") + elementName(entry.first) + " " + sizeText(entry.second);
    line("\nweights: %zu buffers, %s%s%s%s", weights.size(), sizeText(total).c_str(),
         types.empty() ? "" : ": ", types.c_str(),
         artifact_.hasWeights() ? "" : " (not in this file: compiled with --no-weights)");
    // Buffers lie in one vector, so addresses are their order.
    std::sort(weights.begin(), weights.end(), [](const auto &a, const auto &b) {
      return a.first != b.first ? a.first > b.first : a.second < b.second;
    });
    for (size_t i = 0; i < weights.size() && i < 10; ++i)
      line("  %-40s %-5s %-28s %10s", weights[i].second->name.c_str(), elementName(weights[i].second->type),
           printShape(weights[i].second->shape).c_str(), sizeText(weights[i].first).c_str());
    if (weights.size() > 10)
      line("  and %zu smaller ones", weights.size() - 10);
  }

  uint64_t stateBytes(int64_t context) const {
    int64_t rounded = (context + kContextBlock - 1) / kContextBlock * kContextBlock;
    Dims dims = {0, 0, 1, rounded, rounded / kContextBlock};
    uint64_t total = 0;
    for (const Buffer &b : plan_.buffers)
      if (b.kind == BufferKind::state)
        total += shapeBytes(b.shape, b.type, dims).value_or(0);
    return total;
  }

  void printStates() {
    // Layers have equal states; one line for each form.
    std::map<std::string, std::pair<size_t, std::string>> forms;
    size_t count = 0;
    for (const Buffer &b : plan_.buffers)
      if (b.kind == BufferKind::state) {
        ++count;
        auto &form = forms[std::string(elementName(b.type)) + " " + printShape(b.shape)];
        if (form.first++ == 0)
          form.second = b.name;
      }
    line("\nstates: %zu buffers", count);
    for (const auto &form : forms)
      line("  %4zu x %-44s first: %s", form.second.first, form.first.c_str(), form.second.second.c_str());
    if (count == 0)
      return;
    int64_t most = static_cast<int64_t>(plan_.metadata.context);
    uint64_t fixed = stateBytes(0), perToken = (stateBytes(kContextBlock) - fixed) / kContextBlock;
    line("  per session: %s + %s per token of context", sizeText(fixed).c_str(), sizeText(perToken).c_str());
    for (int64_t context = 1024; context < most; context *= 4)
      line("    context %8" PRId64 " %12s", context, sizeText(stateBytes(context)).c_str());
    line("    context %8" PRId64 " %12s", most, sizeText(stateBytes(most)).c_str());
  }

  void printTokenizer() {
    const TokenizerPlan &t = plan_.tokenizer;
    if (t.kind == TokenizerKind::none)
      line("\ntokenizer: none");
    else
      line("\ntokenizer: %s, %s, %zu special tokens in the plan, chat template %s",
           t.kind == TokenizerKind::tiktoken ? "tiktoken" : "tokenizer.json",
           sizeText(artifact_.blobs()[t.blob].bytes).c_str(), t.specialTokens.size(),
           t.chatTemplate.empty() ? "none" : sizeText(t.chatTemplate.size()).c_str());
  }

  void printMemory() {
    std::set<uint32_t> code, weights;
    for (const CodeObject &object : plan_.codeObjects)
      code.insert(object.blob);
    for (const Buffer &b : plan_.buffers)
      if (b.kind == BufferKind::weight || b.kind == BufferKind::constant)
        weights.insert(b.blob);
    uint64_t codeBytes = 0, weightBytes = 0, storedBytes = 0, otherBytes = 0, textBytes = 0, arena = 0,
             outputs = 0;
    for (uint32_t i = 0; i < artifact_.blobs().size(); ++i) {
      const BlobEntry &blob = artifact_.blobs()[i];
      (code.count(i) ? codeBytes : weights.count(i) ? weightBytes : otherBytes) += blob.bytes;
      if (weights.count(i) && !blob.isAbsent())
        storedBytes += blob.bytes;
    }
    if (plan_.modelBlob && !code.count(*plan_.modelBlob) && !weights.count(*plan_.modelBlob))
      textBytes = artifact_.blobs()[*plan_.modelBlob].bytes;
    for (const Program &program : plan_.programs)
      arena = std::max(arena, program.arenaBytes);
    Dims dims = {plan_.metadata.maxTokens, plan_.metadata.maxSequences, 0, 0, 0};
    for (const Buffer &b : plan_.buffers)
      if (b.kind == BufferKind::output)
        outputs += *shapeBytes(b.shape, b.type, dims);
    line("\nfile: plan %s, code %s, weights %s, tokenizer %s, model text %s, padding %s",
         sizeText(artifact_.planBytes()).c_str(), sizeText(codeBytes).c_str(), sizeText(storedBytes).c_str(),
         sizeText(otherBytes - textBytes).c_str(), sizeText(textBytes).c_str(),
         sizeText(artifact_.fileBytes() - artifact_.planBytes() - codeBytes - storedBytes - otherBytes)
             .c_str());
    line("memory: weights mapped %s; arena %s, outputs %s at most; states as above for each session",
         sizeText(weightBytes).c_str(), sizeText(arena).c_str(), sizeText(outputs).c_str());
  }

  const Artifact &artifact_;
  const Plan &plan_;
  FILE *out_;
};

} // namespace

absl::Status inspect(const std::string &path, FILE *out) {
  auto artifact = Artifact::open(path);
  if (!artifact.ok())
    return artifact.status();
  Printer(**artifact, out).print();
  return absl::OkStatus();
}

absl::Status inspectResources(const std::string &path, FILE *out) {
  auto artifact = Artifact::open(path);
  if (!artifact.ok())
    return artifact.status();
  const auto &objects = (*artifact)->plan().codeObjects;
  if (std::all_of(objects.begin(), objects.end(), [](const CodeObject &o) { return o.launches.empty(); }))
    return absl::InvalidArgumentError(path + ": has no code for a GPU; compile the model with --target=cuda");
  Printer(**artifact, out).printResources();
  return absl::OkStatus();
}

} // namespace llmc::runtime
