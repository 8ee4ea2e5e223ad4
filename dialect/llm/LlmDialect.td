// The llm dialect: what a language model means, at the granularity at which papers write it.
#ifndef LLMC_DIALECT_LLM_LLMDIALECT_TD
#define LLMC_DIALECT_LLM_LLMDIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

def Llm_Dialect : Dialect {
  let name = "llm";
  let summary = "Language models as the papers write them";
  let description = [{
    Activations are `tensor<?xNxf32>`: T rows, one per token of the call, N columns; heads lie side by side in the columns,
    head-major. Weights keep their storage type. Tokens of several sequences travel as one ragged tensor; `!llm.sequences`
    says which row belongs to which sequence. State is explicit: an op that updates a cache or a recurrent state takes it
    as an operand and returns its new value; the old value must not be used afterwards.
  }];
  let cppNamespace = "::llmc::llm";
  let useDefaultTypePrinterParser = 1;
}

def Llm_SequencesType : TypeDef<Llm_Dialect, "Sequences"> {
  let mnemonic = "sequences";
  let summary = "table of the sequences in one call";
  let description = [{
    Stands for two tensors: `rows [S, 4]` = (slot, first row, length, past) of each of the S sequences of the call, and
    `where [T, 2]` = (sequence, position) of each of the T rows. `past` tokens are in the state already; row `first + i`
    has position `past + i`. A sequence's state lives in the slot's part of every state tensor.
  }];
}

class Llm_Op<string mnemonic, list<Trait> traits = []> : Op<Llm_Dialect, mnemonic, traits>;

// Shorthands for operand and result constraints. T tokens, D hidden, N columns, S sequences, B slots.
def Llm_Rows : RankedTensorOf<[F32]>;               // [T, N]
def Llm_Weight : RankedTensorOf<[F32, BF16, F16]>;  // as stored
def Llm_State : RankedTensorOf<[F32]>;              // [B, ...]
def Llm_Ids : RankedTensorOf<[I32]>;

#endif
