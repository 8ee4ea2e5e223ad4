// See Spans.h.
#include "codegen/Spans.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "mlir/IR/BuiltinAttributes.h"

using namespace mlir;
namespace llmc {

absl::StatusOr<std::vector<runtime::GridTerm>> parseSpanTerms(StringRef text, const std::vector<runtime::Setting> &settings) {
  using runtime::GridOp;
  static const llvm::StringMap<GridOp> kOps = {{"add", GridOp::add}, {"sub", GridOp::sub}, {"mul", GridOp::mul},
                                               {"div", GridOp::div}, {"min", GridOp::min}, {"max", GridOp::max}};
  static const llvm::StringMap<int64_t> kBounds = {{"known", 0}, {"end", 1}, {"start", 2}};
  std::vector<runtime::GridTerm> terms;
  SmallVector<StringRef> words;
  text.split(words, ' ', -1, /*KeepEmpty=*/false);
  for (StringRef word : words) {
    int64_t number;
    auto setting = llvm::find_if(settings, [&](const runtime::Setting &s) { return s.name == word; });
    if (auto op = kOps.find(word); op != kOps.end())
      terms.push_back({op->second, 0});
    else if (auto bound = kBounds.find(word); bound != kBounds.end())
      terms.push_back({GridOp::symbol, bound->second});
    else if (setting != settings.end())
      terms.push_back({GridOp::symbol, 4 + setting->column});
    else if (!word.getAsInteger(10, number))
      terms.push_back({GridOp::constant, number});
    else
      return absl::InvalidArgumentError("a span of rows has the unknown word '" + word.str() + "' in \"" + text.str() + "\"");
  }
  return terms;
}

std::vector<runtime::Setting> settingsOf(ModuleOp planned) {
  std::vector<runtime::Setting> settings;
  if (auto list = planned->getAttrOfType<ArrayAttr>("llm.settings"))
    for (auto entry : list.getAsRange<DictionaryAttr>()) {
      auto real = [&](StringRef key) { return entry.getAs<FloatAttr>(key).getValueAsDouble(); };
      runtime::Setting s{entry.getAs<StringAttr>("name").str(), (uint8_t)entry.getAs<IntegerAttr>("column").getInt(),
                         real("standard"), real("least"), real("most"), entry.getAs<BoolAttr>("is_whole").getValue(), {}};
      for (auto word : entry.getAs<ArrayAttr>("words").getAsValueRange<StringAttr>())
        s.words.push_back(word.str());
      settings.push_back(std::move(s));
    }
  return settings;
}

} // namespace llmc
