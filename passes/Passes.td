// Every target-independent pass of llmc: name, what it does, options. Registration is generated from here.
#ifndef LLMC_PASSES_TD
#define LLMC_PASSES_TD
include "mlir/Pass/PassBase.td"

//===-- graph: what is computed together ------------------------------------------------------------------===//

def NarrowActivations : Pass<"narrow-activations", "::mlir::ModuleOp"> {
  let summary = "activations and caches are stored as bf16";
  let description = [{
    The type of activations is chosen once, before anything is fused: a target with tensor cores wants bf16 operands and half the traffic. What chooses tokens and experts (logits, routing
    weights), tables of angles, gates, recurrent states, the residual stream (which every layer would round again), and what the caller gives and gets stay float32.
  }];
  let statistics = [Statistic<"numNarrowed", "values-narrowed", "values that became bf16">];
  let dependentDialects = ["::llmc::llm::LlmDialect"];
}

def FuseLinears : Pass<"fuse-linears", "::mlir::func::FuncOp"> {
  let summary = "linears that share their input become one";
  let description = [{
    `linear(x, a)`, `linear(x, b)` become `linear(x, [a, b])` and two slices, so that x is read (and normalised) once and one kernel streams all weights: q/k/v,
    gate/up, and the low-rank projections of a KDA layer. Weights of different storage types stay apart. The same for `llm.expert_linear`.
  }];
  let options = [Option<"align", "align", "int64_t", "32", "columns at whose multiples each product begins">];
  let statistics = [Statistic<"fused", "linears-fused", "linears that joined another one">];
  let dependentDialects = ["::llmc::llm::LlmDialect"];
}

def SpecializePrograms : Pass<"specialize-programs", "::mlir::ModuleOp"> {
  let summary = "gives `advance` its own layer functions, in one-token form";
  let description = [{
    A program in which every sequence brings one token wants other algorithms than a prompt: the delta rule token by token. Functions called from `advance` are
    cloned with the suffix `_step` and their mixers switched to that form: the delta rule to the recurrence, latent attention to the absorbed form. For prompts, latent attention
    takes the form with fewer operations.
  }];
  let dependentDialects = ["::llmc::llm::LlmDialect"];
}

def FormDispatches : Pass<"form-dispatches", "::mlir::func::FuncOp"> {
  let summary = "groups ops into dispatches, each of which becomes one kernel";
  let description = [{
    Every op that reads much or mixes rows is the root of a dispatch. It takes along, as its epilogue, the elementwise ops that alone use its result (activation, gate times up, residual
    add, gated head norm of a delta rule), and, as its prologue, the row-local ops that make its operands (norms, rotations, slices, concatenations, gates), which are cloned into every dispatch that
    needs them. Short convolutions join the delta rule that they feed, with their states. Three kinds of row-local ops are stored by a dispatch of their own instead: those that
    something outside of any dispatch reads, those that need whole rows or heads where a linear's epilogue, which works on 32 columns at a time, reads them, and concatenations that
    something reads in parts.
    A linear whose logits one op turns into a few numbers a row is made in that op's dispatch: `llm.argmax` and `llm.predict` if nothing else reads them, `llm.logit_statistics` if
    everything else reads them later, since then the dispatch gives them too.
  }];
  let options = [Option<"storePrologues", "store-prologues", "bool", "false",
                        "outside of advance, what a linear reads is stored first: its tiles are shared out by columns, and each would make it again">];
  let dependentDialects = ["::llmc::llm::LlmDialect"];
}

//===-- chunk: every dispatch a tile program --------------------------------------------------------------===//

def FormKernels : Pass<"form-kernels", "::mlir::ModuleOp"> {
  let summary = "dispatches become launches of kernels, which are tile programs";
  let description = [{
    Each different dispatch body becomes one function with the attribute `llm.kernel`: a tile program over `scf`, `linalg` and `tensor`. Equal bodies share a kernel. Weights that a kernel
    reads in another order than stored go through `llm.pack`. A few bodies become several kernels: a step's attention, by segments of the context, and numbers over logits, by parts
    of the columns, where a part's logits are made and forgotten, and on cuda the delta rule of a prompt, of few heads by segments of a sequence, if calls have room for several:
    prompts are then cut where segments end, which the module's `llm.piece_tokens` says.
  }];
  let options = [Option<"target", "target", "std::string", "\"cpu\"", "whose tile sizes: cpu or cuda">,
                 Option<"maxTokens", "max-tokens", "int64_t", "512", "most rows in one call, as plan-memory is told">];
  let dependentDialects = ["::llmc::llm::LlmDialect", "::mlir::scf::SCFDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

//===-- plan: what the host does --------------------------------------------------------------------------===//

def BuildPlan : Pass<"build-plan", "::mlir::ModuleOp"> {
  let summary = "programs become lists of dispatches on named buffers";
  let description = [{
    Calls of layer functions are followed with the caller's buffers, so layers differ in buffers only and share their kernels. A result that is tied to an operand takes its buffer: states
    are updated in place. Every packed weight becomes one buffer, whichever programs and layers read it.
  }];
  let dependentDialects = ["::llmc::plan::PlanDialect"];
}

def PlanMemory : Pass<"plan-memory", "::mlir::ModuleOp"> {
  let summary = "places the transients of each program in one arena";
  let description = [{
    A transient lives from the dispatch that first names it to the last. Each gets the lowest offset at which no transient that lives at the same time lies, sized for `max-tokens`.
    In a module with `llm.whole_sequences` a call has room for the whole context, which becomes 4096 tokens if it is longer.
  }];
  let options = [Option<"maxTokens", "max-tokens", "int64_t", "512", "most rows in one call; a multiple of 64, so that pieces of a prompt are chunk-aligned">,
                 Option<"maxSequences", "max-sequences", "int64_t", "64", "most sequences in one call">];
  let dependentDialects = ["::llmc::plan::PlanDialect"];
}

#endif
