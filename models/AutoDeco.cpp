// AutoDeco ("The End of Manual Decoding", arXiv 2510.26697): two small heads on the final hidden state h of a
// base model that stays as it is predict the temperature and the top-p of every token.
//
//      T^ = 2 sigmoid(w2 relu(W1 h + b1) + b2)
//      p^ = sigmoid(v2 relu(V1 [h; T^; statistics of softmax(logits / T^)] + c1) + c2)
//
// The base may be of any family that draws tokens from logits. In its `advance` the heads stand between the
// language model head and llm.sample; `ingest` and `score` are the base's. Where the caller's parameters
// multiply the predicted ones follows the authors' inference code: temperature 0 stays greedy, and so is one
// below 1e-5.
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Verifier.h"
#include "models/Family.h"

using namespace mlir;
namespace llmc {
namespace {

constexpr int64_t kInner = 256;
constexpr double kGreedyBelow = 1e-5;
/// How merged checkpoints begin the names of the base's tensors.
const char *const kBasePrefix = "llm.";

/// Keys of config.json that are AutoDeco's own.
struct HeadConfig {
  bool hasTemperature = true, hasTopP = true, isEnhanced = true;
};

HeadConfig readHeads(const ConfigReader &file) {
  HeadConfig c;
  c.hasTemperature = file.getBoolOr("enable_temperature_head", true);
  c.hasTopP = file.getBoolOr("enable_top_p_head", true);
  c.isEnhanced = file.getBoolOr("use_enhanced_features", true);
  if (!c.hasTemperature && !c.hasTopP)
    file.fail("enable_top_p_head",
              "one of the two heads must be enabled; without them this is the base model");
  file.ignore("base_model_name_or_path");
  // Compared with the base once that is known.
  for (const char *key : {"temperature_hidden_size", "top_p_hidden_size", "base_model_type"})
    file.ignore(key);
  return c;
}

void checkWidths(const ConfigReader &file, int64_t hidden) {
  for (const char *key : {"temperature_hidden_size", "top_p_hidden_size"})
    if (file.getIntOr(key, hidden) != hidden)
      file.fail(key, "the hidden states of the base have " + std::to_string(hidden) +
                         " columns; these heads belong to another base");
}

/// Emits the heads in front of the base's llm.sample.
class HeadBuilder : BlockBuilder {
public:
  HeadBuilder(OpBuilder &builder, llm::SampleOp sample, Value hidden, BuiltModel &model,
              const HeadConfig &config, const WeightType &weightType)
      : BlockBuilder(builder, sample.getLoc()), sample(sample), hidden(hidden), model(model), config(config),
        weightType(weightType) {}

  /// (temperature, top_p) [S, 2] with which each row is drawn.
  Value build() {
    Value user = sample.getSampling(), temperature = slice(user, 0, 1), topP = slice(user, 1, 1);
    // The top-p head reads what the temperature head predicts, whether that is used to draw or not.
    bool isRead = config.hasTopP && weightType("temp_head.mlp.0.weight");
    Value predicted = config.hasTemperature || isRead ? head("temp_head", hidden, 2.0) : constant(user, 1.0);
    if (config.hasTopP) {
      SmallVector<Value> inputs{hidden, predicted};
      if (config.isEnhanced)
        inputs.push_back(llm::LogitStatisticsOp::create(b, loc, rows(4), sample.getLogits(), predicted));
      topP =
          map({head("top_p_head", concat(inputs), 1.0), topP}, [](OpBuilder &b, Location loc, ValueRange v) {
            Value p = arith::MulFOp::create(b, loc, v[0], v[1]);
            p = arith::MaximumFOp::create(b, loc, p, number(b, loc, 0));
            return arith::MinimumFOp::create(b, loc, p, number(b, loc, 1)).getResult();
          });
    }
    if (config.hasTemperature)
      temperature = map({predicted, temperature}, [](OpBuilder &b, Location loc, ValueRange v) {
        Value t = arith::MulFOp::create(b, loc, v[0], v[1]), zero = number(b, loc, 0);
        Value isGreedy =
            arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, t, number(b, loc, kGreedyBelow));
        return arith::SelectOp::create(b, loc, isGreedy, zero, t).getResult();
      });
    Value decoding = concat({temperature, topP});
    sample.getSamplingMutable().assign(concat({decoding, slice(user, 2, 2)}));
    return decoding;
  }

private:
  static Value number(OpBuilder &b, Location loc, double v) {
    return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(v));
  }

  /// A column of one number, as many rows as `like` has.
  Value constant(Value like, double v) {
    return map({slice(like, 0, 1)},
               [&](OpBuilder &b, Location loc, ValueRange) { return number(b, loc, v); });
  }

  Value concat(ValueRange inputs) {
    int64_t n = 0;
    for (Value x : inputs)
      n += llm::columns(x);
    return llm::ConcatOp::create(b, loc, rows(n), inputs);
  }

  Value weight(const std::string &name, ArrayRef<int64_t> shape) {
    Type type = weightType(name);
    if (!type)
      type = weightType("");
    model.tensors.push_back({name, {shape.begin(), shape.end()}, false, {}});
    return llm::WeightOp::create(b, loc, RankedTensorType::get(shape, type ? type : b.getBF16Type()),
                                 b.getStringAttr(name), IntegerAttr());
  }

  Value layer(Value x, const std::string &name, int64_t columns) {
    Value w = weight(name + ".weight", {columns, llm::columns(x)});
    return linear(x, w, weight(name + ".bias", {columns}));
  }

  /// scale * sigmoid(mlp(x)), one column.
  Value head(const std::string &name, Value x, double scale) {
    Value inner = map({layer(x, name + ".mlp.0", kInner)}, [](OpBuilder &b, Location loc, ValueRange v) {
      return arith::MaximumFOp::create(b, loc, v[0], number(b, loc, 0)).getResult();
    });
    Value y = sigmoid(layer(inner, name + ".mlp.2", 1));
    return scale == 1.0 ? y : map({y}, [&](OpBuilder &b, Location loc, ValueRange v) {
      return arith::MulFOp::create(b, loc, v[0], number(b, loc, scale)).getResult();
    });
  }

  llm::SampleOp sample;
  Value hidden;
  BuiltModel &model;
  const HeadConfig &config;
  const WeightType &weightType;
};

/// `advance` gives what is drawn with, beside its tokens and logits.
void addOutput(func::FuncOp advance, Value decoding) {
  Operation *end = advance.front().getTerminator();
  unsigned at = 0; // after the last output, before the states
  while (at < end->getNumOperands() && advance.getResultAttr(at, "llm.output"))
    ++at;
  OpBuilder b(end);
  end->insertOperands(at, decoding);
  auto name = b.getNamedAttr("llm.output", b.getStringAttr("decoding"));
  (void)advance.insertResult(at, decoding.getType(), b.getDictionaryAttr(name));
}

/// Adds the heads to a finished base. `base` is its configuration's family, for messages.
absl::Status addHeads(BuiltModel &model, const ConfigReader &own, const HeadConfig &config,
                      const WeightType &weightType, const std::string &base) {
  ModuleOp module = *model.module;
  auto advance = module.lookupSymbol<func::FuncOp>("advance");
  llm::SampleOp sample;
  if (advance)
    advance.walk([&](llm::SampleOp op) { sample = op; });
  // What the heads read is what the language model's head reads.
  auto head = sample ? sample.getLogits().getDefiningOp<llm::LinearOp>() : llm::LinearOp();
  if (!head)
    return absl::InvalidArgumentError(own.fileName() + ": a base of the family " + base +
                                    " does not draw its tokens from the logits of a linear head, so there is "
                                    "nothing for AutoDeco's heads to steer");
  checkWidths(own, llm::columns(head.getX()));
  if (absl::Status status = own.status(); !status.ok())
    return status;
  OpBuilder builder(sample);
  Value decoding = HeadBuilder(builder, sample, head.getX(), model, config, weightType).build();
  addOutput(advance, decoding);
  SmallVector<StringRef> predicted;
  for (auto [isThere, name, prefix] : {std::tuple(config.hasTemperature, "temperature", "temp_head"),
                                       std::tuple(config.hasTopP, "top_p", "top_p_head")}) {
    if (isThere)
      predicted.push_back(name);
    for (const char *tensor : {".mlp.0.weight", ".mlp.0.bias", ".mlp.2.weight", ".mlp.2.bias"})
      model.ignorable.push_back(std::string(prefix) + tensor); // of a head that is not enabled
  }
  module->setAttr("llm.family", builder.getStringAttr("autodeco"));
  module->setAttr("llm.predicts", builder.getStrArrayAttr(predicted));
  model.facts.family = "autodeco";
  return failed(verify(module)) ? absl::InternalError("the model's module does not verify")
                                : absl::OkStatus();
}

/// The checkpoint and the configuration of the heads beside those of their base; tensors have the names that
/// each has alone.
absl::StatusOr<BuiltModel> buildOver(MLIRContext &context, const ConfigReader &base, const ConfigReader &own,
                                     const WeightType &weightType) {
  absl::StatusOr<const Family *> family = findFamily(base);
  if (!family.ok())
    return family.status();
  std::string type = (*family)->modelType;
  HeadConfig config = readHeads(own);
  if (own.getStringOr("base_model_type", type) != type)
    own.fail("base_model_type", "the base in " + base.fileName() + " is \"" + type + "\"");
  for (const ConfigReader *file : {&base, &own})
    if (absl::Status status = file->status(); !status.ok())
      return status;
  absl::StatusOr<BuiltModel> model = (*family)->build(context, base, weightType);
  if (model.ok())
    if (absl::Status status = addHeads(*model, own, config, weightType, type); !status.ok())
      return status;
  return model;
}

/// A merged checkpoint: the base's keys stand beside AutoDeco's own, its tensors are called `llm.<name>`.
absl::StatusOr<BuiltModel> build(MLIRContext &context, const ConfigReader &file,
                                 const WeightType &weightType) {
  std::string type = file.getString("base_model_type");
  HeadConfig config = readHeads(file);
  const Family *base = findFamily(type);
  if (file.status().ok() && (!base || base->buildOver))
    file.fail("base_model_type", "no family that llmc knows; it knows " + familyNames(/*bases=*/true));
  if (absl::Status status = file.status(); !status.ok())
    return status;
  bool hasAny = false;
  WeightType prefixed = [&](StringRef name) {
    if (name.empty())
      return weightType(name);
    Type stored = weightType((kBasePrefix + name).str());
    hasAny |= bool(stored);
    return stored;
  };
  absl::StatusOr<BuiltModel> model = base->build(context, file, prefixed);
  if (!model.ok())
    return model;
  if (!hasAny && weightType("temp_head.mlp.0.weight"))
    return absl::InvalidArgumentError(file.fileName() +
                                      ": these are AutoDeco's heads alone; compile the base and give their "
                                      "directory with --heads=DIR");
  model->module->walk([](llm::WeightOp op) { op.setName(kBasePrefix + op.getName().str()); });
  for (TensorSpec &tensor : model->tensors)
    tensor.name = kBasePrefix + tensor.name;
  for (std::string &name : model->ignorable)
    name = kBasePrefix + name;
  if (absl::Status status = addHeads(*model, file, config, weightType, type); !status.ok())
    return status;
  return model;
}

} // namespace

extern const Family kAutoDeco;
const Family kAutoDeco = {"autodeco", nullptr, build, buildOver};

} // namespace llmc
