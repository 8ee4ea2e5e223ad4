// Ops that mix along the sequence: short convolution, gated delta rule, attention, latent attention, and the append
// that feeds their caches.
#ifndef LLMC_DIALECT_LLM_MIXEROPS_TD
#define LLMC_DIALECT_LLM_MIXEROPS_TD
include "dialect/llm/LlmDialect.td"

def Llm_AppendOp : Llm_Op<"append", [Pure]> {
  let summary = "writes each row at its position of the sequence's cache";
  let description = [{
    `cache [B, CTX, N]`: `cache[slot(t), position(t)] = rows of the inputs side by side` (N = sum of their columns).
    With `key_block = b` the cache is stored as `[B, CTX/b, N, b]`, the b positions of a block innermost, so that scores of b positions are
    computed side by side.
  }];
  let arguments = (ins Variadic<Llm_Rows>:$inputs, Llm_State:$cache, Llm_SequencesType:$sequences,
                       OptionalAttr<Llm_Positive>:$key_block);
  let results = (outs Llm_State:$updated);
  let assemblyFormat = "$inputs `into` $cache `,` $sequences attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_AttentionOp : Llm_Op<"attention", [Pure]> {
  let summary = "softmax attention over the caches, grouped queries";
  let description = [{
    `q [T, heads * d]`; `keys [B, CTX/32, kv_heads * d, 32]` (see `llm.append` with `key_block = 32`), `values [B, CTX, kv_heads * dv]`, both already
    holding this call's rows. Query head h uses key head `h / (heads / kv_heads)`. `o = softmax(scale * q k^T) v` over positions <= its own; with
    `window = w` over the last w of those; with `seen` over all positions as far as the sequence's rows in that table reach; with `block = b` over those of its own block of b
    positions and the blocks before it, as far as its rows in `seen` reach, or without `seen` those in `sequences`. `scale` is usually d^-0.5.
  }];
  let arguments = (ins Llm_Rows:$q, Llm_State:$keys, Llm_State:$values, Optional<Llm_SequencesType>:$seen, Llm_SequencesType:$sequences,
                       Llm_Positive:$heads, Llm_Positive:$kv_heads, F64Attr:$scale, OptionalAttr<Llm_Positive>:$window,
                       OptionalAttr<Llm_Positive>:$block);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$q `,` $keys `,` $values `,` $sequences (`seen` $seen^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_LatentAttentionOp : Llm_Op<"latent_attention", [Pure]> {
  let summary = "multi-head latent attention over a cache of latents (MLA)";
  let description = [{
    `q [T, heads * (nope + rope)]`, `cache [B, CTX, r + rope]` = normalised latent c and shared key part k_r, `up [heads * (nope + v), r]`: per head
    rows 0 .. nope-1 map the latent to the key (UK), the rest to the value (UV). Scores `scale * (q_n . UK c_t + q_r . k_r,t)`, causal softmax,
    `o = UV sum_t p_t c_t`, which equals attention over the expanded keys and values.
    `form` is chosen by a pass: "absorbed" multiplies q by UK and works on latents, "expanded" forms keys and values of a block of positions.
  }];
  let arguments = (ins Llm_Rows:$q, Llm_State:$cache, Llm_Weight:$up, Llm_SequencesType:$sequences,
                       Llm_Positive:$heads, Llm_NonNegative:$nope, Llm_NonNegative:$rope, F64Attr:$scale,
                       DefaultValuedAttr<StrAttr, "\"absorbed\"">:$form);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$q `,` $cache `,` $up `,` $sequences attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t getLatent() { return ::llvm::cast<::mlir::RankedTensorType>(getUp().getType()).getDimSize(1); }
    int64_t getValueWidth() {
      return ::llvm::cast<::mlir::RankedTensorType>(getUp().getType()).getDimSize(0) / (int64_t)getHeads() - (int64_t)getNope();
    }
  }];
}

def Llm_ShortConvOp : Llm_Op<"short_conv", [Pure]> {
  let summary = "causal depthwise convolution over the last W rows, then SiLU";
  let description = [{
    `x [T, N]`, `weight [N, 1, W]` or `[N, W]` (last index = current token), `tail [B, W-1, N]` = the W-1 inputs before this call, oldest first.
    `y[t, c] = silu(sum_w weight[c, w] x[t-W+1+w, c])`. Returns y and the new tail.
  }];
  let arguments = (ins Llm_Rows:$x, Llm_Weight:$weight, Llm_State:$tail, Llm_SequencesType:$sequences);
  let results = (outs Llm_Rows:$result, Llm_State:$updated);
  let assemblyFormat = "$x `,` $weight `,` $tail `,` $sequences attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_DecayGateOp : Llm_Op<"decay_gate", [Pure]> {
  let summary = "log decay per key channel: -exp(A_log[h]) * softplus(f + dt_bias)";
  let description = [{
    `f [T, H * K]`, `a_log` holds H values (its shape may be [H], [H, 1] or [1, 1, H, 1]), `dt_bias [H * K]`. The result is <= 0, in
    natural-log units: the state is multiplied by its exponential.
  }];
  let arguments = (ins Llm_Rows:$f, Llm_Weight:$a_log, Llm_Weight:$dt_bias);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$f `,` $a_log `,` $dt_bias attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_DeltaRuleOp : Llm_Op<"delta_rule", [Pure]> {
  let summary = "gated delta rule with a decay per key channel (KDA)";
  let description = [{
    Per head, state `S [K, V]` (key channels first), for each token: `S <- diag(exp g) S; y = beta (v - S^T k); S <- S + k y^T; o = S^T q`.
    `q, k, g [T, H K]`, `v [T, H V]`, `beta [T, H]`, `state [B, H, K, V]`. Any scale is in q. Gated DeltaNet is the case of equal g
    in a head, DeltaNet that of g = 0.
    `form` is chosen by a pass: "step" is the recurrence token by token, "chunk" the equivalent form over `chunk` tokens at a time.
  }];
  let arguments = (ins Llm_Rows:$q, Llm_Rows:$k, Llm_Rows:$v, Llm_Rows:$g, Llm_Rows:$beta, Llm_State:$state,
                       Llm_SequencesType:$sequences,
                       DefaultValuedAttr<StrAttr, "\"chunk\"">:$form, DefaultValuedAttr<Llm_Positive, "16">:$chunk);
  let results = (outs Llm_Rows:$result, Llm_State:$updated);
  let assemblyFormat = [{
    $q `,` $k `,` $v `,` $g `,` $beta `,` $state `,` $sequences attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

#endif
