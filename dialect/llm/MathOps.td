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
  let arguments = (ins StrAttr:$name, OptionalAttr<Llm_Positive>:$stack);
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
    `x [T, K]`, each weight `[N_i, K]`; the result holds the products side by side in the order of the weights, each beginning at a
    multiple of `align` columns and followed by zeros up to the next (so N = sum of N_i rounded up to `align`).
    Several weights arise by fusing linears that share their input.
    Weights may be wider: x meets their columns c .. c + K with `column = c`, which is one part of a product with a concatenation.
  }];
  let arguments = (ins Llm_Rows:$x, Variadic<Llm_Weight>:$weights, DefaultValuedAttr<Llm_Positive, "1">:$align,
                       DefaultValuedAttr<Llm_NonNegative, "0">:$column);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$x `,` $weights attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_PackOp : Llm_Op<"pack", [Pure]> {
  let summary = "stored weights in the order in which kernels read them";
  let description = [{
    Each weight is seen as `[groups, R, K]` (row-major, whatever its rank) and gives rows `from .. from + count` of each group. With `panel = p > 0` they are cut into panels of p rows,
    the last padded with zeros, and each panel is stored with its rows innermost: `[groups, panels, K, p]`, element (g, i, k, j) = row i p + j of group g at column k. The panels of several
    weights follow each other. With `panel = 0` the rows stay as they are: `[groups, count, K]` (one weight); this is also how a model takes a part of a
    stored tensor (the gates of experts stored with their ups below them), and a pack of such rows becomes one pack of the tensor.
    Packing happens when the artifact is written.
  }];
  let arguments = (ins Variadic<Llm_Weight>:$weights, Llm_Positive:$groups, Llm_NonNegative:$panel,
                       DefaultValuedAttr<Llm_NonNegative, "0">:$from, OptionalAttr<Llm_Positive>:$count);
  let results = (outs Llm_Weight:$result);
  let assemblyFormat = "$weights attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_SliceOp : Llm_Op<"slice", [Pure]> {
  let summary = "columns offset .. offset+N of x, N from the result type";
  let arguments = (ins Llm_Rows:$x, Llm_NonNegative:$offset);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$x `at` $offset attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_ConcatOp : Llm_Op<"concat", [Pure]> {
  let summary = "the columns of its operands side by side";
  let arguments = (ins Variadic<Llm_Rows>:$inputs);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$inputs attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_MapOp : Llm_Op<"map", [Pure, SingleBlock]> {
  let summary = "the same scalar function at every element";
  let description = [{
    Operands are `[T, N]`, or `[N]` (a vector of the checkpoint, the same for every row). The region gets one f32 per operand (a
    stored vector is converted) and yields one f32; its body is upstream `arith` and `math`.
  }];
  let arguments = (ins Variadic<Llm_RowsOrWeight>:$inputs);
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
