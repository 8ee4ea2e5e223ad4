// The products that the compiler makes for sm_90a (wgmma, TMA, mbarriers) from a tile program: compared with a plain host loop at awkward
// sizes, and with mistakes planted in the generated code that must be found.
#include "codegen/cuda/CudaTarget.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "test/codegen/sim/Simulation.h"

namespace llmc::test {
namespace {

using mlir::Operation;
using Mutation = std::function<void(mlir::ModuleOp)>;

struct Shape {
  int rows, k, columns, tiles = 1;
  int depth = 0, at = 0; ///< columns of x (0: k) and where the product's begin
  int together = 0;      ///< tiles of rows that are taken together
};

class Product {
public:
  explicit Product(Shape s) : s(s) {
    if (!s.depth)
      this->s.depth = s.k;
    panels = (s.columns + 31) / 32;
    allPanels = panels * s.tiles + 1;
    n = s.columns * s.tiles;
    for (int i = 0; i < s.rows * this->s.depth; ++i)
      x.push_back(bf16Of(exactValue(size_t(i))));
    for (int i = 0; i < 3 * allPanels * s.k * 32; ++i)
      w.push_back(bf16Of(exactValue(size_t(i) * 3 + 7)));
    y.assign(size_t(s.rows) * n, -1.0f);
  }

  /// The simulator's report of running the compiled tile program in `blocks` blocks.
  std::string run(unsigned blocks) {
    CudaCode code = compile();
    return code.bytes.empty() ? "not compiled" : launch(code.bytes, code.launches["k"], blocks);
  }

  CudaCode compile() {
    CudaOptions options;
    options.isSimulated = true;
    mlir::MLIRContext context;
    auto module = parse(context);
    auto code = compileCudaKernels(*module, llvm::cantFail(CudaArch::parse("sm_90a")), options);
    if (code)
      return std::move(*code);
    ADD_FAILURE() << llvm::toString(code.takeError());
    return {};
  }

  /// The same with a mistake: in the code, or in the launch's data.
  std::string runWrong(const Mutation &mutate, const std::function<void(runtime::KernelLaunch &)> &change = {}) {
    CudaOptions options;
    options.ptxas = "none";
    mlir::MLIRContext context;
    auto module = parse(context);
    auto code = compileCudaKernels(*module, llvm::cantFail(CudaArch::parse("sm_90a")), options);
    registerCudaTarget();
    mlir::PassManager pm(&context);
    EXPECT_TRUE(succeeded(mlir::parsePassPipeline("cuda-lower-tiles{warpgroups=true shared-bytes=229376}", pm)));
    EXPECT_TRUE(code && succeeded(pm.run(*module)));
    if (mutate)
      mutate(*module);
    auto bytes = compileForSimulator(*module);
    if (!bytes) {
      ADD_FAILURE() << llvm::toString(bytes.takeError());
      return "not compiled";
    }
    runtime::KernelLaunch own = code->launches["k"];
    if (change)
      change(own);
    return launch(*bytes, own, isClustered() ? 2 : 1);
  }

  bool isRight() const {
    for (int t = 0; t < s.rows; ++t)
      for (int j = 0; j < n; ++j) {
        const int panel = j / s.columns * panels + j % s.columns / 32, column = j % s.columns % 32;
        float sum = 0;
        for (int k = 0; k < s.k; ++k)
          sum += valueX(t, k) * (valueW(2, panel, k, column) + valueW(0, panel + 1, k, column));
        if (y[size_t(t) * n + j] != 2 * sum) {
          ADD_FAILURE() << "row " << t << " column " << j << ": " << y[size_t(t) * n + j] << ", not " << 2 * sum;
          return false;
        }
      }
    return true;
  }
  const std::vector<float> &result() const { return y; }

private:
  bool isClustered() const { return s.together && s.columns > 128; }
  float valueX(int t, int k) const { return exactValue(size_t(t) * s.depth + s.at + k); }
  float valueW(int matrix, int panel, int k, int column) const {
    return exactValue((((size_t(matrix) * allPanels + panel) * s.k + k) * 32 + column) * 3 + 7);
  }

  mlir::OwningOpRef<mlir::ModuleOp> parse(mlir::MLIRContext &context) {
    mlir::DialectRegistry registry;
    registerCudaDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    auto number = [](int v) { return std::to_string(v); };
    std::string text = readKernel("tiles/product", "", {{"D", number(s.depth)},
                                                  {"K", number(s.k)},
                                                  {"C", number(s.columns)},
                                                  {"P", number(panels)},
                                                  {"N", number(n)},
                                                  {"AT", number(s.at)},
                                                  {"ORDER", s.together ? ", llm.rows_together = " + number(s.together) + " : i64" : ""},
                                                  {"TILES", number(s.tiles)},
                                                  {"PANELS", number(allPanels)}});
    return mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  }

  std::string launch(const std::vector<char> &bytes, const runtime::KernelLaunch &l, unsigned blocks) {
    runtime::Dims sizes = {s.rows, 0, 0, 0, 0};
    int64_t workgroups = runtime::evaluateGrid(l.grid, sizes).value_or(-1);
    int tilesOfRows = (s.rows + 127) / 128;
    EXPECT_EQ(workgroups, s.tiles * (isClustered() ? (tilesOfRows + 1) / 2 * 2 : tilesOfRows));
    if (l.tensorMaps.size() != 2) {
      ADD_FAILURE() << l.tensorMaps.size() << " tensor maps";
      return "not on warpgroups";
    }
    std::vector<char> scratch(1);
    std::vector<cuda::TensorMapBytes> maps;
    std::vector<Argument> arguments{buffer(x), buffer(w), buffer(y)};
    for (int64_t &dim : sizes)
      arguments.push_back(scalar(dim));
    arguments.push_back(buffer(scratch));
    arguments.push_back(scalar(workgroups));
    addTensorMaps(arguments, l, sizes, maps);
    LaunchShape shape;
    shape.blocks = blocks;
    shape.threads = l.threads;
    shape.sharedBytes = l.sharedBytes;
    return launchKernel(bytes, l.symbol, shape, arguments);
  }

  Shape s;
  int panels, allPanels, n;
  std::vector<uint16_t> x, w;
  std::vector<float> y;
};

TEST(WarpgroupProducts, AreTheHostsAtAwkwardSizes) {
  for (Shape s : {Shape{1, 8, 8}, {129, 72, 72}, {200, 64, 128}, {16, 328, 40}, {128, 400, 256}, {200, 72, 256, 2}, {1, 136, 160},
                  {129, 40, 224}, {3, 24, 32, 3}, {70, 64, 96, 1, 200, 72}}) {
    Product p(s);
    EXPECT_EQ(p.run(1), "") << s.rows << " " << s.k << " " << s.columns;
    EXPECT_TRUE(p.isRight()) << s.rows << " rows, " << s.k << " k, " << s.columns << " columns";
  }
}

TEST(WarpgroupProducts, BlocksThatTakeSeveralWorkgroupsGiveTheSame) {
  // Three workgroups of five tiles twice: the ring's phases go on through all of them.
  for (unsigned blocks : {1u, 2u, 6u}) {
    Product p({130, 320, 64, 3});
    EXPECT_EQ(p.run(blocks), "");
    EXPECT_TRUE(p.isRight()) << blocks << " blocks";
  }
}

TEST(WarpgroupProducts, ClustersGiveTheSame) {
  // One tile of rows, two, three and five, in bands of two and four; panels that two blocks can share out, and seven, which they cannot.
  for (Shape s : {Shape{1, 72, 256, 2}, {129, 64, 160, 2}, {300, 136, 256, 3}, {600, 24, 224, 2}}) {
    for (auto [together, blocks] : {std::pair(4, 2u), {2, 4u}}) {
      s.together = together;
      Product p(s);
      EXPECT_EQ(p.run(blocks), "") << s.rows << " rows, " << together << " together, " << blocks << " blocks";
      EXPECT_TRUE(p.isRight()) << s.rows << " rows, " << together << " together, " << blocks << " blocks";
    }
  }
}

/// The ops of type `Op` in a block that `isThere` likes, in order.
template <typename Op, typename Beside> std::vector<Operation *> opsBeside(mlir::ModuleOp module) {
  std::vector<Operation *> found;
  module.walk([&](Op op) {
    if (!op->getBlock()->template getOps<Beside>().empty())
      found.push_back(op);
  });
  return found;
}
template <typename Op, typename Beside> Mutation without() {
  return [](mlir::ModuleOp module) {
    auto found = opsBeside<Op, Beside>(module);
    EXPECT_FALSE(found.empty());
    for (Operation *op : found)
      op->erase();
  };
}

// Three tiles a product: the second finds the ring of four slots come round.
constexpr Shape kLong = {64, 192, 64};

TEST(WarpgroupProducts, ProducersAndConsumersWaitForEachOther) {
  using namespace mlir::NVVM;
  EXPECT_EQ(Product(kLong).runWrong({}), "");
  // Consumers do not wait for a full slot: they find it as it was before the first copy.
  expectFound(Product(kLong).runWrong(without<MBarrierTryWaitParityOp, WgmmaFenceAlignedOp>()),
              "reads memory that was never written: shared memory at offset");
  // The producer does not wait for an empty one.
  expectFound(Product(kLong).runWrong(without<MBarrierTryWaitParityOp, MBarrierArriveExpectTxOp>()), "shared memory at offset");
  // A slot is released while wgmma still reads it; accumulators are used in flight.
  auto withoutWait = [](uint64_t pending) {
    return [=](mlir::ModuleOp module) {
      std::vector<Operation *> found;
      module.walk([&](WgmmaWaitGroupSyncOp op) {
        if (op.getGroup() == pending)
          found.push_back(op);
      });
      EXPECT_FALSE(found.empty());
      for (Operation *op : found)
        op->erase();
    };
  };
  expectFound(Product(kLong).runWrong(withoutWait(1)), "shared memory at offset");
  expectFound(Product(kLong).runWrong(withoutWait(0)), "accumulator");
  expectFound(Product(kLong).runWrong(without<WgmmaFenceAlignedOp, WgmmaFenceAlignedOp>()), "without a wgmma.fence");
  // The barriers are used before they are made.
  std::string report = Product(kLong).runWrong([](mlir::ModuleOp module) {
    Operation *first = nullptr;
    module.walk([&](Barrier0Op op) {
      if (!first)
        first = op;
    });
    ASSERT_TRUE(first);
    first->erase();
  });
  expectFound(report, "nvvm.mbarrier.");
}

TEST(WarpgroupProducts, WrongTransactionBytesAreFound) {
  for (int32_t more : {-64, 64})
    expectFound(Product(kLong).runWrong([=](mlir::ModuleOp module) {
      module.walk([&](mlir::NVVM::MBarrierArriveExpectTxOp op) {
        mlir::OpBuilder b(op);
        auto bytes = op.getTxcount().getDefiningOp<mlir::LLVM::ConstantOp>();
        ASSERT_TRUE(bytes);
        int64_t right = mlir::cast<mlir::IntegerAttr>(bytes.getValue()).getInt();
        op.getTxcountMutable().assign(
            mlir::LLVM::ConstantOp::create(b, op.getLoc(), b.getI32Type(), b.getI32IntegerAttr(int32_t(right + more))));
      });
    }),
                "bytes");
}

TEST(WarpgroupProducts, WrongSwizzlesGiveWrongNumbers) {
  Product right(kLong);
  EXPECT_EQ(right.run(1), "");
  // x: 128 bytes are right; w: 64 are, in rows that fit both.
  for (auto [map, swizzle] : {std::pair<size_t, uint8_t>{0, 3}, {0, 0}, {1, 2}, {1, 3}, {1, 0}}) {
    Product other(kLong);
    const bool isRight = map + swizzle == 3;
    EXPECT_EQ(other.runWrong({}, [&](runtime::KernelLaunch &l) { l.tensorMaps[map].swizzle = swizzle; }), "");
    EXPECT_EQ(other.result() == right.result(), isRight) << "map " << map << " swizzle " << int(swizzle);
  }
}

// Two tiles of rows and two of columns, each product three tiles of k, twice round a ring of two slots and more.
constexpr Shape kClustered = {256, 192, 256, 2, 0, 0, 2};

/// Makes the cluster's barrier before the products one of the block, or that after them.
Mutation withoutClusterBarrier(bool isFirst) {
  return [=](mlir::ModuleOp module) {
    std::vector<Operation *> arrivals, waits;
    module.walk([&](mlir::NVVM::ClusterArriveOp op) { arrivals.push_back(op); });
    module.walk([&](mlir::NVVM::ClusterWaitOp op) { waits.push_back(op); });
    ASSERT_EQ(arrivals.size(), 2u);
    ASSERT_EQ(waits.size(), 2u);
    Operation *arrival = isFirst ? arrivals.front() : arrivals.back();
    mlir::OpBuilder b(arrival);
    mlir::NVVM::Barrier0Op::create(b, arrival->getLoc());
    arrival->erase();
    (isFirst ? waits.front() : waits.back())->erase();
  };
}

TEST(WarpgroupProducts, BlocksOfAClusterWaitForEachOther) {
  EXPECT_EQ(Product(kClustered).runWrong({}), "");
  // Before the other block has its mbarriers; after it has ended.
  expectFound(Product(kClustered).runWrong(withoutClusterBarrier(true)), "nvvm.");
  expectFound(Product(kClustered).runWrong(withoutClusterBarrier(false)), "of its cluster, which has ended");
  // A warp tells its own block twice that it has read a slot, and the other never: that writes it too early.
  expectFound(Product(kClustered).runWrong([](mlir::ModuleOp module) {
    bool isThere = false;
    module.walk([&](mlir::NVVM::MapaOp op) {
      isThere = true;
      mlir::OpBuilder b(op);
      mlir::Type i32 = b.getI32Type();
      mlir::Value block = mlir::NVVM::BlockIdXOp::create(b, op.getLoc(), i32);
      mlir::Value two = mlir::LLVM::ConstantOp::create(b, op.getLoc(), i32, b.getI32IntegerAttr(2));
      op.getBMutable().assign(mlir::LLVM::URemOp::create(b, op.getLoc(), block, two));
    });
    EXPECT_TRUE(isThere);
  }),
              "shared memory at offset");
  // Nobody fetches the other block's half.
  expectFound(Product(kClustered).runWrong([](mlir::ModuleOp module) {
    bool isThere = false;
    module.walk([&](mlir::NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp op) {
      isThere |= bool(op.getMulticastMask());
      op.getMulticastMaskMutable().clear();
    });
    EXPECT_TRUE(isThere);
  }),
              "waits for ever");
}

TEST(WarpgroupProducts, ClustersMustDivideTheGrid) {
  const runtime::CudaDriver &d = simulatedDriver();
  std::vector<char> code = Product(kClustered).compile().bytes;
  void *module = nullptr, *function = nullptr;
  ASSERT_EQ(d.cuModuleLoadData(&module, code.data()), cuda::kSuccess);
  ASSERT_EQ(d.cuModuleGetFunction(&function, module, "k"), cuda::kSuccess);
  EXPECT_EQ(d.cuLaunchKernel(function, 3, 1, 1, 32, 1, 1, 0, nullptr, nullptr, nullptr), cuda::kInvalidClusterSize);
  EXPECT_EQ(d.cuModuleUnload(module), cuda::kSuccess);
}

} // namespace
} // namespace llmc::test
