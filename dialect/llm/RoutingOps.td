// Mixture of experts: routing, grouping, expert linears, combination.
#ifndef LLMC_DIALECT_LLM_ROUTINGOPS_TD
#define LLMC_DIALECT_LLM_ROUTINGOPS_TD
include "dialect/llm/LlmDialect.td"

def Llm_RouteOp : Llm_Op<"route", [Pure]> {
  let summary = "chooses k experts per token and their weights";
  let description = [{
    `logits [T, E]`, optional `bias [E]`. Scores s = sigmoid or softmax of the logits; selection uses t = s + bias; with `groups > 1` only the `top_groups` groups with
    the largest sum of their two best t take part; the k largest t win, lowest index on ties. Weights are s (without the bias) of the chosen, divided by (sum + 1e-20) if `renormalize`, times `scale`.
    Results: `ids [T, k]` in order of falling t, `weights [T, k]`.
  }];
  let arguments = (ins Llm_Rows:$logits, Optional<Llm_Weight>:$bias, StrAttr:$scoring, Llm_Positive:$top_k, BoolAttr:$renormalize,
                       F64Attr:$scale, DefaultValuedAttr<Llm_Positive, "1">:$groups, DefaultValuedAttr<Llm_Positive, "1">:$top_groups);
  let results = (outs Llm_Ids:$ids, Llm_Rows:$weights);
  let assemblyFormat = "$logits (`bias` $bias^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_DispatchExpertsOp : Llm_Op<"dispatch_experts", [Pure]> {
  let summary = "groups (token, choice) pairs by expert";
  let description = [{
    `ids [T, k]`. `order [T k]`: the flat pairs `t k + j` sorted by expert, stable. `place [T, k]`: where each pair stands in `order`.
    `groups [E, 3]`: (expert, begin, end) of the experts that have rows, in ascending order, then empty groups.
  }];
  let arguments = (ins Llm_Ids:$ids);
  let results = (outs Llm_Ids:$order, Llm_Ids:$place, Llm_Ids:$groups);
  let assemblyFormat = "$ids attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_ExpertLinearOp : Llm_Op<"expert_linear", [Pure]> {
  let summary = "each group of rows times its expert's weights";
  let description = [{
    Row r of the result (in the order of `order`) is `x[order[r] / k] W[e]^T` if `gather = k > 0`, else `x[r] W[e]^T`, for the expert e whose group holds r.
    Weights `[E, N_i, K]`, products side by side and aligned as in `llm.linear`.
  }];
  let arguments = (ins Llm_Rows:$x, Llm_Ids:$order, Llm_Ids:$groups, Variadic<Llm_Weight>:$weights,
                       Llm_NonNegative:$gather, Llm_Positive:$top_k, DefaultValuedAttr<Llm_Positive, "1">:$align);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$x `,` $order `,` $groups `,` $weights attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_CombineExpertsOp : Llm_Op<"combine_experts", [Pure]> {
  let summary = "y[t] = sum_j weights[t, j] * x[place[t, j]]";
  let arguments = (ins Llm_Rows:$x, Llm_Ids:$place, Llm_Rows:$weights);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$x `,` $place `,` $weights attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

#endif
