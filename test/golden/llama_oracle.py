"""Llama in float64 numpy, plainly: no cache, no tricks, one function a step.

It checks the goldens that `transformers` makes (whose norms, softmax and rotary angles are float32
even in a float64 run), and makes those of the trained checkpoint.
"""

import math

import numpy as np


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1.0 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def linear(x: np.ndarray, weights: dict, name: str) -> np.ndarray:
    y = x @ weights[name + ".weight"].T
    return y + weights[name + ".bias"] if name + ".bias" in weights else y


def head_dim_of(config: dict) -> int:
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def rope_block(config: dict) -> dict:
    """The old spelling (rope_theta + rope_scaling, `type`) and the new one (rope_parameters) as one dict."""
    if "rope_parameters" in config:
        return config["rope_parameters"]
    scaling = config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    return {"rope_theta": config["rope_theta"], **scaling, "rope_type": kind}


def rope_frequencies(config: dict) -> tuple[np.ndarray, float]:
    """Angular frequency of each channel pair, and the factor on cos and sin."""
    rope, n = rope_block(config), head_dim_of(config)
    f = rope["rope_theta"] ** (-2.0 * np.arange(n // 2) / n)
    kind = rope["rope_type"]
    if kind == "default":
        return f, 1.0
    factor = rope["factor"]
    if kind == "linear":
        return f / factor, 1.0
    original = rope.get("original_max_position_embeddings", config["max_position_embeddings"])
    if kind == "llama3":
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        turns = original * f / (2 * math.pi)  # how often the pair turns within the original context
        mix = np.clip((turns - low) / (high - low), 0.0, 1.0)
        return (1 - mix) * f / factor + mix * f, 1.0
    if kind == "yarn":

        def correction(turns: float) -> float:
            return n * math.log(original / (2 * math.pi * turns)) / (2 * math.log(rope["rope_theta"]))

        low, high = correction(rope.get("beta_fast", 32)), correction(rope.get("beta_slow", 1))
        if rope.get("truncate", True):
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, n - 1)
        span = high - low if high != low else 0.001
        ramp = np.clip((np.arange(n // 2) - low) / span, 0.0, 1.0)
        scale = rope.get("attention_factor", 0.1 * math.log(factor) + 1.0)
        return f / factor * ramp + f * (1 - ramp), scale
    raise ValueError(f"no rope type {kind}")


def rotate(x: np.ndarray, frequencies: np.ndarray, scale: float) -> np.ndarray:
    """x [T, heads, n]; pairs are (d, d + n/2)."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[0])[:, None, None] * frequencies
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * c - b * s, b * c + a * s], axis=-1)


def attention(x: np.ndarray, weights: dict, prefix: str, config: dict) -> np.ndarray:
    tokens, n = x.shape[0], head_dim_of(config)
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    frequencies, scale = rope_frequencies(config)
    q = rotate(linear(x, weights, prefix + "q_proj").reshape(tokens, heads, n), frequencies, scale)
    k = rotate(linear(x, weights, prefix + "k_proj").reshape(tokens, kv_heads, n), frequencies, scale)
    v = linear(x, weights, prefix + "v_proj").reshape(tokens, kv_heads, n)
    future = np.triu(np.ones((tokens, tokens), dtype=bool), 1)
    out = np.empty_like(q)
    for head in range(heads):
        kv = head // (heads // kv_heads)
        scores = q[:, head] @ k[:, kv].T / math.sqrt(n)
        out[:, head] = softmax(np.where(future, -np.inf, scores)) @ v[:, kv]
    return linear(out.reshape(tokens, heads * n), weights, prefix + "o_proj")


def mlp(x: np.ndarray, weights: dict, prefix: str) -> np.ndarray:
    gated = silu(linear(x, weights, prefix + "gate_proj")) * linear(x, weights, prefix + "up_proj")
    return linear(gated, weights, prefix + "down_proj")


def logits(config: dict, weights: dict, tokens: np.ndarray) -> np.ndarray:
    eps = config["rms_norm_eps"]
    h = weights["model.embed_tokens.weight"][tokens]
    for i in range(config["num_hidden_layers"]):
        p = f"model.layers.{i}."
        h = h + attention(rms_norm(h, weights[p + "input_layernorm.weight"], eps), weights, p + "self_attn.", config)
        h = h + mlp(rms_norm(h, weights[p + "post_attention_layernorm.weight"], eps), weights, p + "mlp.")
    y = rms_norm(h, weights["model.norm.weight"], eps)
    head = "model.embed_tokens.weight" if config.get("tie_word_embeddings") else "lm_head.weight"
    return y @ weights[head].T
