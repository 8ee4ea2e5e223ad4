// `llmc compile`: from a Hugging Face directory, or the dialect as text, to an artifact or to any stage's
// text.
#pragma once
#include "absl/status/status.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Operation.h"
#include <string>
#include <vector>

namespace llmc {

struct CompileCommand {
  std::string input;          ///< directory or .mlir file
  std::string weights;        ///< directory with the weights of a .mlir file
  std::string heads;          ///< directory of what is added to the model (AutoDeco's heads), or empty
  std::string output;         ///< -o; empty: text to standard output
  std::string target = "cpu"; ///< "cpu" or "cuda"
  std::vector<std::string> levels = {"native"};
  std::vector<std::string> archs = {"sm_90a"}; ///< of target cuda
  bool isSimulated = false;                    ///< target cuda: host code for the simulator
  bool overlapsLaunches = false;               ///< see CudaOptions
  bool isPersistent = false;                   ///< target cuda: `advance` as one kernel too
  std::string ptxas;                           ///< see CudaOptions
  int64_t maxTokens = 0;                       ///< most rows in one call; 0: the passes' own
  std::string emit;                            ///< a stage's name, or empty for an artifact
  std::string dumpDir;
  bool hasWeights = true;      ///< false: from config.json alone; the artifact can be looked at and not run
  bool hasModelText = true;    ///< false: without the text of the model that `llmc verify` reads
  bool allowNonFinite = false; ///< weights may be NaN or infinite
  bool printPasses = false;
  bool progress = true; ///< a progress bar where standard error is a terminal
};

/// The text of a module of any stage, as --emit prints it and as artifacts carry the model: the same for
/// equal modules.
std::string textOf(mlir::Operation *module);

/// Runs the command; diagnostics of passes go to standard error.
absl::Status compile(const CompileCommand &command);

/// Registers and loads what modules of any stage are made of.
void loadCompilerDialects(mlir::MLIRContext &context);

/// The passes of every stage with their summaries.
void printPasses(FILE *out);

} // namespace llmc
