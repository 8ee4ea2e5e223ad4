// From logits to tokens.
#ifndef LLMC_DIALECT_LLM_DECODINGOPS_TD
#define LLMC_DIALECT_LLM_DECODINGOPS_TD
include "dialect/llm/LlmDialect.td"

def Llm_SampleOp : Llm_Op<"sample", [Pure]> {
  let summary = "draws one token per row of logits";
  let description = [{
    Result `[S, 1]`. `logits [S, V]`, `sampling [S, 4]` f32 = (temperature, top_p, min_p, unused), `draws [S, 4]` i64 = (seed, top_k, position, unused).
    A temperature that is not above 0 (NaN included): the largest logit, lowest index on ties. Otherwise p = softmax(logits / temperature); keep the `top_k` most probable (<= 0 = all; ties at the bound are kept);
    of those the smallest set of the most probable whose mass reaches the fraction top_p of the mass that top_k left (>= 1 = all, <= 0 = the most probable; ties at the
    bound are kept); of those the ones with p >= min_p * max p; draw from them in
    proportion to p with u in [0, 1) from a counter-based generator keyed by (seed, position), so that a row's token does not depend on its batch:
    Philox4x32-10 with key = the seed's two halves, counter = (position low, position high, 0, 0), u = (word 0 >> 8) * 2^-24.
    A row that holds a NaN or +infinity, or nothing but -infinity, gives -1 at any temperature; a single -infinity takes its token out.
  }];
  let arguments = (ins Llm_Rows:$logits, Llm_Rows:$sampling, Llm_Draws:$draws);
  let results = (outs Llm_Ids:$tokens);
  let assemblyFormat = "$logits `,` $sampling `,` $draws attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

#endif
