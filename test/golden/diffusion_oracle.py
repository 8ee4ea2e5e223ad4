"""Masked and block diffusion in float64 numpy: forwards with any mask of attention, and the decoding loops.

Written from the published loops, without caches except where a cache is approximate and therefore part of the
result (prefix, dual). A step whose order of confidences or choice of token is too close to call is reported by
`Margins`, so that goldens can keep clear of rounding.
"""

import math

import numpy as np

import kimi_oracle
import llama_oracle
import qwen_oracle
from llama_oracle import linear, mlp, rms_norm, rope_frequencies, rotate, softmax

LLADA_NAMES = {
    "model.embed_tokens": "model.transformer.wte",
    "model.norm": "model.transformer.ln_f",
    "lm_head": "model.transformer.ff_out",
}
LLADA_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ff_norm",
    "self_attn.q_proj": "q_proj",
    "self_attn.k_proj": "k_proj",
    "self_attn.v_proj": "v_proj",
    "self_attn.o_proj": "attn_out",
    "mlp.gate_proj": "ff_proj",
    "mlp.up_proj": "up_proj",
    "mlp.down_proj": "ff_out",
}


def llada_as_qwen(config: dict, weights: dict) -> tuple[dict, dict]:
    renamed = {
        "model_type": "qwen3",
        "hidden_size": config["d_model"],
        "num_hidden_layers": config["n_layers"],
        "num_attention_heads": config["n_heads"],
        "num_key_value_heads": config.get("n_kv_heads", config["n_heads"]),
        "rms_norm_eps": config["rms_norm_eps"],
        "rope_theta": config["rope_theta"],
        "tie_word_embeddings": config["weight_tying"],
    }
    tensors = {new + ".weight": weights[old + ".weight"] for new, old in LLADA_NAMES.items() if old + ".weight" in weights}
    for i in range(config["n_layers"]):
        for new, old in LLADA_LAYER_NAMES.items():
            tensors[f"model.layers.{i}.{new}.weight"] = weights[f"model.transformer.blocks.{i}.{old}.weight"]
    return renamed, tensors


def llada_moe_as_qwen(config: dict) -> dict:
    return config | {
        "model_type": "qwen3_moe",
        "intermediate_size": config["dense_intermediate_size"],
        "moe_intermediate_size": config["expert_intermediate_size"],
        "norm_topk_prob": False,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [i for i, sparse in enumerate(config["moe_layer_freq"]) if not sparse],
    }


def llada2_as_qwen(config: dict, weights: dict) -> dict:
    """The tensors under Qwen's names: q, k and v apart; experts keep theirs."""
    n, heads, kv_heads = config["head_dim"], config["num_attention_heads"], config["num_key_value_heads"]
    tensors = {name: w for name, w in weights.items() if ".attention." not in name}
    tensors["model.embed_tokens.weight"] = weights["model.word_embeddings.weight"]
    for i in range(config["num_hidden_layers"]):
        old, new = f"model.layers.{i}.attention.", f"model.layers.{i}.self_attn."
        parts = np.split(weights[old + "query_key_value.weight"], [heads * n, (heads + kv_heads) * n])
        for name, part in zip("qkv", parts):
            tensors[f"{new}{name}_proj.weight"] = part
        tensors[new + "o_proj.weight"] = weights[old + "dense.weight"]
        tensors[new + "q_norm.weight"] = weights[old + "query_layernorm.weight"]
        tensors[new + "k_norm.weight"] = weights[old + "key_layernorm.weight"]
    return tensors


def llada2_experts(x: np.ndarray, weights: dict, prefix: str, config: dict, margins: list[float]) -> np.ndarray:
    """Sigmoid scores, groups by the sum of their two best, weights renormalised and scaled; and a shared expert."""
    router = {
        "moe_router_activation_func": config["score_function"],
        "num_expert_group": config["n_group"],
        "topk_group": config["topk_group"],
        "num_experts_per_token": config["num_experts_per_tok"],
        "moe_renormalize": config["norm_topk_prob"],
        "routed_scaling_factor": config["routed_scaling_factor"],
    }
    y = mlp(x, weights, prefix + "shared_experts.")
    for t, row in enumerate(linear(x, weights, prefix + "gate")):
        ids, shares, margin = kimi_oracle.route(row, weights[prefix + "gate.expert_bias"], router)
        margins.append(margin)
        for e, share in zip(ids, shares):
            y[t] += share * mlp(x[t], weights, prefix + f"experts.{e}.")
    return y


def mask_of(config: dict) -> int:
    return config["mask_token_id"]


def block_of(config: dict) -> int | None:
    """Positions of a block that is seen as a whole, for models that keep keys and values; None for those that see all."""
    of_family = {
        "sdar": config.get("block_size", 4),
        "sdar_moe": config.get("block_size", 4),
        "llada2_moe": 32,
        "Fast_dLLM_Qwen": config.get("bd_size", 32),
    }
    return of_family.get(config.get("model_type"))


class Model:
    """Forwards of rows `at` of a sequence whose other keys and values are those of earlier forwards."""

    def __init__(self, config: dict, weights: dict):
        kind = config["architectures"][0]
        self.experts = qwen_oracle.experts
        if kind == "LLaDAModelLM":
            config, weights = llada_as_qwen(config, weights)
        elif kind == "LLaDAMoEModelLM":
            config = llada_moe_as_qwen(config)
        elif kind == "LLaDA2MoeModelLM":
            weights, self.experts = llada2_as_qwen(config, weights), llada2_experts
        elif kind in ("DreamModel", "DiffLM", "SDARForCausalLM", "Fast_dLLM_QwenForCausalLM"):
            config = config | {"model_type": "qwen3"}
        elif kind == "SDARMoeForCausalLM":
            config = config | {"model_type": "qwen3_moe"}
        self.config, self.weights, c = config, weights, config
        self.heads, self.kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        self.width = llama_oracle.head_dim_of(c)
        self.rotates = int(self.width * c.get("partial_rotary_factor", 1.0))
        self.frequencies, self.scale = rope_frequencies(c | {"head_dim": self.rotates})
        self.cache: list[dict] = [{} for _ in range(c["num_hidden_layers"])]
        self.margins: list[float] = []  # of choices of experts
        self.forwards = 0

    def is_sparse(self, layer: int) -> bool:
        if self.experts is llada2_experts:
            return layer >= self.config["first_k_dense_replace"]
        return qwen_oracle.is_sparse(self.config, layer)

    def rotated(self, x: np.ndarray, at: np.ndarray) -> np.ndarray:
        """`rotate` of rows that lie at the positions `at`."""
        whole = np.zeros((at.max() + 1, x.shape[1], self.rotates))
        whole[at] = x[..., : self.rotates]
        turned = rotate(whole, self.frequencies, self.scale)[at]
        return np.concatenate([turned, x[..., self.rotates :]], axis=-1)

    def head_norm(self, x: np.ndarray, name: str) -> np.ndarray:
        weight = self.weights.get(name)
        return x if weight is None else rms_norm(x, weight, self.config["rms_norm_eps"])

    def forward(self, tokens: np.ndarray, at: np.ndarray, sees) -> np.ndarray:
        """Logits of `tokens` at positions `at`; `sees(position)` gives the end of what a position attends to."""
        w, c, n = self.weights, self.config, self.width
        self.forwards += 1
        h = w["model.embed_tokens.weight"][tokens]
        for i in range(c["num_hidden_layers"]):
            p = f"model.layers.{i}."
            x = rms_norm(h, w[p + "input_layernorm.weight"], c["rms_norm_eps"])
            q = linear(x, w, p + "self_attn.q_proj").reshape(len(at), self.heads, n)
            k = linear(x, w, p + "self_attn.k_proj").reshape(len(at), self.kv_heads, n)
            v = linear(x, w, p + "self_attn.v_proj").reshape(len(at), self.kv_heads, n)
            q = self.rotated(self.head_norm(q, p + "self_attn.q_norm.weight"), at)
            k = self.rotated(self.head_norm(k, p + "self_attn.k_norm.weight"), at)
            for row, position in enumerate(at):
                self.cache[i][int(position)] = k[row], v[row]
            out = np.empty_like(q)
            for row, position in enumerate(at):
                seen = [self.cache[i][t] for t in range(sees(int(position)))]
                keys, values = np.stack([s[0] for s in seen]), np.stack([s[1] for s in seen])
                for head in range(self.heads):
                    kv = head // (self.heads // self.kv_heads)
                    out[row, head] = softmax(keys[:, kv] @ q[row, head] / math.sqrt(n)) @ values[:, kv]
            h = h + linear(out.reshape(len(at), self.heads * n), w, p + "self_attn.o_proj")
            x = rms_norm(h, w[p + "post_attention_layernorm.weight"], c["rms_norm_eps"])
            sparse = self.is_sparse(i)
            h = h + (self.experts(x, w, p + "mlp.", c, self.margins) if sparse else mlp(x, w, p + "mlp."))
        y = rms_norm(h, w["model.norm.weight"], c["rms_norm_eps"])
        head = "model.embed_tokens.weight" if c.get("tie_word_embeddings") else "lm_head.weight"
        return y @ w[head].T


def logits(config: dict, weights: dict, tokens: np.ndarray, margins: list[float] | None = None) -> np.ndarray:
    """One forward of a canvas: every position sees all, or its block and what is before it."""
    size, model = block_of(config), Model(config, weights)
    end = len(tokens)
    rows = model.forward(tokens, np.arange(end), lambda p: min((p // size + 1) * size, end) if size else end)
    if margins is not None:
        margins += model.margins
    return rows


class Margins:
    """The closest call so far: between two tokens, two confidences, or a confidence and a threshold."""

    def __init__(self):
        self.least = np.inf

    def note(self, gap: float) -> None:
        self.least = min(self.least, abs(float(gap)))

    def order(self, confidence: np.ndarray, taken: int) -> None:
        if 0 < taken < len(confidence):
            ranked = np.sort(confidence)[::-1]
            self.note(ranked[taken - 1] - ranked[taken])


def predict(rows: np.ndarray, mask: int, remask: str, margins: Margins) -> tuple[np.ndarray, np.ndarray]:
    """Greedy tokens (never the mask) and confidences."""
    allowed = rows.copy()
    allowed[:, mask] = -np.inf
    tokens = np.argmax(allowed, axis=-1)
    for row in allowed:
        best = np.sort(row)[::-1]
        margins.note(best[0] - best[1])
    p = softmax(rows)
    if remask == "low-confidence":
        confidence = p[np.arange(len(rows)), tokens]
    elif remask == "entropy":
        confidence = np.sum(p * np.log(p + 1e-10), axis=-1)
    elif remask == "margin":
        ranked = np.sort(p, axis=-1)
        confidence = ranked[:, -1] - ranked[:, -2]
    else:
        raise ValueError(remask)
    return tokens, confidence


def shares(total: int, steps: int) -> list[int]:
    return [total // steps + (i < total % steps) for i in range(steps)]


def factor_count(ranked: np.ndarray, factor: float, margins: Margins) -> int:
    thresholds = [-1.0] + [1 - factor / (n + 1) for n in range(2, len(ranked) + 1)]
    r = len(ranked) - 1
    for i, (c, t) in enumerate(zip(ranked, thresholds)):
        if i:
            margins.note(c - t)
        if c < t:
            r = i
            break
    return r + 1 if r in (0, len(ranked) - 1) else r


def commit(canvas, masked, tokens, confidence, count, margins) -> None:
    """Fills the `count` most confident masked positions; equal confidences go to the lower position."""
    margins.order(confidence, count)
    for k in np.argsort(-confidence, kind="stable")[:count]:
        canvas[masked[k]] = tokens[k]


def fill_semi_autoregressive(
    config,
    weights,
    prompt,
    count,
    block,
    steps,
    remask="low-confidence",
    threshold=0.0,
    factor=0.0,
    cache="none",
    guidance=0.0,
):
    """LLaDA's loop, and Fast-dLLM's caches and rules; with guidance, which has no caches, a second forward does not see the
    prompt. Returns the tokens, the closest call and the forwards."""
    mask, model, margins = mask_of(config), Model(config, weights), Margins()
    start, end = len(prompt), len(prompt) + count
    canvas = np.array(list(prompt) + [mask] * count)
    blocks = -(-count // block)
    for b in range(blocks):
        first, last = start + b * block, min(start + (b + 1) * block, end)
        schedule = shares(last - first, max(1, steps // blocks))
        step = 0
        while True:
            begin, stop = 0, end
            if step and cache != "none":
                begin, stop = first, end if cache == "prefix" else last
            at = np.arange(begin, stop)
            rows = model.forward(canvas[at], at, lambda p: end)[first - begin : last - begin]
            if guidance > 0:
                assert cache == "none"
                without = Model(config, weights).forward(np.where(at < start, mask, canvas), at, lambda p: end)[first:last]
                rows = without + (guidance + 1) * (rows - without)
            masked = np.array([p for p in range(first, last) if canvas[p] == mask])
            tokens, confidence = predict(rows[masked - first], mask, remask, margins)
            if threshold > 0:
                for c in confidence:
                    margins.note(c - threshold)
                n = max(1, int(np.sum(confidence >= threshold)))
            elif factor > 0:
                n = factor_count(np.sort(confidence)[::-1], factor, margins)
            else:
                n = schedule[step] if step < len(schedule) else len(masked)
            commit(canvas, masked, tokens, confidence, n, margins)
            step += 1
            if not np.any(canvas[first:last] == mask):
                break
    margins.least = min([margins.least, *model.margins])
    return canvas[start:].tolist(), margins.least, model.forwards


def fill_by_time(config, weights, prompt, count, steps, remask="entropy", eps=0.001):
    """Dream's loop: the prediction of a position is read from the row before it."""
    mask, model, margins = mask_of(config), Model(config, weights), Margins()
    start, end = len(prompt), len(prompt) + count
    canvas = np.array(list(prompt) + [mask] * count)
    times = np.linspace(1, eps, steps + 1)
    for i in range(steps):
        rows = model.forward(canvas, np.arange(end), lambda p: end)
        shifted = np.concatenate([rows[:1], rows[:-1]])
        masked = np.flatnonzero(canvas == mask)
        if not len(masked):
            break
        tokens, confidence = predict(shifted[masked], mask, remask, margins)
        share = len(masked) * (1 - times[i + 1] / times[i])
        if i + 1 < steps:
            margins.note(share - np.round(share))
        commit(canvas, masked, tokens, confidence, int(share) if i + 1 < steps else len(masked), margins)
    return canvas[start:].tolist(), min([margins.least, *model.margins]), model.forwards


def fill_kept_blocks(
    config, weights, prompt, count, steps=None, remask="low-confidence", threshold=0.9, editing=1.0, post_steps=16, seen=None
):
    """SDAR's and LLaDA2's loop: finished blocks are kept, a block sees itself and what is before it. With `editing` below 1
    LLaDA2.1's: tokens that another one beats by that much are replaced, also for a few steps when no mask is left. `seen`
    counts the tokens that were."""
    mask, size, model, margins = mask_of(config), block_of(config), Model(config, weights), Margins()
    start, steps = len(prompt), steps or size
    seen = {} if seen is None else seen
    first = start // size * size
    canvas = np.array(list(prompt) + [mask] * (-start % size if start % size else 0))
    if first:
        model.forward(canvas[:first], np.arange(first), lambda p: (p // size + 1) * size)
    schedule = shares(size, steps)
    while len(canvas) < start + count or first < start:
        last = first + size
        canvas = np.concatenate([canvas, np.full(max(0, last - len(canvas)), mask)])
        at, step, polished = np.arange(first, last), 0, 0
        free = np.arange(max(first, start), last)
        while True:
            polished += not np.any(canvas[free] == mask)
            if polished > (post_steps if editing < 1 else 0):
                break
            rows = model.forward(canvas[first:last], at, lambda p: last)
            edits = []
            if editing < 1:
                filled = free[canvas[free] != mask]
                proposed, sureness = predict(rows[filled - first], mask, remask, margins)
                for c in sureness[proposed != canvas[filled]]:
                    margins.note(c - editing)
                edits = [(p, t) for p, t, c in zip(filled, proposed, sureness) if t != canvas[p] and c > editing]
            masked = free[canvas[free] == mask]
            if not len(masked):
                for p, t in edits:
                    canvas[p] = t
                seen["late"] = seen.get("late", 0) + len(edits)
                if not edits:
                    break
                continue
            tokens, confidence = predict(rows[masked - first], mask, remask, margins)
            for c in confidence:
                margins.note(c - threshold)
            sure = int(np.sum(confidence > threshold))
            least = schedule[step] if step < steps else len(masked)
            commit(canvas, masked, tokens, confidence, min(len(masked), max(sure, least)), margins)
            for p, t in edits:
                canvas[p] = t
            seen["early"] = seen.get("early", 0) + len(edits)
            step += 1
        model.forward(canvas[first:last], at, lambda p: last)
        first = last
    return canvas[start : start + count].tolist(), min([margins.least, *model.margins]), model.forwards


def fill_subblocks(config, weights, prompt, count, sub_block=8, remask="low-confidence", threshold=0.9, cache="none"):
    """Fast-dLLM v2's loop: predictions are read from the row before; a block's first token from the forward that kept what is
    before it; then part after part of the block is filled, each forward being of the whole block. With the cache "block" a
    forward is of the part alone, once the block was computed and the part's first token is known."""
    mask, size, model, margins = mask_of(config), block_of(config), Model(config, weights), Margins()
    start = len(prompt)
    first, last_row = start // size * size, None
    canvas = np.array(prompt)
    if first:
        last_row = model.forward(canvas[:first], np.arange(first), lambda p: (p // size + 1) * size)[-1:]
    while len(canvas) < start + count:
        last, at = first + size, np.arange(first, first + size)
        if len(canvas) == first and last_row is not None:
            canvas = np.append(canvas, predict(last_row, mask, remask, margins)[0])
        canvas = np.concatenate([canvas, np.full(last - len(canvas), mask)])
        is_computed = False
        for begin in range(first, last, sub_block):
            end = min(begin + sub_block, last)
            while np.any(canvas[begin:end] == mask):
                computed = at
                if cache == "block" and is_computed and canvas[begin] != mask:
                    computed = np.arange(begin, end)
                rows = model.forward(canvas[computed], computed, lambda p: last)
                is_computed = True
                rows = np.concatenate([rows[:1], rows[:-1]])
                masked = np.array([p for p in range(begin, end) if canvas[p] == mask])
                tokens, confidence = predict(rows[masked - computed[0]], mask, remask, margins)
                for c in confidence:
                    margins.note(c - threshold)
                commit(canvas, masked, tokens, confidence, max(1, int(np.sum(confidence > threshold))), margins)
        last_row = model.forward(canvas[first:last], at, lambda p: last)[-1:]
        first = last
    return canvas[start : start + count].tolist(), min([margins.least, *model.margins]), model.forwards
