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
    Activations are `tensor<?xNxf32>`, or `tensor<?xNxbf16>` where they are stored so (arithmetic is float32 all the same): T rows, one per
    token of the call, N columns; heads lie side by side in the columns, head-major. Weights keep their storage type. Tokens of several sequences travel as one ragged tensor; `!llm.sequences`
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

// Shorthands for operand, result and attribute constraints. T tokens, D hidden, N columns, S sequences, B slots. They are strict enough that
// verifiers, passes and the evaluator can take shapes apart without looking, and no product of two sizes leaves 64 bits.
class Llm_RankedTensor<list<Type> types, string shapePredicate, string summary>
    : Type<And<[RankedTensorOf<types>.predicate,
                CPred<!strconcat("[](::llvm::ArrayRef<int64_t> shape) { return ::llmc::llm::isAddressable(shape) && ", shapePredicate,
                                 "; }(::llvm::cast<::mlir::RankedTensorType>($_self).getShape())")>]>,
           summary, "::mlir::RankedTensorType">;

def Llm_Rows : Llm_RankedTensor<[F32, BF16], "shape.size() == 2 && shape[1] > 0", "rows [T, N] of f32 or bf16 with static N">;
def Llm_Weight : Llm_RankedTensor<[F32, BF16, F16], "!shape.empty() && ::llvm::all_of(shape, [](int64_t n) { return n > 0; })",
                                  "a tensor as stored: f32, bf16 or f16 of static shape">;
def Llm_RowsOrWeight : Llm_RankedTensor<[F32, BF16, F16], "!shape.empty() && shape.back() > 0", "rows [T, N] of f32 or bf16, or a stored vector [N]">;
def Llm_State : Llm_RankedTensor<[F32, BF16], "shape.size() >= 3", "a state [B, ...] of f32 or bf16, at least three-dimensional">;
def Llm_Ids : Llm_RankedTensor<[I32], "!shape.empty()", "ids of i32, at least one-dimensional">;
def Llm_Draws : Llm_RankedTensor<[I64], "shape.size() == 2", "draws [S, 4] of i64">;
def Llm_Canvas : Llm_RankedTensor<[I32], "shape.size() == 2", "a canvas [B, CTX] of i32">;
def Llm_Bounds : Llm_RankedTensor<[I32], "shape.size() == 2 && shape[1] == 4", "numbers [S, 4] of i32">;
def Llm_Positive : ConfinedAttr<I64Attr, [IntPositive, IntMaxValue<2147483647>]>;
def Llm_NonNegative : ConfinedAttr<I64Attr, [IntNonNegative, IntMaxValue<2147483647>]>;

#endif
