// Makes arguments and weights.
#include "tools/llmc-reference/Arguments.h"
#include "codegen/Spans.h"
#include "dialect/llm/LlmDialect.h"
#include "dialect/plan/Extent.h"
#include "dialect/reference/Handlers.h"
#include <cmath>

using namespace mlir;
namespace llmc::reference {

/// SplitMix64: the same numbers on every machine.
class Random {
public:
  explicit Random(uint64_t seed, StringRef name = "") : state(seed * 0x9E3779B97F4A7C15ull) {
    uint64_t hash = 0xCBF29CE484222325ull; // FNV-1a
    for (unsigned char c : name)
      hash = (hash ^ c) * 0x100000001B3ull;
    state ^= hash;
  }
  uint64_t bits() {
    uint64_t z = state += 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  /// In (0, 1).
  double uniform() { return ((double)(bits() >> 12) + 0.5) * 0x1p-52; }
  double normal() { return std::sqrt(-2 * std::log(uniform())) * std::cos(6.283185307179586 * uniform()); }
  int64_t below(int64_t n) { return (int64_t)(bits() % (uint64_t)n); }

private:
  uint64_t state;
};

WeightProvider makeWeights(uint64_t seed) {
  return [seed](StringRef name, ArrayRef<int64_t> shape, Type elementType) -> FailureOr<Tensor> {
    auto element = elementOf(elementType);
    if (!element)
      return failure();
    Tensor t(*element, shape);
    Random random(seed, name);
    bool isVector = llvm::count_if(shape, [](int64_t d) { return d != 1; }) <= 1;
    for (int64_t i = 0; i < t.size(); ++i)
      t.real(i) = roundTo(*element, isVector ? 1 + 0.1 * random.normal()
                                             : random.normal() / std::sqrt((double)shape.back()));
    return t;
  };
}

Tensor tensorOf(DenseElementsAttr dense, Element element) {
  Tensor t(element, dense.getType().getShape());
  int64_t i = 0;
  if (isa<FloatType>(dense.getElementType()))
    for (const APFloat &each : dense.getValues<APFloat>()) {
      APFloat v = each;
      bool loses;
      v.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &loses);
      t.real(i++) = v.convertToDouble();
    }
  else
    for (const APInt &v : dense.getValues<APInt>())
      t.integer(i++) = wrapTo(element, v.getSExtValue());
  return t;
}

/// The call that arguments are made for: its table of sequences and the sizes of all symbols.
struct Call {
  Tensor where, rows;
  llvm::StringMap<int64_t> symbols;
  llvm::DenseMap<unsigned, Tensor> tables;   ///< of arguments that have rows of their own (llm.span)
  std::vector<runtime::SpanValues> sessions; ///< what those come from
};

/// Sequences of uneven lengths, in slots of another order than their rows.
static Tensor unevenRows(const CallSizes &sizes) {
  int64_t count = sizes.sequences, spare = sizes.tokens - count, next = 0;
  Tensor rows(Element::I32, {count, 4});
  for (int64_t s = 0; s < count; ++s) {
    int64_t length = s + 1 == count ? sizes.tokens - next : 1 + spare * 2 * (s + 1) / (count * (count + 1));
    int64_t numbers[4] = {count - s, next, length, s < (int64_t)sizes.past.size() ? sizes.past[s] : 0};
    for (int64_t i = 0; i < 4; ++i)
      rows.intAt(s, i) = numbers[i];
    next += length;
  }
  return rows;
}

Tensor positionsOf(const Tensor &rows) {
  int64_t tokens = 0, count = rows.dim(0);
  for (int64_t s = 0; s < count; ++s)
    tokens = std::max(tokens, rows.intAt(s, 1) + rows.intAt(s, 2));
  Tensor where(Element::I32, {tokens, 2});
  for (int64_t s = 0; s < count; ++s)
    for (int64_t i = 0; i < rows.intAt(s, 2); ++i) {
      where.intAt(rows.intAt(s, 1) + i, 0) = s;
      where.intAt(rows.intAt(s, 1) + i, 1) = rows.intAt(s, 3) + i;
    }
  return where;
}

/// A number for the setting in sequence `s`: the standard one, but where that is 0 (off) every other sequence, from the first, has 1 if possible.
static double settingOf(const runtime::Setting &setting, int64_t s) {
  const double most = setting.words.empty() ? setting.most : (double)setting.words.size() - 1;
  return s % 2 || setting.standard != 0 ? setting.standard : std::min(std::max(setting.least, 1.0), most);
}

/// Makes the tables of arguments that have rows of their own, as an engine would: for sessions that know as many tokens as `rows` has behind
/// each sequence, or the next number of whole patches with which every table has the rows that it must have, and end as many later as it has
/// rows. `rows` becomes the first table.
static LogicalResult makeTables(func::FuncOp f, Tensor &rows, Call &call) {
  auto module = f->getParentOfType<ModuleOp>();
  const std::vector<runtime::Setting> settings = settingsOf(module);
  auto patch = module->getAttrOfType<DenseI64ArrayAttr>("llm.patch");
  const int64_t unit = patch ? patch[0] : 1, count = rows.dim(0);
  SmallVector<unsigned> arguments;
  SmallVector<std::array<std::vector<runtime::GridTerm>, 2>> spans;
  for (unsigned i = 0; i < f.getNumArguments(); ++i)
    if (auto span = f.getArgAttrOfType<ArrayAttr>(i, "llm.span")) {
      arguments.push_back(i);
      spans.emplace_back();
      for (size_t k = 0; k < 2; ++k) {
        auto terms = parseSpanTerms(cast<StringAttr>(span[k]).getValue(), settings);
        if (!terms.ok())
          return f.emitError("argument ") << i << ": " << std::string(terms.status().message());
        spans.back()[k] = std::move(*terms);
      }
    }
  if (arguments.empty())
    return success();
  for (unsigned i : arguments)
    call.tables[i] = Tensor(Element::I32, {count, 4});
  std::vector<int64_t> next(arguments.size());
  for (int64_t s = 0; s < count; ++s) {
    const int64_t length = (rows.intAt(s, 2) + unit - 1) / unit * unit;
    runtime::SpanValues values = {(rows.intAt(s, 3) + unit - 1) / unit * unit};
    for (const runtime::Setting &setting : settings)
      values[4 + setting.column] = (int64_t)std::ceil(settingOf(setting, s));
    std::vector<std::pair<int64_t, int64_t>> reaches;
    constexpr int kTries = 64;
    for (int tries = 0; tries < kTries && reaches.size() < spans.size(); ++tries, values[0] += unit) {
      values[1] = values[0] + length;
      values[2] = values[0];
      reaches.clear();
      for (auto [k, span] : llvm::enumerate(spans)) {
        auto from = runtime::evaluateGrid(span[0], values.data()), to = runtime::evaluateGrid(span[1], values.data());
        if (!from || !to || *from < 0 || *to < *from + (k < runtime::kExtraSpan))
          break;
        reaches.push_back({*from, *to});
      }
      if (reaches.size() == spans.size())
        break;
    }
    if (reaches.size() < spans.size())
      return f.emitError("argument ") << arguments[reaches.size()] << ": no session has rows in its span";
    call.sessions.push_back(values);
    for (auto [k, reach] : llvm::enumerate(reaches)) {
      const int64_t numbers[4] = {rows.intAt(s, 0), next[k], reach.second - reach.first, reach.first};
      for (int64_t i = 0; i < 4; ++i)
        call.tables[arguments[k]].intAt(s, i) = numbers[i];
      next[k] += numbers[2];
    }
  }
  rows = call.tables[arguments.front()];
  return success();
}

static FailureOr<Call> makeCall(func::FuncOp f, Tensor rows, int64_t context) {
  Call call;
  if (failed(makeTables(f, rows, call)))
    return failure();
  int64_t slots = 1, reach = 1, count = rows.dim(0);
  auto take = [&](const Tensor &table) {
    for (int64_t s = 0; s < count; ++s) {
      slots = std::max(slots, table.intAt(s, 0) + 1);
      reach = std::max(reach, table.intAt(s, 2) + table.intAt(s, 3));
    }
  };
  take(rows);
  for (auto &each : call.tables)
    take(each.second);
  call.where = positionsOf(rows);
  int64_t tokens = call.where.dim(0);
  if (context <= 0)
    context = (reach + 31) / 32 * 32 + 32;
  call.symbols["T"] = tokens;
  call.symbols["S"] = count;
  call.symbols["SLOTS"] = slots;
  call.symbols["CTX"] = context;
  call.symbols["CTXB"] = context / 32;
  call.rows = std::move(rows);
  return call;
}

/// Whether the function takes (seed, top_k, position, 0) for each sequence.
static bool hasDraws(func::FuncOp f) {
  return llvm::any_of(f.getArgumentTypes(), [](Type type) {
    auto draws = dyn_cast<RankedTensorType>(type);
    return draws && draws.getElementType().isInteger(64) && draws.getRank() == 2 && draws.getDimSize(1) == 4;
  });
}

/// Names of an argument's dynamic dimensions; without `llm.dims` those that its rank suggests.
static SmallVector<std::string> dimensionNames(func::FuncOp f, unsigned i, RankedTensorType type) {
  SmallVector<std::string> names;
  if (auto dims = f.getArgAttrOfType<ArrayAttr>(i, "llm.dims")) {
    for (auto name : dims.getAsRange<StringAttr>())
      names.push_back(name.getValue().str());
    return names;
  }
  bool isState = type.getRank() >= 3;
  bool isPerSequence = type.getRank() == 2 && type.getDimSize(1) == 4 &&
                       (!isa<FloatType>(type.getElementType()) || hasDraws(f));
  for (int64_t d = 0; d < type.getRank(); ++d)
    if (type.isDynamicDim(d))
      names.push_back(d == 0                ? isState         ? "SLOTS"
                                              : isPerSequence ? "S"
                                                              : "T"
                      : type.getRank() == 4 ? "CTXB"
                                            : "CTX");
  return names;
}

std::string firstDimension(func::FuncOp f, unsigned i) {
  auto type = dyn_cast<RankedTensorType>(f.getArgumentTypes()[i]);
  if (!type || type.getRank() == 0 || !type.isDynamicDim(0))
    return "";
  auto names = dimensionNames(f, i, type);
  return names.empty() ? "" : names.front();
}

static FailureOr<SmallVector<int64_t>> shapeOf(func::FuncOp f, unsigned i, const Call &call) {
  auto type = cast<RankedTensorType>(f.getArgumentTypes()[i]);
  auto names = dimensionNames(f, i, type);
  SmallVector<int64_t> shape(type.getShape());
  size_t next = 0;
  for (int64_t &d : shape) {
    if (!ShapedType::isDynamic(d))
      continue;
    StringRef name = next < names.size() ? StringRef(names[next++]) : "";
    auto extent = plan::parseExtent(name);
    auto found = extent ? call.symbols.find(extent->name()) : call.symbols.end();
    if (found == call.symbols.end())
      return f.emitError("argument ")
             << i << " has a dynamic dimension '" << name << "' of unknown size; see 'llm.dims'";
    d = extent->factor * found->second;
  }
  return shape;
}

/// Rows of the smallest table that the module embeds tokens with.
static int64_t vocabularyOf(func::FuncOp f) {
  int64_t rows = 0;
  f->getParentOp()->walk([&](llm::EmbedOp embed) {
    int64_t n = cast<RankedTensorType>(embed.getTable().getType()).getDimSize(0);
    rows = rows == 0 ? n : std::min(rows, n);
  });
  return rows == 0 ? 2 : rows;
}

static void fillIntegers(func::FuncOp f, unsigned i, Tensor &t, const Call &call, Random &random) {
  auto limit = f.getArgAttrOfType<IntegerAttr>(i, "llm.limit");
  int64_t columns = t.rank() == 2 ? t.dim(1) : 0;
  if (!limit && t.element == Element::I32 && columns == 2 && t.dim(0) == call.where.dim(0))
    t = call.where;
  else if (!limit && t.element == Element::I32 && columns == 4 && t.dim(0) == call.rows.dim(0))
    t = call.rows;
  else if (!limit && t.element == Element::I64 && columns == 4)
    for (int64_t s = 0; s < t.dim(0); ++s) { // draws: seed, top_k, position
      t.intAt(s, 0) = (int64_t)random.bits();
      t.intAt(s, 1) = s % 2 ? 0 : 5;
      t.intAt(s, 2) = random.below(1000);
    }
  else
    for (int64_t e = 0; e < t.size(); ++e)
      t.integer(e) = wrapTo(t.element, random.below(limit                      ? limit.getInt()
                                                    : t.element == Element::I1 ? 2
                                                                               : vocabularyOf(f)));
}

/// Whether the argument is a table (temperature, top_p, min_p, 0): it comes with draws.
static bool isSampling(func::FuncOp f, const Tensor &t, const Call &call) {
  return t.rank() == 2 && t.dim(1) == 4 && t.dim(0) == call.rows.dim(0) && hasDraws(f);
}

static void fillReals(func::FuncOp f, unsigned i, Tensor &t, const Call &call, Random &random) {
  auto range = f.getArgAttrOfType<ArrayAttr>(i, "llm.range");
  // States and weights are small, activations of unit variance.
  double scale = t.rank() >= 3 ? 0.1
                 : isReal(t.element) && t.element != Element::F32 && t.rank() == 2
                     ? 1 / std::sqrt((double)t.dim(1))
                     : 1;
  double low = 0, high = 0;
  if (range && range.size() == 2) {
    low = cast<FloatAttr>(range[0]).getValueAsDouble();
    high = cast<FloatAttr>(range[1]).getValueAsDouble();
  }
  bool sampling = !range && isSampling(f, t, call);
  const double temperatures[4] = {0.7, 0, 1, 1.5}, tops[4] = {0.9, 1, 0.5, 1}, least[4] = {0, 0, 0.05, 0.1};
  for (int64_t e = 0; e < t.size(); ++e) {
    int64_t s = e / 4 % 4;
    double v = sampling ? (e % 4 == 0   ? temperatures[s]
                           : e % 4 == 1 ? tops[s]
                           : e % 4 == 2 ? least[s]
                                        : 0)
               : range  ? low + (high - low) * random.uniform()
                        : random.normal() * scale;
    // What the program gets at run time is a stored number.
    t.real(e) = roundTo(t.element, v);
  }
}

/// The inputs `bounds` (known, end, start, 0) and `settings` of calls whose tables come from them.
static bool fillFromSessions(func::FuncOp f, unsigned i, Tensor &t, const Call &call) {
  auto input = f.getArgAttrOfType<StringAttr>(i, "llm.input");
  const bool isBounds = input && input == "bounds", isSettings = input && input == "settings";
  if (call.sessions.empty() || !(isBounds || isSettings))
    return false;
  for (auto [s, values] : llvm::enumerate(call.sessions))
    for (int64_t column = 0; isBounds && column < t.dim(1); ++column)
      t.intAt(s, column) = values[column];
  if (isSettings)
    for (const runtime::Setting &setting : settingsOf(f->getParentOfType<ModuleOp>()))
      for (int64_t s = 0; s < t.dim(0); ++s)
        t.real(s * t.dim(1) + setting.column) = roundTo(t.element, settingOf(setting, s));
  return true;
}

static FailureOr<Value> makeArgument(func::FuncOp f, unsigned i, const Call &call, uint64_t seed) {
  Type type = f.getArgumentTypes()[i];
  Random random(seed, ("argument " + Twine(i)).str());
  if (isa<llm::SequencesType>(type)) {
    auto given = f.getArgAttrOfType<DenseElementsAttr>(i, "llm.rows"); // a function may have several tables
    auto own = call.tables.find(i);
    if (!given && own == call.tables.end())
      return Value::sequences(call.where, call.rows);
    Tensor rows = given ? tensorOf(given, Element::I32) : own->second;
    Tensor where = positionsOf(rows);
    return Value::sequences(std::move(where), std::move(rows));
  }
  auto tensor = dyn_cast<RankedTensorType>(type);
  auto element = elementOf(getElementTypeOrSelf(type));
  if (!element)
    return f.emitError("argument ") << i << ": no values of type " << type << " can be made";
  if (!tensor)
    return Value(isReal(*element) ? realCell(roundTo(*element, random.normal()))
                                  : integerCell(random.below(2)));
  if (auto given = f.getArgAttrOfType<DenseElementsAttr>(i, "llm.value"))
    return Value(tensorOf(given, *element));
  auto shape = shapeOf(f, i, call);
  if (failed(shape))
    return failure();
  Tensor t(*element, *shape);
  if (fillFromSessions(f, i, t, call))
    return Value(std::move(t));
  isReal(*element) ? fillReals(f, i, t, call, random) : fillIntegers(f, i, t, call, random);
  return Value(std::move(t));
}

FailureOr<std::vector<Value>> makeArguments(func::FuncOp f, const CallSizes &sizes, Tensor *table) {
  if (sizes.sequences < 1 || sizes.tokens < sizes.sequences)
    return f.emitError("cannot divide ")
           << sizes.tokens << " tokens among " << sizes.sequences << " sequences";
  CallSizes actual = sizes;
  for (unsigned i = 0; i < f.getNumArguments(); ++i)
    if (auto input = f.getArgAttrOfType<StringAttr>(i, "llm.input"))
      if (input.getValue() == "tokens" &&
          dimensionNames(f, i, cast<RankedTensorType>(f.getArgumentTypes()[i])).front() == "S")
        actual.tokens = sizes.sequences; // the program takes one token per sequence
  Tensor rows = unevenRows(actual);
  for (unsigned i = 0; i < f.getNumArguments(); ++i)
    if (auto given = f.getArgAttrOfType<DenseElementsAttr>(i, "llm.rows"))
      rows = tensorOf(given, Element::I32);
  auto call = makeCall(f, std::move(rows), sizes.context);
  if (failed(call))
    return failure();
  if (table)
    *table = call->rows;
  std::vector<Value> arguments;
  for (unsigned i = 0; i < f.getNumArguments(); ++i) {
    auto v = makeArgument(f, i, *call, sizes.seed);
    if (failed(v))
      return failure();
    arguments.push_back(std::move(*v));
  }
  return arguments;
}

} // namespace llmc::reference
