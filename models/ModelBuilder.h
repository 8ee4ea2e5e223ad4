// What a family file builds a model with: layer functions shared by equal layers, weights and states by name,
// and the three programs. Nothing here knows a family.
#pragma once
#include "dialect/llm/LlmDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <functional>
#include <map>
#include <set>
#include <string>

namespace llmc {

/// The stored element type of a checkpoint's tensor; null if there is no such tensor (or no checkpoint).
/// Asked for the empty name, the type to assume then; null: bf16.
using WeightType = std::function<mlir::Type(llvm::StringRef name)>;

/// A weight that a layer uses: name inside the layer (after the layer's prefix) and shape; `stack` > 0 for
/// stacked expert tensors.
struct LayerWeight {
  std::string name;
  llvm::SmallVector<int64_t> shape;
  int64_t stack = 0;
  std::vector<llvm::SmallVector<int64_t>> alternatives = {}; ///< other shapes in which checkpoints store it
  mlir::Type usual = {}; ///< type to assume without a checkpoint; null: that of most tensors
};

/// A state: name inside the layer, shape with dynamic sizes, and the symbols of those ("SLOTS", "CTX",
/// "CTXB").
struct LayerState {
  std::string name;
  llvm::SmallVector<int64_t> shape;
  llvm::SmallVector<std::string> dims;
};

/// Emits `llm` ops. Shapes of activations are [T, N]; every method returns its result value.
class BlockBuilder {
public:
  BlockBuilder(mlir::OpBuilder &builder, mlir::Location loc) : b(builder), loc(loc) {}

  /// With `column`, by the weight's columns from there on.
  mlir::Value linear(mlir::Value x, mlir::Value weight, int64_t column = 0);
  mlir::Value linear(mlir::Value x, mlir::Value weight, mlir::Value bias); // bias may be null
  mlir::Value rmsNorm(mlir::Value x, mlir::Value weight, double eps, mlir::Value gate = {});
  mlir::Value layerNorm(mlir::Value x, mlir::Value weight, mlir::Value bias, double eps);
  mlir::Value l2Norm(mlir::Value x, int64_t heads, double eps, double scale = 1.0);
  mlir::Value slice(mlir::Value x, int64_t offset, int64_t columns);
  mlir::Value add(mlir::Value x, mlir::Value y);
  mlir::Value sigmoid(mlir::Value x);
  mlir::Value silu(mlir::Value x);
  /// silu(gate) * up
  mlir::Value siluMul(mlir::Value gate, mlir::Value up);
  /// Rows `from .. from + count` of each group of a stored weight [groups, R, K] (whatever its rank), as
  /// [groups, count, K].
  mlir::Value weightRows(mlir::Value weight, int64_t groups, int64_t from, int64_t count);

  /// How tokens choose experts: see llm.route.
  struct Routing {
    int64_t topK = 1;
    std::string scoring = "softmax";
    bool renormalize = false;
    double scale = 1.0;
    int64_t groups = 1, topGroups = 1;
    mlir::Value bias = {}; ///< [E], for the selection only; may be null
  };
  /// The weighted sum of down(silu(gate x) * up x) over the experts chosen by `logits` [T, E]; gate and up
  /// [E, I, D], down [E, D, I].
  mlir::Value experts(mlir::Value x, mlir::Value logits, const Routing &routing, mlir::Value gate,
                      mlir::Value up, mlir::Value down);
  /// The scalar function `body` at every element.
  mlir::Value map(mlir::ValueRange inputs,
                  llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::ValueRange)> body);

  /// tensor<?xNxf32>
  mlir::RankedTensorType rows(int64_t columns) const;
  mlir::Type f32() const { return b.getF32Type(); }

  mlir::OpBuilder &b;
  mlir::Location loc;
};

/// Emits one layer's body. Its weights and states become arguments of the layer's function.
class LayerBuilder : public BlockBuilder {
public:
  using BlockBuilder::BlockBuilder;
  mlir::Value x;         ///< the residual stream [T, D]
  mlir::Value sequences; ///< !llm.sequences
  /// The value that the model shares among layers under this name (a rotary table); null if there is none.
  mlir::Value shared;
  /// The table up to whose rows attention sees, where those of `sequences` may be fewer; else null (see llm.attention).
  mlir::Value seen;

  /// `usual`: the type in which checkpoints store it, if that is another than of most tensors.
  mlir::Value weight(llvm::StringRef name, llvm::ArrayRef<int64_t> shape,
                     std::vector<llvm::SmallVector<int64_t>> alternatives = {}, mlir::Type usual = {});
  /// `stack` tensors named with `{}` in the place of 0 .. stack-1, as [stack, shape...].
  mlir::Value stackedWeight(llvm::StringRef name, int64_t stack, llvm::ArrayRef<int64_t> shape);
  /// Declares a state; `setState` gives its new value.
  mlir::Value state(llvm::StringRef name, llvm::ArrayRef<int64_t> shape,
                    llvm::ArrayRef<llvm::StringRef> dims);
  void setState(llvm::StringRef name, mlir::Value updated);

private:
  friend class ModelBuilder;
  mlir::func::FuncOp function;
  std::string prefix;
  llvm::function_ref<mlir::Type(llvm::StringRef, mlir::Type usual)> storedType;
  std::vector<LayerWeight> weights;
  std::vector<LayerState> states;
  std::vector<mlir::Value> updated;
};

/// Facts about a model that the runtime and the tools need.
struct ModelFacts {
  std::string family;
  int64_t vocab = 0;
  int64_t context = 0; ///< longest supported sequence, tokens
};

/// A parameter of generation, one column of `settings` (CanvasOps.td). Its value is a number, or the place of a word in `words`.
struct Setting {
  std::string name; ///< "steps", as on the command line
  unsigned column = 0;
  double standard = 0, least = 0, most = 0;
  bool isWhole = true;
  std::vector<std::string> words = {};
  std::string key = {}; ///< of generation_config.json, where that may give another default; "": none
};

/// Most forwards of a block whose tokens may still change when no mask is left.
inline constexpr int64_t kMostPolishing = 64;

/// How a model writes by filling masks, for ModelBuilder::Ends.
struct CanvasDecoding {
  int64_t mask = 0;
  std::string rule = "transfer"; ///< of llm.unmask
  bool isTempered = false;       ///< of llm.predict
  int64_t shift = 0;             ///< row i predicts position i + shift
  /// Attention sees whole blocks of that many positions and what is before them, and their keys and values are kept when they are
  /// finished. None: it sees the whole canvas, and keys and values are made anew.
  std::optional<int64_t> block = {};
  /// A block's first token is predicted by the row before it, with a forward of that row alone.
  bool isAnchored = false;
  /// A step after the first computes those rows of the block only that llm.next_rows names; the others' keys and values stay.
  bool narrowsSteps = false;
  /// Blocks are as long as the setting `block` says; else the block is all that is to be filled.
  bool isSemiAutoregressive = true;
  /// Has the setting `guidance`: another forward, which does not see the prompt.
  bool isGuided = false;
  std::vector<Setting> settings = {};
};

/// How a model works on patches of tokens, for ModelBuilder::Ends. Rows are [P, N], one a patch, where not said otherwise; `Weights` makes a
/// tensor of the checkpoint by name and shape.
struct PatchDecoding {
  using Weights = std::function<mlir::Value(const std::string &name, llvm::ArrayRef<int64_t> shape)>;
  using Part = std::function<mlir::Value(BlockBuilder &, const Weights &, mlir::Value x)>;
  int64_t patch = 1;  ///< tokens
  int64_t filler = 0; ///< token that completes a prompt's last patch

  /// An autoencoder alone: tokens [T, D] of the table, then patches [P, K D], to latents.
  Part encodeTokens, encodePatches;

  // A language model: latents are drawn, not encoded.
  Part compress; ///< embedded patches [P, K D] to the hidden states [P, D] that enter the layers
  Part context;  ///< the last hidden states to all that draws from them share
  int64_t noise = 0; ///< random numbers that a draw takes
  std::function<mlir::Value(BlockBuilder &, const Weights &, mlir::Value noise, mlir::Value context)> draw;

  Part expand; ///< latents to [P, K N]
  Part decode; ///< [K P, N], one row a token, to logits
  std::vector<Setting> settings = {};
};

/// Builds the module: declare layers in order, then `finish`.
class ModelBuilder {
public:
  ModelBuilder(mlir::MLIRContext *context, WeightType weightType);

  /// Adds layer `index`: `kind` names the structure; layers of one kind whose weights have equal types share
  /// one function. `prefix` is put before the names of its weights ("model.layers.3.").
  void layer(llvm::StringRef kind, int64_t index, std::string prefix,
             llvm::function_ref<void(LayerBuilder &)> body);

  /// Names and how to enter and leave the stack of layers.
  struct Ends {
    std::string embedding; ///< table [vocab, D]
    std::string norm;      ///< final norm [D]
    std::string head;      ///< [vocab, D]; equal to `embedding` when tied
    int64_t hidden = 0;
    double eps = 1e-5;
    /// Makes the value that layers share (rotary table); may be empty.
    std::function<mlir::Value(BlockBuilder &, mlir::Value sequences)> shared;
    /// None: one token after the other.
    std::optional<CanvasDecoding> canvas = {};
    std::optional<PatchDecoding> patch = {};
  };

  /// Emits `ingest`, `advance` and `score` and returns the verified module, or null after a diagnostic.
  mlir::OwningOpRef<mlir::ModuleOp> finish(const Ends &ends, const ModelFacts &facts);

  /// Every tensor that the model reads, in the order of first use: name (with `{}` if stacked), shape of one,
  /// stack count.
  const std::vector<LayerWeight> &tensors() const { return tensorList; }
  /// Whether the checkpoint has that tensor, and its stored element type (if not, `usual` or that of most).
  bool has(llvm::StringRef name) const { return weightType(name) != mlir::Type(); }
  mlir::Type storedType(llvm::StringRef name, mlir::Type usual = {});

private:
  friend class ProgramBuilder;
  struct Kind {
    mlir::func::FuncOp function;
    std::vector<LayerWeight> weights;
    std::vector<LayerState> states;
  };
  struct Layer {
    size_t kind;
    int64_t index;
    std::string prefix;
  };
  std::string signature(llvm::StringRef kind, llvm::StringRef prefix,
                        const std::vector<LayerWeight> &weights);
  mlir::Value weightOp(BlockBuilder &b, const std::string &prefix, const LayerWeight &weight);

  void describe(const std::vector<Setting> &settings);

  mlir::OpBuilder builder;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  WeightType weightType;
  std::vector<Kind> kinds;
  std::map<std::string, std::vector<size_t>> kindsByName;
  std::map<std::string, size_t> kindBySignature;
  std::vector<Layer> layers;
  std::vector<LayerWeight> tensorList;
  std::set<std::string> knownTensors;
  int64_t hidden = 0;
  int64_t sharedColumns = 0;
  bool seesBeyondRows = false;

public:
  /// Width of the residual stream and of the shared value (0 = none); set before the first layer.
  void setWidths(int64_t hiddenColumns, int64_t sharedWidth) {
    hidden = hiddenColumns;
    sharedColumns = sharedWidth;
  }
  /// Layers get `seen`; set before the first layer.
  void seeBeyondRows() { seesBeyondRows = true; }
};

} // namespace llmc
