// Tokens by the patch: K tokens are one row, drawn all at once and without a probability that anybody could name (CALM,
// arXiv 2510.27688). What is known of the distribution is how to draw from it.
#ifndef LLMC_DIALECT_LLM_PATCHOPS_TD
#define LLMC_DIALECT_LLM_PATCHOPS_TD
include "dialect/llm/LlmDialect.td"

// `progress [S, 4]` i32 = (draws made, how many of them agree so far, 1 if a draw was not finite, 1 if the patch is chosen). `pool [S, (N + 1) K]` i32 holds
// the patch that draws are compared with, then the first draws, N at most. `settings`: 0 the rule (0 candidates, 1 exact), 1 candidates, 2 most draws.

def Llm_RegroupRowsOp : Llm_Op<"regroup_rows", [Pure]> {
  let summary = "a sequence's elements in rows of another length";
  let description = [{
    The rows of each sequence in `into` hold the elements of its rows in `from`, in order: k rows side by side become one, or one becomes k, k being the ratio of
    the columns. A sequence has k times as many rows in one of the tables as in the other.
  }];
  let arguments = (ins Llm_Rows:$x, Llm_SequencesType:$from, Llm_SequencesType:$into);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$x `,` $from `,` $into attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_NoiseOp : Llm_Op<"noise", [Pure]> {
  let summary = "uniform random numbers in [-0.5, 0.5)";
  let description = [{
    `result [T, N]`: column c of a row is `(word >> 8) * 2^-24 - 0.5` with the first word of Philox4x32-10 keyed by the sequence's seed at counter (position
    of `draws`, stream, n, c). With `progress` n = draws made + the row's number in its sequence; else it is the row's position.
  }];
  let arguments = (ins Llm_SequencesType:$sequences, Llm_Draws:$draws, Optional<Llm_Bounds>:$progress, DefaultValuedAttr<Llm_NonNegative, "0">:$stream);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$sequences `,` $draws (`progress` $progress^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_ArgmaxOp : Llm_Op<"argmax", [Pure]> {
  let summary = "the column of each row's largest logit";
  let description = [{Result `[T]` of `logits [T, V]`; the lowest column among equals. A row with a NaN or +infinity, or nothing but -infinity, gives -1.}];
  let arguments = (ins Llm_Rows:$logits);
  let results = (outs Llm_Ids:$tokens);
  let assemblyFormat = "$logits attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_OpenDrawsOp : Llm_Op<"open_draws", [Pure]> {
  let summary = "no draw made yet";
  let description = [{`progress` and `pool` of zeros for each sequence of `bounds`.}];
  let arguments = (ins Llm_Bounds:$bounds);
  let results = (outs Llm_Bounds:$progress, Llm_Ids:$pool);
  let assemblyFormat = "$bounds attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_AcceptPatchOp : Llm_Op<"accept_patch", [Pure]> {
  let summary = "looks at draws in turn until one of them is the patch";
  let description = [{
    `tokens [U]`: K consecutive ones of the rows of `drawn` are a draw x of a distribution P; wanted is one of P^(1/T) / sum P^(1/T) at the temperature T of `sampling`, taken
    as at least 2^-20 and at most 1. 1/T = n + alpha with a whole n; a 1/T within 1e-4 of a whole number is that number.
    * exact (also wherever T = 1): n draws must be equal, else they are forgotten and it begins anew. If alpha is 0 that patch is accepted. Else, for i = 1, 2, ..., a draw equal to it
      accepts it; one that is not forgets everything with probability alpha / i. The coin of draw number d is `(word >> 8) * 2^-24 < alpha / i`, Philox at counter (position, 1, d, 0). After `most draws` the
      other rule decides.
    * candidates: of the first `candidates` draws, those that occur at least m times, m being the least of n and the largest count k, are chosen from with weights binomial(k, m); with an alpha that is not 0 all
      of them with weights k^(1/T). `u = (word >> 8) * 2^-24` at counter (position, 2, 0, 0) picks among them in the order in which they first occurred.
    The accepted patch is written to `canvas` at the positions from `known` on. Once a patch is chosen later draws change nothing. A negative token ends the search: progress notes it.
    `more [S, 1]` is 1 while a sequence needs draws.
  }];
  let arguments = (ins Llm_Ids:$tokens, Llm_SequencesType:$drawn, Llm_Bounds:$bounds, Llm_Rows:$sampling, Llm_Draws:$draws, Llm_Rows:$settings,
                       Llm_Bounds:$progress, Llm_Ids:$pool, Llm_Canvas:$canvas, Llm_Positive:$patch);
  let results = (outs Llm_Bounds:$advanced, Llm_Ids:$pooled, Llm_Canvas:$updated, Llm_Ids:$more);
  let assemblyFormat = [{
    $tokens `,` $drawn `,` $bounds `,` $sampling `,` $draws `,` $settings `,` $progress `,` $pool `,` $canvas attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

#endif
