// Row norms and rotary positions.
#ifndef LLMC_DIALECT_LLM_NORMOPS_TD
#define LLMC_DIALECT_LLM_NORMOPS_TD
include "dialect/llm/LlmDialect.td"

def Llm_RmsNormOp : Llm_Op<"rms_norm", [Pure]> {
  let summary = "x * rsqrt(mean(x^2) + eps) * weight over groups of columns";
  let description = [{
    `weight [d]`, d divides N: each group of d columns is normalised by itself (d = N for the residual stream, the head
    width for head norms). With `gate [T, N]` the result is multiplied by `sigmoid(gate)`; norm first, then gate.
  }];
  let arguments = (ins Llm_Rows:$x, Llm_Weight:$weight, Optional<Llm_Rows>:$gate, F64Attr:$eps);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$x `,` $weight (`gated` `by` $gate^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_LayerNormOp : Llm_Op<"layer_norm", [Pure]> {
  let summary = "(x - mean) * rsqrt(variance + eps) * weight + bias over each row";
  let description = [{The variance is the mean square of x - mean. Weight and bias have as many elements as x has columns.}];
  let arguments = (ins Llm_Rows:$x, Llm_Weight:$weight, Llm_Weight:$bias, F64Attr:$eps);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$x `,` $weight `,` $bias attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_L2NormOp : Llm_Op<"l2_norm", [Pure]> {
  let summary = "x / sqrt(sum(x^2) + eps) over each head's columns, then times scale";
  let arguments = (ins Llm_Rows:$x, Llm_Positive:$heads, F64Attr:$eps, DefaultValuedAttr<F64Attr, "1.0">:$scale);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_RotaryTableOp : Llm_Op<"rotary_table", [Pure]> {
  let summary = "cosines and sines of every row's position";
  let description = [{
    `result[t] = (cos a_0 .. cos a_{n-1}, sin a_0 .. sin a_{n-1}) * scale`, `a_d = position(t) * frequencies[d]`. The product is rounded to
    float32 as the published models do; its cosine and sine are then exact to float32.
  }];
  let arguments = (ins Llm_SequencesType:$sequences, DenseF32ArrayAttr:$frequencies,
                       DefaultValuedAttr<F64Attr, "1.0">:$scale);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$sequences attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_RotaryOp : Llm_Op<"rotary", [Pure]> {
  let summary = "rotates pairs (d, d + n/2) of each head by the table's angles";
  let description = [{
    `x [T, heads * w]`, `table [T, n]` from `llm.rotary_table`, n <= w: `y[d] = x[d] c[d] - x[d+n/2] s[d]`,
    `y[d+n/2] = x[d+n/2] c[d] + x[d] s[d]` (half rotation, the convention of Hugging Face checkpoints); what follows the first n of
    a head's columns stays.
  }];
  let arguments = (ins Llm_Rows:$x, Llm_Rows:$table, Llm_Positive:$heads);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$x `,` $table attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

#endif
