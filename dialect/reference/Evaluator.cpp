// Runs blocks of ops: numbers a function's values once, then keeps them in a flat file of registers.
#include "dialect/reference/Evaluator.h"
#include "dialect/reference/Handlers.h"
#include "dialect/reference/Scalars.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;
namespace llmc::reference {

/// One op of a block, resolved.
struct Step {
  Operation *op;
  Handler handler = nullptr;       // null: not evaluated
  std::optional<ScalarOp> scalar;  // set: operands and results are scalars
  SmallVector<unsigned, 4> in;     // registers
  SmallVector<bool, 4> isLastUse;  // per operand: nothing reads the register afterwards
  unsigned out = 0;                // first result's register
};

struct Code {
  unsigned arguments = 0; // first argument's register
  std::vector<Step> steps; // terminator last
};

/// A function's blocks in resolved form.
struct Program {
  llvm::DenseMap<mlir::Value, unsigned> registers;
  llvm::DenseMap<Block *, Code> code;
  unsigned registerCount = 0;
};

static const Handlers &handlers() {
  static const auto *table = [] {
    auto *t = new Handlers;
    addMath(*t);
    addNorm(*t);
    addMixer(*t);
    addRouting(*t);
    addDecoding(*t);
    addCanvas(*t);
    addPatch(*t);
    addDispatch(*t);
    addUpstreamControl(*t);
    addUpstreamTensor(*t);
    addUpstreamLinalg(*t);
    return t;
  }();
  return *table;
}

/// A scalar op on tensors acts on their elements.
static LogicalResult evaluateElements(Context &c) {
  auto scalar = ScalarOp::of(c.op);
  Tensor first(*elementOf(getElementTypeOrSelf(c.op->getResult(0).getType())), {});
  for (const Value &v : c.operands)
    if (v.isTensor()) {
      first.shape = v.tensor().shape;
      break;
    }
  first.cells.resize(Tensor::count(first.shape));
  std::vector<Tensor> outs(c.op->getNumResults(), first);
  for (auto [i, out] : llvm::enumerate(outs))
    out.element = *elementOf(getElementTypeOrSelf(c.op->getResult(i).getType()));
  Cell in[8], result[2];
  for (int64_t e = 0; e < first.size(); ++e) {
    for (auto [k, v] : llvm::enumerate(c.operands)) {
      if (v.isTensor() && v.tensor().size() != first.size())
        return c.error() << "operands of different sizes";
      in[k] = v.isTensor() ? v.tensor().cells[e] : v.scalar();
    }
    scalar->function(*scalar, in, result);
    for (auto [i, out] : llvm::enumerate(outs))
      out.cells[e] = result[i];
  }
  for (Tensor &out : outs)
    c.results.push_back(std::move(out));
  return success();
}

static bool isScalar(mlir::Value v) { return !isa<ShapedType>(v.getType()); }

static void resolve(Step &step) {
  Operation *op = step.op;
  auto found = handlers().find(op->getName().getStringRef());
  if (found != handlers().end()) {
    step.handler = found->second;
  } else if (auto scalar = ScalarOp::of(op)) {
    if (llvm::all_of(op->getOperands(), isScalar) && llvm::all_of(op->getResults(), isScalar))
      step.scalar = scalar;
    else
      step.handler = evaluateElements;
  } else if (isa<linalg::LinalgOp>(op)) {
    step.handler = evaluateLinalg;
  }
}

/// Whether the op is the only reader of the operand's value from here on and reads it once. Only values of the op's own
/// block count: an outer value is read again when the block is.
static bool isLastUse(OpOperand &operand) {
  mlir::Value v = operand.get();
  Block *block = operand.getOwner()->getBlock();
  if (isScalar(v) || v.getParentBlock() != block)
    return false;
  for (OpOperand &use : v.getUses()) {
    if (&use == &operand)
      continue;
    Operation *user = block->findAncestorOpInBlock(*use.getOwner());
    if (!user || user == operand.getOwner() || operand.getOwner()->isBeforeInBlock(user))
      return false;
  }
  return true;
}

static void number(Program &program, Region &region) {
  for (Block &block : region) {
    Code &code = program.code[&block];
    code.arguments = program.registerCount;
    for (BlockArgument a : block.getArguments())
      program.registers[a] = program.registerCount++;
    for (Operation &op : block)
      for (OpResult r : op.getResults())
        program.registers[r] = program.registerCount++;
    for (Operation &op : block)
      for (Region &inner : op.getRegions())
        number(program, inner);
  }
}

static std::unique_ptr<Program> compile(func::FuncOp function) {
  auto program = std::make_unique<Program>();
  number(*program, function.getBody());
  for (auto &[block, code] : program->code)
    for (Operation &op : *block) {
      Step step;
      step.op = &op;
      resolve(step);
      for (OpOperand &operand : op.getOpOperands()) {
        step.in.push_back(program->registers.lookup(operand.get()));
        step.isLastUse.push_back(isLastUse(operand));
      }
      if (op.getNumResults() > 0)
        step.out = program->registers.lookup(op.getResult(0));
      code.steps.push_back(std::move(step));
    }
  return program;
}

/// One activation of a function.
class Frame {
public:
  Frame(Evaluator &evaluator, const Program &program)
      : evaluator(evaluator), program(program), registers(program.registerCount) {}

  LogicalResult run(Block &block, MutableArrayRef<Value> arguments, SmallVectorImpl<Value> &passed);

  Evaluator &evaluator;
  const Program &program;
  std::vector<Value> registers;
  std::vector<std::vector<int64_t>> loopIndices;
  llvm::DenseMap<mlir::Value, SharedReads> sharedReads;
};

LogicalResult Frame::run(Block &block, MutableArrayRef<Value> arguments, SmallVectorImpl<Value> &passed) {
  const Code &code = program.code.find(&block)->second;
  for (auto [i, v] : llvm::enumerate(arguments))
    registers[code.arguments + i] = std::move(v);
  const auto &after = evaluator.options.afterResult;
  SmallVector<Value, 8> operands;
  SmallVector<Value, 4> results;
  for (const Step &step : code.steps) {
    if (step.scalar) {
      Cell in[8], out[2];
      for (unsigned k = 0, n = step.in.size(); k < n; ++k)
        in[k] = registers[step.in[k]].scalar();
      step.scalar->function(*step.scalar, in, out);
      for (unsigned k = 0, n = step.op->getNumResults(); k < n; ++k)
        registers[step.out + k] = Value(out[k]);
    } else {
      operands.clear();
      for (auto [r, last] : llvm::zip_equal(step.in, step.isLastUse))
        operands.push_back(last ? std::move(registers[r]) : registers[r]);
      if (step.op->hasTrait<OpTrait::IsTerminator>() && !step.handler) {
        passed.assign(std::make_move_iterator(operands.begin()), std::make_move_iterator(operands.end()));
        return success();
      }
      if (!step.handler)
        return step.op->emitError("reference evaluator: op '") << step.op->getName() << "' has no evaluation";
      results.clear();
      Context context(*this, step.op, operands, results);
      if (failed(step.handler(context)))
        return failure();
      for (auto [k, v] : llvm::enumerate(results))
        registers[step.out + k] = std::move(v);
    }
    if (after)
      for (OpResult r : step.op->getResults())
        after(r, registers[step.out + r.getResultNumber()]);
  }
  return success();
}

LogicalResult Context::run(Block &block, MutableArrayRef<Value> arguments, SmallVectorImpl<Value> &passed) {
  return frame.run(block, arguments, passed);
}
double Context::number(const APFloat &attribute) const {
  double v = attribute.convertToDouble();
  return frame.evaluator.options.hasFloat32Attributes ? (double)(float)v : v;
}
int64_t Context::mostTrips() const { return frame.evaluator.options.mostTrips; }
const Value &Context::captured(mlir::Value v) { return frame.registers[frame.program.registers.lookup(v)]; }
FailureOr<std::vector<Value>> Context::call(StringRef function, ArrayRef<Value> arguments) {
  return frame.evaluator.call(function, arguments);
}
FailureOr<std::vector<Value>> Context::launch(func::FuncOp kernel, std::vector<Value> &arguments) {
  const Options &options = frame.evaluator.options;
  if (options.beforeLaunch)
    options.beforeLaunch(kernel, arguments);
  auto results = call(kernel.getName(), arguments);
  if (succeeded(results) && options.afterLaunch)
    options.afterLaunch(kernel, *results);
  return results;
}
llvm::DenseMap<mlir::Value, SharedReads> &Context::allSharedReads() { return frame.sharedReads; }
SharedReads *Context::sharedReads(mlir::Value v) {
  auto found = frame.sharedReads.empty() ? frame.sharedReads.end() : frame.sharedReads.find(v);
  return found == frame.sharedReads.end() ? nullptr : &found->second;
}
std::vector<std::vector<int64_t>> &Context::loopIndices() { return frame.loopIndices; }

FailureOr<Tensor> Context::weight(StringRef name, ArrayRef<int64_t> shape, Type elementType) {
  if (!frame.evaluator.weights)
    return error() << "no weights are given, '" << name << "' is asked for";
  auto t = frame.evaluator.weights(name, shape, elementType);
  if (failed(t))
    return error() << "cannot get weight '" << name << "'";
  if (ArrayRef<int64_t>(t->shape) != shape || t->size() != Tensor::count(shape))
    return error() << "weight '" << name << "' comes in another shape";
  return t;
}

const ScalarProgram *Context::scalarBody(Block &block) {
  auto [entry, isNew] = frame.evaluator.bodies.try_emplace(&block);
  if (isNew)
    entry->second = ScalarProgram::compile(block);
  return entry->second.get();
}

Tensor tensorOfType(Type type, ArrayRef<int64_t> sizes, bool zero) {
  auto t = cast<RankedTensorType>(type);
  SmallVector<int64_t, 4> shape(t.getShape());
  for (int64_t &d : shape)
    if (ShapedType::isDynamic(d)) {
      d = sizes.front();
      sizes = sizes.drop_front();
    }
  Element e = elementOfTensor(type);
  return Tensor::filled(e, shape, zero ? integerCell(0) : unwritten(e));
}

Evaluator::Evaluator(ModuleOp module, WeightProvider weights, Options options)
    : module(module), weights(std::move(weights)), options(std::move(options)) {}
Evaluator::~Evaluator() = default;

/// Whether a value can be an argument of this type: static dimensions and the element kind agree.
static bool fits(const Value &v, Type type) {
  auto t = dyn_cast<RankedTensorType>(type);
  if (!t)
    return v.isSequences() || (v.isScalar() && elementOf(type));
  if (!v.isTensor() || v.tensor().rank() != t.getRank() || elementOf(t.getElementType()) != v.tensor().element)
    return false;
  for (auto [d, n] : llvm::zip(t.getShape(), v.tensor().shape))
    if (!ShapedType::isDynamic(d) && d != n)
      return false;
  return true;
}

FailureOr<std::vector<Value>> Evaluator::call(StringRef name, ArrayRef<Value> arguments) {
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function || function.isExternal())
    return module.emitError("reference evaluator: no function '") << name << "' with a body";
  if (function.getNumArguments() != arguments.size())
    return function.emitError("reference evaluator: called with ")
           << arguments.size() << " arguments, has " << function.getNumArguments();
  for (auto [i, v] : llvm::enumerate(arguments))
    if (!fits(v, function.getArgumentTypes()[i])) {
      auto error = function.emitError("reference evaluator: argument ") << i << " does not fit " << function.getArgumentTypes()[i];
      if (v.isTensor())
        error.attachNote() << "its shape is " << text(v.tensor().shape);
      return error;
    }
  auto &program = programs[function];
  if (!program)
    program = compile(function);
  const Program &compiled = *program; // the map may move while the function runs, what it points to does not
  Frame frame(*this, compiled);
  std::vector<Value> values(arguments.begin(), arguments.end());
  SmallVector<Value> passed;
  if (failed(frame.run(function.getBody().front(), values, passed)))
    return failure();
  return std::vector<Value>(std::make_move_iterator(passed.begin()), std::make_move_iterator(passed.end()));
}

} // namespace llmc::reference
