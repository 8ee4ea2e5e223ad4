// Compiles, loads and runs. See Compiled.h.
#include "tools/llmc-reference/Compiled.h"
#include "dialect/llm/LlmDialect.h"
#include "dialect/plan/Extent.h"
#include "dialect/reference/Handlers.h"
#include "dialect/reference/Storage.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Pipelines.h"
#include "tools/llmc-reference/Arguments.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cstring>
#include <dlfcn.h>
#include <unistd.h>

using namespace mlir;
namespace llmc::reference {

//===-- Buffers
//--------------------------------------------------------------------------------------------===//

/// NaN as two f32, and as every second bf16 or f16.
static const uint8_t kGuardPattern[8] = {0x5A, 0xA5, 0xC3, 0xFF, 0xA5, 0x5A, 0xC3, 0x7F};

size_t Buffer::elementBytes() const { return storedBytes(element); }

Buffer::Buffer(Element element, ArrayRef<int64_t> shape)
    : element(element), shape(shape.begin(), shape.end()), size(Tensor::count(shape) * storedBytes(element)) {
  size_t all = kGuard + size + guardAfter();
  memory = static_cast<uint8_t *>(std::aligned_alloc(64, all));
  for (size_t i = 0; i < all; ++i)
    memory[i] = kGuardPattern[i % sizeof kGuardPattern];
  Cell nothing = unwritten(element);
  for (size_t at = 0; at < size; at += elementBytes())
    writeElement(element, data() + at, nothing);
}

Buffer::Buffer(const Tensor &values) : Buffer(values.element, values.shape) {
  for (int64_t i = 0; i < values.size(); ++i)
    writeElement(element, data() + i * elementBytes(), values.cells[i]);
}

Buffer::~Buffer() { std::free(memory); }

std::shared_ptr<Buffer> Buffer::copy() const {
  auto other = std::make_shared<Buffer>(element, shape);
  std::memcpy(other->data(), data(), size);
  return other;
}

Tensor Buffer::tensor() const { return tensorOfBytes(element, shape, data()); }

bool Buffer::areGuardsWhole() const {
  auto whole = [&](size_t from, size_t to) {
    for (size_t i = from; i < to; ++i)
      if (memory[i] != kGuardPattern[i % sizeof kGuardPattern])
        return false;
    return true;
  };
  return whole(0, kGuard) && whole(kGuard + size, kGuard + size + guardAfter());
}

Passed::Passed(const Value &v) {
  if (v.isSequences()) {
    first = std::make_shared<Buffer>(v.where());
    second = std::make_shared<Buffer>(v.rows());
  } else if (v.isTensor()) {
    first = std::make_shared<Buffer>(v.tensor());
  }
}

//===-- Compilation
//----------------------------------------------------------------------------------------===//

OwningOpRef<ModuleOp> lowerToTiles(ModuleOp module) {
  OwningOpRef<ModuleOp> tiles = module.clone();
  bool hasDispatches = false, hasLaunches = false;
  tiles->walk([&](Operation *op) {
    hasDispatches |= isa<llm::DispatchOp>(op);
    hasLaunches |= isa<llm::LaunchOp>(op);
  });
  if (hasLaunches)
    return tiles;
  PassManager pm(module.getContext());
  if (!hasDispatches)
    addGraphStage(pm);
  addChunkStage(pm);
  return succeeded(pm.run(*tiles)) ? std::move(tiles) : OwningOpRef<ModuleOp>();
}

llvm::Expected<std::unique_ptr<Compiled>> Compiled::create(ModuleOp tiles, const CpuLevel &level,
                                                           WeightProvider weights) {
  std::unique_ptr<Compiled> compiled(new Compiled(tiles, std::move(weights)));
  llvm::Expected<CodeObject> object = compileKernels(tiles, level);
  if (!object)
    return object.takeError();
  char path[] = "/tmp/llmc-kernels-XXXXXX";
  int file = mkstemp(path);
  bool isWritten =
      file >= 0 && write(file, object->elf.data(), object->elf.size()) == ssize_t(object->elf.size());
  compiled->library = isWritten ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (file >= 0) {
    close(file);
    unlink(path);
  }
  if (!compiled->library)
    return llvm::createStringError(isWritten ? dlerror()
                                             : "cannot write the code object to a temporary file");
  return compiled;
}

Compiled::~Compiled() {
  if (library)
    dlclose(library);
}

//===-- Execution
//------------------------------------------------------------------------------------------===//

FailureOr<std::vector<Passed>> Compiled::run(StringRef function, ArrayRef<Passed> arguments, Order order) {
  auto f = tiles.lookupSymbol<func::FuncOp>(function);
  if (!f || f.isExternal() || f.getNumArguments() != arguments.size())
    return tiles.emitError("has no function '") << function << "' of " << arguments.size() << " arguments";
  Values values;
  for (auto [argument, passed] : llvm::zip(f.getArguments(), arguments))
    values[argument] = passed;
  for (Operation &op : f.front().without_terminator())
    if (failed(execute(op, values, order)))
      return failure();
  std::vector<Passed> results;
  for (mlir::Value v : f.front().getTerminator()->getOperands())
    results.push_back(values.lookup(v));
  return results;
}

/// What `llm.pack` says, on bytes.
static std::shared_ptr<Buffer> pack(llm::PackOp op, ArrayRef<std::shared_ptr<Buffer>> weights) {
  Tensor zeros = tensorOfType(op.getType(), {}, /*zero=*/true);
  auto packed = std::make_shared<Buffer>(zeros);
  int64_t groups = op.getGroups(), panel = op.getPanel(), from = op.getFrom(), depth = zeros.dim(2),
          size = packed->elementBytes();
  int64_t firstUnit = 0; // within a group: a panel, or a row where there are no panels
  for (const std::shared_ptr<Buffer> &w : weights) {
    int64_t rows = w->bytes() / size / groups / depth, count = op.getCount().value_or(rows);
    for (int64_t g = 0; g < groups; ++g)
      for (int64_t r = 0; r < count; ++r)
        for (int64_t k = 0; k < depth; ++k) {
          int64_t unit = g * zeros.dim(1) + firstUnit + (panel ? r / panel : r);
          int64_t to = panel ? (unit * depth + k) * panel + r % panel : unit * depth + k;
          std::memcpy(packed->data() + to * size, w->data() + ((g * rows + from + r) * depth + k) * size,
                      size);
        }
    firstUnit += panel ? llvm::divideCeil(count, panel) : count;
  }
  return packed;
}

FailureOr<Passed> Compiled::weight(Operation &op) {
  auto weight = cast<llm::WeightOp>(op);
  auto type = cast<RankedTensorType>(weight.getType());
  auto part = [&](StringRef name, ArrayRef<int64_t> shape) {
    return weights(name, shape, type.getElementType());
  };
  if (!weight.getStack()) {
    auto t = part(weight.getName(), type.getShape());
    return failed(t) ? FailureOr<Passed>(failure()) : Passed(std::make_shared<Buffer>(*t));
  }
  Tensor all = tensorOfType(type, {});
  auto [before, after] = weight.getName().split("{}");
  for (int64_t e = 0; e < (int64_t)*weight.getStack(); ++e) {
    auto t = part((before + Twine(e) + after).str(), type.getShape().drop_front());
    if (failed(t))
      return failure();
    std::copy(t->cells.begin(), t->cells.end(), all.cells.begin() + e * all.rowSize());
  }
  return Passed(std::make_shared<Buffer>(all));
}

LogicalResult Compiled::execute(Operation &op, Values &values, Order order) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(&op)
      .Case([&](llm::WeightOp w) {
        Passed &known = stored[&op];
        if (!known.first) {
          auto made = weight(op);
          if (failed(made))
            return failure();
          known = *made;
        }
        values[w.getResult()] = known;
        return success();
      })
      .Case([&](llm::PackOp p) {
        std::vector<std::shared_ptr<Buffer>> weights;
        for (mlir::Value w : p.getWeights())
          weights.push_back(values.lookup(w).first);
        Passed &known = packed[{&op, weights}];
        if (!known.first)
          known = pack(p, weights);
        values[p.getResult()] = known;
        return success();
      })
      .Case([&](arith::ConstantOp c) -> LogicalResult {
        auto dense = dyn_cast<DenseElementsAttr>(c.getValue());
        if (!dense)
          return op.emitError("is no tensor");
        values[c.getResult()] = std::make_shared<Buffer>(tensorOf(dense, elementOfTensor(c.getType())));
        return success();
      })
      .Case([&](tensor::CastOp c) {
        values[c.getResult()] = values.lookup(c.getSource());
        return success();
      })
      .Case([&](func::CallOp call) {
        SmallVector<Passed> arguments;
        for (mlir::Value v : call.getOperands())
          arguments.push_back(values.lookup(v));
        auto results = run(call.getCallee(), arguments, order);
        if (failed(results))
          return failure();
        for (auto [v, passed] : llvm::zip(call.getResults(), *results))
          values[v] = passed;
        return success();
      })
      .Case([&](llm::LaunchOp) { return launch(op, values, order); })
      .Default([](Operation *other) {
        return other->emitError("is neither a launch nor a weight: it has no machine code");
      });
}

/// The symbols T, S, SLOTS, CTX, CTXB of one launch, learned from the shapes of its buffers.
struct Symbols {
  int64_t values[plan::kNumSymbols] = {-1, -1, -1, -1, -1};

  /// The factor and the place of an entry of llm.dims; no place for what is no such entry.
  std::pair<int64_t, int64_t *> split(Attribute entry) {
    auto extent = plan::parseExtent(cast<StringAttr>(entry).getValue());
    if (!extent)
      return {1, nullptr};
    return {extent->factor, &values[extent->symbol]};
  }

  LogicalResult learn(func::FuncOp kernel, unsigned argument, const Buffer &buffer) {
    auto type = cast<RankedTensorType>(kernel.getArgumentTypes()[argument]);
    auto dims = kernel.getArgAttrOfType<ArrayAttr>(argument, "llm.dims");
    auto wrong = [&]() {
      return kernel.emitError("argument ")
             << argument << " cannot be " << kernel.getName() << "'s: its shape is " << text(buffer.shape);
    };
    if (type.getRank() != (int64_t)buffer.shape.size() || elementOfTensor(type) != buffer.element)
      return wrong();
    size_t next = 0;
    for (auto [d, n] : llvm::zip(type.getShape(), buffer.shape)) {
      if (!ShapedType::isDynamic(d)) {
        if (d != n)
          return wrong();
        continue;
      }
      auto [factor, value] = split(dims[next++]);
      if (!value || n % factor || (*value >= 0 && *value != n / factor))
        return wrong();
      *value = n / factor;
    }
    return success();
  }

  FailureOr<SmallVector<int64_t>> shapeOf(func::FuncOp kernel, unsigned argument) {
    auto type = cast<RankedTensorType>(kernel.getArgumentTypes()[argument]);
    auto dims = kernel.getArgAttrOfType<ArrayAttr>(argument, "llm.dims");
    SmallVector<int64_t> shape(type.getShape());
    size_t next = 0;
    for (int64_t &d : shape)
      if (ShapedType::isDynamic(d)) {
        auto [factor, value] = split(dims[next++]);
        if (!value || *value < 0)
          return kernel.emitError("nothing tells the size of argument ") << argument;
        d = factor * *value;
      }
    return shape;
  }
};

LogicalResult Compiled::launch(Operation &each, Values &values, Order order) {
  auto op = cast<llm::LaunchOp>(each);
  auto kernel = tiles.lookupSymbol<func::FuncOp>(op.getKernel());
  if (!kernel)
    return op.emitError("no kernel '") << op.getKernel() << "'";
  std::vector<std::shared_ptr<Buffer>> buffers;
  for (auto [i, operand] : llvm::enumerate(op.getInputs()))
    if (!llvm::is_contained(op.getTied(), (int64_t)i)) {
      Passed passed = values.lookup(operand);
      buffers.push_back(passed.first);
      if (passed.second)
        buffers.push_back(passed.second);
    }
  size_t inputs = buffers.size();
  if (kernel.getNumArguments() != inputs + op.getNumResults())
    return op.emitError("kernel '") << op.getKernel() << "' has " << kernel.getNumArguments()
                                    << " arguments, " << inputs + op.getNumResults() << " are given";
  Symbols symbols;
  for (size_t i = 0; i < inputs; ++i)
    if (failed(symbols.learn(kernel, i, *buffers[i])))
      return failure();
  for (auto [r, tied] : llvm::enumerate(op.getTied()))
    if (tied >= 0 && failed(symbols.learn(kernel, inputs + r, *values.lookup(op.getInputs()[tied]).first)))
      return failure();
  for (auto [r, tied] : llvm::enumerate(op.getTied())) {
    if (tied >= 0) {
      buffers.push_back(values.lookup(op.getInputs()[tied]).first);
      continue;
    }
    auto shape = symbols.shapeOf(kernel, inputs + r);
    if (failed(shape))
      return failure();
    buffers.push_back(
        std::make_shared<Buffer>(elementOfTensor(kernel.getArgumentTypes()[inputs + r]), *shape));
  }
  for (size_t i = inputs; i < buffers.size(); ++i)
    if (llvm::count(buffers, buffers[i]) != 1)
      return op.emitError("kernel '") << op.getKernel() << "' gets a buffer that it writes twice";

  auto entry = reinterpret_cast<void (*)(void *const *, const int64_t *, int64_t)>(
      dlsym(library, op.getKernel().str().c_str()));
  auto grid = reinterpret_cast<int64_t (*)(const int64_t *)>(
      dlsym(library, (op.getKernel() + ".grid").str().c_str()));
  if (!entry || !grid)
    return op.emitError("the code does not export '") << op.getKernel() << "'";
  std::vector<void *> pointers;
  std::vector<std::shared_ptr<Buffer>> before;
  for (size_t i = 0; i < buffers.size(); ++i) {
    pointers.push_back(buffers[i]->data());
    if (i < inputs)
      before.push_back(buffers[i]->copy());
  }
  int64_t count = grid(symbols.values);
  for (int64_t i = 0; i < count; ++i)
    entry(pointers.data(), symbols.values, order == Order::Rising ? i : count - 1 - i);

  for (size_t i = 0; i < buffers.size(); ++i)
    if (!buffers[i]->areGuardsWhole())
      return op.emitError("kernel '") << op.getKernel() << "' writes beyond the bounds of its argument " << i;
  for (size_t i = 0; i < inputs; ++i)
    if (std::memcmp(before[i]->data(), buffers[i]->data(), before[i]->bytes()))
      return op.emitError("kernel '")
             << op.getKernel() << "' writes its argument " << i << ", which it may only read";
  for (auto [r, v] : llvm::enumerate(op.getResults()))
    values[v] = buffers[inputs + r];
  return success();
}

} // namespace llmc::reference
