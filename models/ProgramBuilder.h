// The three programs of a model, around its layers: one token after the other, or by filling masks on a canvas.
#pragma once
#include "models/ModelBuilder.h"

namespace llmc {

/// Emits one program into the builder's module.
class ProgramBuilder {
public:
  ProgramBuilder(ModelBuilder &model, llvm::StringRef name, const ModelBuilder::Ends &ends, const ModelFacts &facts);
  void build();

  /// tensor<?x4xi32>: bounds or progress.
  static mlir::RankedTensorType numbers(mlir::OpBuilder &b);

private:
  using Value = mlir::Value;

  void buildTokenByToken();
  void buildOnCanvas();
  void advanceOnCanvas();
  void buildByPatch();
  void advanceByPatch();
  void scorePatches(Value hidden, Value tokenRows, Value patchRows);
  void reconstruct();

  // Arguments and results of the function.
  mlir::DictionaryAttr named(llvm::StringRef key, llvm::StringRef value, llvm::ArrayRef<llvm::StringRef> dims,
                             int64_t limit = 0);
  Value argument(mlir::Type type, mlir::DictionaryAttr attrs);
  Value tokens(llvm::StringRef dim);
  /// A table of sequences; with `rows`, the postfix terms of the positions from and to which it has rows.
  Value sequences(llvm::StringRef name, llvm::ArrayRef<llvm::StringRef> rows = {});
  Value sampling();
  Value draws();
  Value settings();
  Value bounds();
  void give(Value v, mlir::DictionaryAttr attrs);

  /// Declares the states of all layers; `states` holds their current values from then on.
  void declareStates();
  void giveStates();
  Value table();
  /// The hidden states after all layers; replaces `states`. `seen`: see LayerBuilder; null: the rows of `sequences`.
  Value forward(Value tokens, Value sequences, Value seen = {});
  Value normalized(Value hidden);
  Value forwardLayers(Value x, Value sequences, Value seen = {});
  Value logits(Value normalized);

  // On a canvas: one forward and what it commits.
  struct Canvas {
    Value tokens, progress, more;
  };
  struct CanvasInputs {
    Value block, seen, bounds, settings, sampling, draws;
    Value unprompted = {}; ///< rows of guidance's forward; null without guidance
  };
  Value blockStates(const Canvas &canvas, Value sequences, const CanvasInputs &in, bool seesPrompt);
  llm::NextRowsOp nextRows(const Canvas &canvas, Value later, const CanvasInputs &in);
  // By the patch.
  Value regroup(Value x, int64_t columns, Value from, Value into);
  /// Hidden states of the patches of these tokens.
  Value forwardPatches(Value tokens, Value tokenRows, Value patchRows);
  /// The largest columns of decoded latents: a token for each of `tokenRows`.
  Value tokensOf(Value latents, Value latentRows, Value tokenRows);
  PatchDecoding::Weights weights();

  Canvas denoise(const Canvas &canvas, Value sequences, const CanvasInputs &in);
  Canvas denoiseInSteps(Canvas canvas, Value later, const CanvasInputs &in);

  ModelBuilder &model;
  const ModelBuilder::Ends &ends;
  const ModelFacts &facts;
  std::string name;
  mlir::OpBuilder &builder;
  mlir::Location loc;
  BlockBuilder b;
  mlir::func::FuncOp function;
  mlir::Block *block = nullptr;
  llvm::SmallVector<mlir::DictionaryAttr> argAttrs, resultAttrs, stateAttrs;
  llvm::SmallVector<Value> results, states;
};

} // namespace llmc
