"""Qwen2, Qwen3 and Qwen3-MoE in float64 numpy, plainly: what they add to llama_oracle.

Biases and norms of heads are there if their tensors are.
"""

import math

import numpy as np

from llama_oracle import head_dim_of, linear, mlp, rms_norm, rope_frequencies, rotate, silu, softmax


def is_sparse(config: dict, layer: int) -> bool:
    """Whether the layer's feed-forward is made of experts."""
    if config["model_type"] != "qwen3_moe":
        return False
    return layer not in config["mlp_only_layers"] and (layer + 1) % config["decoder_sparse_step"] == 0


def window_of(config: dict, layer: int) -> float:
    """How many positions the layer's attention sees, the own one included."""
    if not config.get("use_sliding_window"):
        return math.inf
    if "layer_types" in config:
        slides = config["layer_types"][layer] == "sliding_attention"
    else:
        slides = layer >= config["max_window_layers"]
    return config["sliding_window"] if slides else math.inf


def head_norm(x: np.ndarray, weights: dict, name: str, eps: float) -> np.ndarray:
    return rms_norm(x, weights[name], eps) if name in weights else x


def attention(x: np.ndarray, weights: dict, prefix: str, config: dict, layer: int) -> np.ndarray:
    tokens, n, eps = x.shape[0], head_dim_of(config), config["rms_norm_eps"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    frequencies, scale = rope_frequencies(config)
    q = linear(x, weights, prefix + "q_proj").reshape(tokens, heads, n)
    k = linear(x, weights, prefix + "k_proj").reshape(tokens, kv_heads, n)
    v = linear(x, weights, prefix + "v_proj").reshape(tokens, kv_heads, n)
    q = rotate(head_norm(q, weights, prefix + "q_norm.weight", eps), frequencies, scale)
    k = rotate(head_norm(k, weights, prefix + "k_norm.weight", eps), frequencies, scale)
    ago = np.arange(tokens)[:, None] - np.arange(tokens)
    hidden = (ago < 0) | (ago >= window_of(config, layer))
    out = np.empty_like(q)
    for head in range(heads):
        kv = head // (heads // kv_heads)
        scores = q[:, head] @ k[:, kv].T / math.sqrt(n)
        out[:, head] = softmax(np.where(hidden, -np.inf, scores)) @ v[:, kv]
    return linear(out.reshape(tokens, heads * n), weights, prefix + "o_proj")


def expert(x: np.ndarray, weights: dict, prefix: str, e: int) -> np.ndarray:
    if prefix + "gate_up_proj" not in weights:
        return mlp(x, weights, prefix + f"{e}.")
    gate, up = np.split(weights[prefix + "gate_up_proj"][e], 2)
    return (silu(x @ gate.T) * (x @ up.T)) @ weights[prefix + "down_proj"][e].T


def choose(logits: np.ndarray, config: dict) -> tuple[np.ndarray, np.ndarray, float]:
    """Experts of one token, their weights, and by how much the last chosen one beat the first that was not."""
    p, k = softmax(logits), config["num_experts_per_tok"]
    order = np.argsort(-p, kind="stable")
    chosen = p[order[:k]]
    margin = float(p[order[k - 1]] - p[order[k]])
    return order[:k], chosen / chosen.sum() if config["norm_topk_prob"] else chosen, margin


def experts(x: np.ndarray, weights: dict, prefix: str, config: dict, margins: list[float]) -> np.ndarray:
    y = np.zeros_like(x)
    for t, logits in enumerate(linear(x, weights, prefix + "gate")):
        ids, shares, margin = choose(logits, config)
        margins.append(margin)
        for e, share in zip(ids, shares):
            y[t] += share * expert(x[t], weights, prefix + "experts.", e)
    return y


def logits(config: dict, weights: dict, tokens: np.ndarray, margins: list[float] | None = None) -> np.ndarray:
    eps, margins = config["rms_norm_eps"], [] if margins is None else margins
    h = weights["model.embed_tokens.weight"][tokens]
    for i in range(config["num_hidden_layers"]):
        p = f"model.layers.{i}."
        x = rms_norm(h, weights[p + "input_layernorm.weight"], eps)
        h = h + attention(x, weights, p + "self_attn.", config, i)
        x = rms_norm(h, weights[p + "post_attention_layernorm.weight"], eps)
        sparse = is_sparse(config, i)
        h = h + (experts(x, weights, p + "mlp.", config, margins) if sparse else mlp(x, weights, p + "mlp."))
    y = rms_norm(h, weights["model.norm.weight"], eps)
    head = "model.embed_tokens.weight" if config.get("tie_word_embeddings") else "lm_head.weight"
    return y @ weights[head].T
