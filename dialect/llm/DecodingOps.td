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

def Llm_LogitStatisticsOp : Llm_Op<"logit_statistics", [Pure]> {
  let summary = "how sure each row of logits is at a temperature";
  let description = [{
    Result `[S, 4]` of `logits [S, V]` and `temperature [S, 1]`: with q = softmax(logits / (temperature + 1e-8)) the largest q; the entropy -sum q ln(q + 1e-8); the
    variance of q over the vocabulary, divided by V - 1; the sum of the five largest q (of all if there are fewer). These are what AutoDeco's top-p head reads
    (arXiv 2510.26697). The variance is (sum q^2 - 1/V) / (V - 1), since the mean of q is 1/V. V is at least 2. The statistics of a row that has a NaN or +infinity, or
    nothing but -infinity, mean nothing.
  }];
  let arguments = (ins Llm_Rows:$logits, Llm_Rows:$temperature);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$logits `,` $temperature attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

#endif
