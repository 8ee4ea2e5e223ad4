"""The random llama cases: configurations and weights."""

import numpy as np
import torch

from checkpoint import Weights

_COMMON = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "vocab_size": 257,
    "bos_token_id": 255,
    "eos_token_id": 256,
    "initializer_range": 0.02,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "use_cache": True,
}

# name: (config, shards)
CASES: dict[str, tuple[dict, int]] = {
    "llama-a": (
        _COMMON
        | {
            "hidden_size": 72,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "intermediate_size": 100,
            "rope_theta": 10000.0,
            "rope_scaling": None,
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        },
        1,
    ),
    "llama-b": (
        _COMMON
        | {
            "hidden_size": 56,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 40,
            "intermediate_size": 90,
            "rope_theta": 10000.0,
            # Original context 64 puts pairs of 40 channels in all three bands: kept, mixed, divided.
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
            "attention_bias": False,
            "mlp_bias": False,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": True,
            "torch_dtype": "float32",
        },
        3,
    ),
    "llama-c": (
        _COMMON
        | {
            "hidden_size": 72,
            "num_hidden_layers": 2,
            "num_attention_heads": 6,
            "num_key_value_heads": 3,
            "intermediate_size": 93,
            "rope_theta": 50000.0,
            "rope_scaling": {"type": "linear", "factor": 2.5},
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": False,
            "torch_dtype": "float16",
        },
        1,
    ),
    "llama-d": (
        _COMMON
        | {
            "hidden_size": 60,
            "num_hidden_layers": 2,
            "num_attention_heads": 5,
            "num_key_value_heads": 5,
            "head_dim": 20,
            "intermediate_size": 68,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 128,
                "beta_fast": 8.0,
                "beta_slow": 1.0,
            },
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": False,
            "eos_token_id": [254, 256],
            "dtype": "bfloat16",
        },
        1,
    ),
}


def random_weights(config: dict, rng: np.random.Generator) -> Weights:
    dtype = getattr(torch, config.get("dtype") or config["torch_dtype"])
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    n = config.get("head_dim") or hidden // config["num_attention_heads"]
    q_rows, kv_rows = config["num_attention_heads"] * n, config["num_key_value_heads"] * n
    weights: Weights = {}

    def put(name: str, value: np.ndarray) -> None:
        weights[name] = torch.from_numpy(value).to(dtype)

    def linear(name: str, rows: int, columns: int, bias: bool, gain: float = 1.0) -> None:
        put(name + ".weight", rng.normal(0.0, gain / np.sqrt(columns), (rows, columns)))
        if bias:
            put(name + ".bias", rng.normal(0.0, 0.3, rows))

    def norm(name: str) -> None:
        put(name + ".weight", rng.normal(1.0, 0.2, hidden))

    tied = config["tie_word_embeddings"]
    # The tied one small, so that its eps (1e-6 where the others have 1e-5) shows.
    put("model.embed_tokens.weight", rng.normal(0.0, 0.03 if tied else 1.0, (config["vocab_size"], hidden)))
    for i in range(config["num_hidden_layers"]):
        p = f"model.layers.{i}."
        bias = config["attention_bias"]
        norm(p + "input_layernorm")
        # Larger queries and keys: a near-uniform attention would hide errors in positions and masks.
        linear(p + "self_attn.q_proj", q_rows, hidden, bias, 1.6)
        linear(p + "self_attn.k_proj", kv_rows, hidden, bias, 1.6)
        linear(p + "self_attn.v_proj", kv_rows, hidden, bias)
        linear(p + "self_attn.o_proj", hidden, q_rows, bias)
        norm(p + "post_attention_layernorm")
        linear(p + "mlp.gate_proj", inner, hidden, config["mlp_bias"], 1.5)
        linear(p + "mlp.up_proj", inner, hidden, config["mlp_bias"])
        linear(p + "mlp.down_proj", hidden, inner, config["mlp_bias"], 1.5)
    norm("model.norm")
    if not tied:
        linear("lm_head", config["vocab_size"], hidden, False, 2.0)
    return weights
