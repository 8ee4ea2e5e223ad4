// llmc-reference: runs functions of a module on the reference evaluator. Compares two modules on the same
// inputs (what a pass did against what it got), a function's results with those that its attribute
// `llm.expect` states, or what compiled kernels give with what the evaluator gives.
#include "dialect/llm/LlmDialect.h"
#include "dialect/plan/PlanDialect.h"
#include "dialect/reference/Handlers.h"
#include "mlir/Parser/Parser.h"
#include "tools/llmc-reference/Arguments.h"
#include "tools/llmc-reference/CheckCompiled.h"
#include "tools/llmc-reference/Compare.h"
#include "tools/llmc-reference/RecordCases.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/SourceMgr.h"
#include <chrono>
#include <cmath>

using namespace mlir;
namespace cl = llvm::cl;

namespace llmc::reference {

static cl::opt<std::string> inputFile(cl::Positional, cl::desc("<module>"), cl::init("-"));
static cl::opt<std::string> functionName("function", cl::desc("the function to run"));
static cl::opt<std::string> compareFile("compare", cl::desc("a module whose results must be the same"));
static cl::opt<std::string> compareFunction("compare-function",
                                            cl::desc("its function (default: the same name)"));
static cl::opt<double> tolerance("tolerance",
                                 cl::desc("largest relative L2 error (of --expect: error of an element)"),
                                 cl::init(1e-9));
static cl::list<int64_t>
    tokens("tokens", cl::desc("rows of the call (default: 65); --compiled makes a call of each of several"),
           cl::CommaSeparated);
static cl::opt<int64_t>
    sequences("sequences", cl::desc("sequences of the call; with --compiled at most one a row"), cl::init(1));
static cl::list<int64_t> past("past", cl::desc("tokens already in each sequence's state"),
                              cl::CommaSeparated);
static cl::opt<int64_t>
    context("context", cl::desc("positions of a cache (default: what the sequences need)"), cl::init(0));
static cl::opt<uint64_t> seed("seed", cl::desc("of the random arguments and weights"), cl::init(1));
static cl::list<std::string> compiledLevels("compiled",
                                            cl::desc("CPU levels whose code must give what the evaluator "
                                                     "gives; without --function for every public function"),
                                            cl::CommaSeparated);
static cl::opt<bool>
    rowsAlone("rows-alone",
              cl::desc("with --compiled: each sequence alone and cut in two must give the same bits"));
static cl::opt<bool> print("print", cl::desc("print the results' elements"));
static cl::opt<bool> expect("expect",
                            cl::desc("run every function that has 'llm.expect' and check its results"));
static cl::opt<bool> float32Attributes("float32-attributes",
                                       cl::desc("take scales and epsilons as float32, as kernels do"));
static cl::opt<bool> trace("trace", cl::desc("print the norm of every tensor as it is computed"));
static cl::opt<bool> timing("timing", cl::desc("print how long each function took"));

static cl::opt<std::string> casesFile(
    "cases", cl::desc("write every kernel's launches in the public functions for llmc-gpu-check to this file"));

static double norm(const Tensor &t) {
  double sum = 0;
  for (int64_t i = 0; i < t.size(); ++i) {
    double v = isReal(t.element) ? t.real(i) : (double)t.integer(i);
    sum += v * v;
  }
  return std::sqrt(sum);
}

static void printElements(const Tensor &t) {
  int64_t width = t.shape.empty() ? 1 : std::max<int64_t>(1, t.shape.back());
  for (int64_t i = 0; i < t.size(); ++i) {
    llvm::outs() << (i % width ? ", " : "  ");
    if (isReal(t.element))
      llvm::outs() << llvm::format("%.9g", t.real(i));
    else
      llvm::outs() << t.integer(i);
    if (i % width == width - 1)
      llvm::outs() << "\n";
  }
}

static void printResult(size_t i, const Value &v) {
  llvm::outs() << "result " << i << ": ";
  if (v.isScalar()) {
    llvm::outs() << "scalar\n";
    return;
  }
  llvm::outs() << kindName(v.tensor().element) << text(v.tensor().shape) << " norm "
               << llvm::format("%.12g", norm(v.tensor())) << "\n";
  if (print)
    printElements(v.tensor());
}

static FailureOr<std::vector<Value>> evaluate(ModuleOp module, func::FuncOp f, ArrayRef<Value> arguments) {
  Options options;
  options.hasFloat32Attributes = float32Attributes;
  if (trace)
    options.afterResult = [](OpResult r, const Value &v) {
      if (v.isTensor())
        llvm::outs() << r.getOwner()->getName() << "#" << r.getResultNumber() << " "
                     << kindName(v.tensor().element) << text(v.tensor().shape) << " norm "
                     << llvm::format("%.12g", norm(v.tensor())) << "\n";
    };
  Evaluator evaluator(module, makeWeights(seed), std::move(options));
  auto start = std::chrono::steady_clock::now();
  auto results = evaluator.call(f.getName(), arguments);
  if (timing)
    llvm::outs() << f.getName() << ": "
                 << llvm::format(
                        "%.2f s\n",
                        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return results;
}

static FailureOr<func::FuncOp> find(ModuleOp module, StringRef name) {
  if (auto f = module.lookupSymbol<func::FuncOp>(name))
    return f;
  auto error = module.emitError("has no function '") << name << "'";
  for (auto f : module.getOps<func::FuncOp>())
    error.attachNote(f.getLoc()) << "has '" << f.getName() << "'";
  return failure();
}

/// Rows of each call to make.
static std::vector<int64_t> callTokens() {
  return tokens.empty() ? std::vector<int64_t>{65} : std::vector<int64_t>(tokens.begin(), tokens.end());
}

static CallSizes callSizes() {
  CallSizes sizes;
  sizes.tokens = callTokens().front();
  sizes.sequences = sequences;
  sizes.past.assign(past.begin(), past.end());
  sizes.context = context;
  sizes.seed = seed;
  return sizes;
}

/// Checks one function against its `llm.expect`: one dense attribute per result, or unit for a result of no
/// interest.
static LogicalResult checkExpectation(ModuleOp module, func::FuncOp f, ArrayAttr expected) {
  auto arguments = makeArguments(f, callSizes());
  if (failed(arguments))
    return failure();
  auto results = evaluate(module, f, *arguments);
  if (failed(results))
    return failure();
  if (expected.size() != results->size())
    return f.emitError("expects ") << expected.size() << " results, has " << results->size();
  for (auto [i, want] : llvm::enumerate(expected)) {
    auto dense = dyn_cast<DenseElementsAttr>(want);
    if (!dense)
      continue;
    const Value &v = (*results)[i];
    Tensor got = v.isTensor() ? v.tensor() : Tensor();
    if (v.isScalar()) {
      got.element = *elementOf(f.getResultTypes()[i]);
      got.cells.push_back(v.scalar());
    }
    Tensor wanted = tensorOf(dense, isReal(got.element) ? Element::F64 : got.element);
    if (isa<FloatType>(dense.getElementType()) != isReal(got.element) ||
        ArrayRef<int64_t>(wanted.shape) != ArrayRef<int64_t>(got.shape))
      return f.emitError("result ") << i << " has shape " << text(got.shape) << ", expected is "
                                    << dense.getType();
    Difference d(wanted, got);
    bool isWrong = !(d.largest <=
                     tolerance * std::max(1.0, isReal(wanted.element) ? std::fabs(wanted.real(d.at)) : 1.0));
    if (isWrong) {
      std::string a, b;
      llvm::raw_string_ostream(a) << llvm::format(
          "%.12g", isReal(wanted.element) ? wanted.real(d.at) : (double)wanted.integer(d.at));
      llvm::raw_string_ostream(b) << llvm::format("%.12g", isReal(got.element) ? got.real(d.at)
                                                                               : (double)got.integer(d.at));
      if (print)
        printElements(got);
      return f.emitError("result ") << i << " element " << d.at << ": expected " << a << ", got " << b;
    }
  }
  llvm::outs() << "as expected: " << f.getName() << "\n";
  return success();
}

static LogicalResult checkExpectations(ModuleOp module) {
  bool isRight = true, hasAny = false;
  for (auto f : module.getOps<func::FuncOp>())
    if (auto expected = f->getAttrOfType<ArrayAttr>("llm.expect")) {
      hasAny = true;
      isRight &= succeeded(checkExpectation(module, f, expected));
    }
  if (!hasAny)
    return module.emitError("has no function with 'llm.expect'");
  return success(isRight);
}

/// Compiled code for the levels that this machine executes.
static FailureOr<std::vector<std::pair<std::string, std::unique_ptr<Compiled>>>>
compileLevels(ModuleOp module, ModuleOp tiles) {
  std::vector<std::pair<std::string, std::unique_ptr<Compiled>>> all;
  for (const std::string &name : compiledLevels) {
    llvm::Expected<CpuLevel> level = CpuLevel::parse(name);
    if (!level)
      return module.emitError(llvm::toString(level.takeError()));
    if (!level->runsHere()) {
      llvm::errs() << "note: this machine does not execute " << name << ", skipped\n";
      continue;
    }
    auto start = std::chrono::steady_clock::now();
    auto compiled = Compiled::create(tiles, *level, makeWeights(seed));
    if (!compiled)
      return module.emitError(llvm::toString(compiled.takeError()));
    if (timing)
      llvm::outs() << "compiled for " << name << ": "
                   << llvm::format(
                          "%.2f s\n",
                          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    all.push_back({name, std::move(*compiled)});
  }
  return all;
}

/// The numbers of the arguments as storage holds them.
static void roundToStorage(std::vector<Value> &arguments) {
  for (Value &v : arguments)
    if (v.isTensor() && isReal(v.tensor().element))
      for (Cell &c : v.writable().cells)
        c.real = roundTo(v.tensor().element, c.real);
}

static LogicalResult checkCompiled(ModuleOp module) {
  std::vector<func::FuncOp> functions;
  if (!functionName.empty()) {
    auto f = find(module, functionName);
    if (failed(f))
      return failure();
    functions.push_back(*f);
  } else {
    for (auto f : module.getOps<func::FuncOp>())
      if (f.isPublic() && !f->hasAttr("llm.kernel"))
        functions.push_back(f);
  }
  OwningOpRef<ModuleOp> tiles = lowerToTiles(module);
  if (!tiles)
    return failure();
  auto compiled = compileLevels(module, *tiles);
  if (failed(compiled))
    return failure();
  bool isRight = true;
  for (func::FuncOp f : functions)
    for (int64_t rows : callTokens()) {
      CallSizes sizes = callSizes();
      sizes.tokens = rows;
      sizes.sequences = std::min(sizes.sequences, rows);
      CheckedCall call{f, {}, {}, ""};
      auto arguments = makeArguments(f, sizes, &call.table);
      if (failed(arguments))
        return failure();
      call.arguments = std::move(*arguments);
      roundToStorage(call.arguments);
      auto wanted = evaluate(module, f, call.arguments);
      if (failed(wanted))
        return failure();
      for (auto &[level, code] : *compiled) {
        call.label = (f.getName() + " " + level + " T=" + Twine(positionsOf(call.table).dim(0)) + ": ").str();
        isRight &= succeeded(checkCall(*code, call, *wanted, tolerance));
        if (rowsAlone)
          isRight &= succeeded(checkRowsAlone(*code, call));
      }
    }
  return success(isRight);
}

/// Evaluates the public functions as tile programs and writes what their kernels got and gave.
static LogicalResult writeCases(ModuleOp module) {
  OwningOpRef<ModuleOp> tiles = lowerToTiles(module);
  if (!tiles)
    return failure();
  std::vector<KernelCase> cases;
  for (auto f : tiles->getOps<func::FuncOp>()) {
    if (!f.isPublic() || f->hasAttr("llm.kernel"))
      continue;
    for (int64_t rows : callTokens()) {
      CallSizes sizes = callSizes();
      sizes.tokens = rows;
      sizes.sequences = std::min(sizes.sequences, rows);
      auto arguments = makeArguments(f, sizes);
      if (failed(arguments))
        return failure();
      Options options;
      options.mostTrips = 2; // later ones have the kernels of the first
      recordCases(options, (f.getName() + " " + Twine(rows)).str(), cases);
      Evaluator evaluator(*tiles, makeWeights(seed), std::move(options));
      if (failed(evaluator.call(f.getName(), *arguments)))
        return failure();
    }
  }
  if (cases.empty())
    return module.emitError("has no public function that launches kernels");
  std::error_code error;
  llvm::raw_fd_ostream out(casesFile, error);
  out << llmc::writeCases(cases);
  out.close();
  if (error || out.has_error())
    return module.emitError("cannot write '") << casesFile << "': " << (error ? error : out.error()).message();
  llvm::outs() << cases.size() << " cases\n";
  return success();
}

static LogicalResult run(ModuleOp module, MLIRContext &mlirContext) {
  if (!casesFile.empty())
    return writeCases(module);
  if (expect)
    return checkExpectations(module);
  if (!compiledLevels.empty())
    return checkCompiled(module);
  if (functionName.empty())
    return module.emitError("--function or --expect is needed");
  auto f = find(module, functionName);
  if (failed(f))
    return failure();
  auto arguments = makeArguments(*f, callSizes());
  if (failed(arguments))
    return failure();
  auto results = evaluate(module, *f, *arguments);
  if (failed(results))
    return failure();
  if (compareFile.empty() && compareFunction.empty()) {
    for (auto [i, v] : llvm::enumerate(*results))
      printResult(i, v);
    return success();
  }
  OwningOpRef<ModuleOp> other;
  if (!compareFile.empty()) {
    other = parseSourceFile<ModuleOp>(compareFile, ParserConfig(&mlirContext));
    if (!other)
      return failure();
  }
  ModuleOp second = other ? *other : module;
  auto g = find(second, compareFunction.empty() ? functionName : compareFunction);
  if (failed(g))
    return failure();
  auto again = evaluate(second, *g, *arguments);
  return failed(again) ? failure() : compare(*results, *again, tolerance, g->getLoc());
}

} // namespace llmc::reference

int main(int argc, char **argv) {
  using namespace llmc::reference;
  llvm::InitLLVM init(argc, argv);
  cl::ParseCommandLineOptions(argc, argv, "reference evaluator\n");
  DialectRegistry registry;
  registry.insert<affine::AffineDialect, arith::ArithDialect, bufferization::BufferizationDialect,
                  func::FuncDialect, linalg::LinalgDialect, math::MathDialect, memref::MemRefDialect,
                  scf::SCFDialect, tensor::TensorDialect, vector::VectorDialect, llmc::llm::LlmDialect,
                  llmc::plan::PlanDialect>();
  llmc::registerCpuDialects(registry);
  MLIRContext mlirContext(registry);
  mlirContext.printOpOnDiagnostic(false);
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler diagnostics(sources, &mlirContext);
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(inputFile, sources, &mlirContext);
  return module && succeeded(run(*module, mlirContext)) ? 0 : 1;
}
