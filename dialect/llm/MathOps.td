// Weights, embeddings, linear maps and elementwise maps.
#ifndef LLMC_DIALECT_LLM_MATHOPS_TD
#define LLMC_DIALECT_LLM_MATHOPS_TD
include "dialect/llm/LlmDialect.td"

def Llm_WeightOp : Llm_Op<"weight", [Pure]> {
  let summary = "a tensor of the checkpoint";
  let description = [{
    The tensor called `name`, in its storage type. With `stack = E` the name holds `{}` and the result `[E, ...]` stacks the
    tensors whose names have 0 .. E-1 in its place.
  }];
  let arguments = (ins StrAttr:$name, OptionalAttr<I64Attr>:$stack);
  let results = (outs Llm_Weight:$result);
  let assemblyFormat = "$name (`stack` $stack^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Llm_EmbedOp : Llm_Op<"embed", [Pure]> {
  let summary = "rows of a table: result[t] = table[tokens[t]]";
  let arguments = (ins Llm_Ids:$tokens, Llm_Weight:$table);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$tokens `,` $table attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_LinearOp : Llm_Op<"linear", [Pure]> {
  let summary = "x W^T for one or several weights side by side";
  let description = [{
    `x [T, K]`, each weight `[N_i, K]`; the result `[T, sum N_i]` holds the products side by side in the order of the weights.
    Several weights arise by fusing linears that share their input.
  }];
  let arguments = (ins Llm_Rows:$x, Variadic<Llm_Weight>:$weights);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$x `,` $weights attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_SliceOp : Llm_Op<"slice", [Pure]> {
  let summary = "columns offset .. offset+N of x, N from the result type";
  let arguments = (ins Llm_Rows:$x, I64Attr:$offset);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$x `at` $offset attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_MapOp : Llm_Op<"map", [Pure, SingleBlock]> {
  let summary = "the same scalar function at every element";
  let description = [{
    Operands are `[T, N]`, or `[N]` (a vector of the checkpoint, the same for every row). The region gets one f32 per operand (a
    stored vector is converted) and yields one f32; its body is upstream `arith` and `math`.
  }];
  let arguments = (ins Variadic<Llm_Weight>:$inputs);
  let regions = (region SizedRegion<1>:$body);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "($inputs^)? attr-dict `:` functional-type(operands, results) $body";
  let hasVerifier = 1;
}

def Llm_YieldOp : Llm_Op<"yield", [Pure, Terminator]> {
  let summary = "ends a region of the dialect";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

#endif
