// See ValueNames.h.
#include "tools/llmc/ValueNames.h"
#include "dialect/llm/LlmDialect.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
namespace llmc {
namespace {

/// The weight that names an op's result; null where the op has none or several of different meaning.
Value namingWeight(Operation *op) {
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case([](llm::EmbedOp e) { return e.getTable(); })
      .Case([](llm::RmsNormOp n) { return n.getWeight(); })
      .Case([](llm::ShortConvOp c) { return c.getWeight(); })
      .Case([](llm::LinearOp l) { return l.getWeights().size() == 1 ? l.getWeights().front() : Value(); })
      .Case(
          [](llm::ExpertLinearOp l) { return l.getWeights().size() == 1 ? l.getWeights().front() : Value(); })
      .Default([](Operation *) { return Value(); });
}

/// "add", "mul": what a map ends with; the op's name otherwise.
std::string actionOf(Operation *op) {
  StringRef name = op->getName().stripDialect();
  if (auto map = dyn_cast<llm::MapOp>(op))
    if (Operation *last = map.getBody().front().getTerminator()->getOperand(0).getDefiningOp()) {
      name = last->getName().stripDialect();
      if (name.size() > 3 && name.ends_with("f"))
        name = name.drop_back();
    }
  return name.str();
}

/// What a result other than the first is.
StringRef resultName(OpResult result) {
  unsigned i = result.getResultNumber();
  return llvm::TypeSwitch<Operation *, StringRef>(result.getOwner())
      .Case([&](llm::ShortConvOp) { return i ? " tail" : ""; })
      .Case([&](llm::DeltaRuleOp) { return i ? " state" : ""; })
      .Case([&](llm::AppendOp) { return " cache"; })
      .Case([&](llm::RouteOp) { return i ? " weights" : " ids"; })
      .Case([&](llm::DispatchExpertsOp) { return i == 0   ? " order"
                                                 : i == 1 ? " place"
                                                          : " groups"; })
      .Default([](Operation *) { return ""; });
}

} // namespace

ValueNames::ValueNames(const ValueNames &caller, func::CallOp call) {
  bool isFirst = true;
  for (Value operand : call.getOperands()) {
    arguments_.push_back(caller.tensorOf(operand));
    const std::string &tensor = arguments_.back();
    if (tensor.empty())
      continue;
    if (isFirst)
      prefix_ = tensor;
    isFirst = false;
    size_t same = 0;
    while (same < std::min(prefix_.size(), tensor.size()) && prefix_[same] == tensor[same])
      ++same;
    prefix_.resize(same);
  }
  prefix_.resize(prefix_.rfind('.') == std::string::npos ? 0 : prefix_.rfind('.') + 1);
}

std::string ValueNames::tensorOf(Value v) const {
  if (auto argument = dyn_cast<BlockArgument>(v))
    return argument.getArgNumber() < arguments_.size() ? arguments_[argument.getArgNumber()] : "";
  if (auto weight = v.getDefiningOp<llm::WeightOp>())
    return weight.getName().str();
  if (auto pack = v.getDefiningOp<llm::PackOp>())
    return tensorOf(pack.getWeights().front());
  return "";
}

std::string ValueNames::shortName(OpResult result) {
  Operation *op = result.getOwner();
  if (Value weight = namingWeight(op)) {
    std::string name = tensorOf(weight);
    StringRef text(name);
    if (text.starts_with(prefix_))
      text = text.drop_front(prefix_.size());
    if (text.ends_with(".weight"))
      text = text.drop_back(strlen(".weight"));
    if (!text.empty())
      return roots_[op] = text.str();
  }
  for (Value operand : op->getOperands())
    if (auto root = roots_.find(operand.getDefiningOp()); operand.getDefiningOp() && root != roots_.end()) {
      std::string name = root->second;
      roots_[op] = name;
      return actionOf(op) + "(" + name + ")";
    }
  return actionOf(op);
}

std::string ValueNames::of(OpResult result) {
  std::string name = shortName(result);
  name += resultName(result);
  if (unsigned n = ++uses_[name]; n > 1)
    name += " #" + std::to_string(n);
  return prefix_ + name;
}

} // namespace llmc
