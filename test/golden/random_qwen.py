"""The random qwen2, qwen3 and qwen3_moe cases: configurations and weights."""

import numpy as np
import torch

from checkpoint import Weights
from qwen_oracle import is_sparse
from llama_oracle import head_dim_of

_COMMON = {
    "hidden_act": "silu",
    "vocab_size": 257,
    "bos_token_id": 255,
    "eos_token_id": 256,
    "initializer_range": 0.02,
    "attention_dropout": 0.0,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "use_cache": True,
}
_QWEN2 = _COMMON | {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
_QWEN3 = _COMMON | {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}
_QWEN3_MOE = _COMMON | {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe"}

# name: (config, shards, experts of a layer in two tensors)
CASES: dict[str, tuple[dict, int, bool]] = {
    "qwen2-a": (
        _QWEN2
        | {
            "hidden_size": 56,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 75,
            "rope_theta": 1000000.0,
            # Layers 2 and 3; the window begins and ends within a block of 32 positions.
            "use_sliding_window": True,
            "sliding_window": 37,
            "max_window_layers": 2,
            "use_mrope": False,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
        },
        1,
        False,
    ),
    "qwen3-a": (
        _QWEN3
        | {
            "hidden_size": 60,
            "num_hidden_layers": 3,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "head_dim": 24,
            "intermediate_size": 81,
            "rope_theta": 10000.0,
            "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
            "attention_bias": False,
            # Of no effect without use_sliding_window.
            "use_sliding_window": False,
            "sliding_window": 8,
            "max_window_layers": 1,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        },
        1,
        False,
    ),
    "qwen3-b": (
        _QWEN3
        | {
            "hidden_size": 72,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "head_dim": 32,
            "intermediate_size": 50,
            "rope_parameters": {"rope_type": "linear", "rope_theta": 50000.0, "factor": 2.0},
            "attention_bias": True,
            # layer_types decides, not max_window_layers.
            "use_sliding_window": True,
            "sliding_window": 5,
            "max_window_layers": 99,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "tie_word_embeddings": True,
            "dtype": "float16",
        },
        1,
        False,
    ),
    "qwen3moe-a": (
        _QWEN3_MOE
        | {
            "hidden_size": 56,
            "num_hidden_layers": 4,
            "num_attention_heads": 5,
            "num_key_value_heads": 1,
            "head_dim": 18,
            "intermediate_size": 70,
            "rope_theta": 1000000.0,
            "rope_scaling": None,
            "attention_bias": False,
            "use_sliding_window": False,
            "sliding_window": None,
            "max_window_layers": 4,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [0, 2],
            "num_experts": 7,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 19,
            "norm_topk_prob": True,
            "router_aux_loss_coef": 0.001,
            "output_router_logits": False,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        },
        2,
        False,
    ),
    "qwen3moe-b": (
        _QWEN3_MOE
        | {
            "hidden_size": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 20,
            "intermediate_size": 44,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "original_max_position_embeddings": 64,
                "attention_factor": 1.1,
                "truncate": False,
            },
            "attention_bias": True,
            # Of all layers.
            "use_sliding_window": True,
            "sliding_window": 64,
            "max_window_layers": 0,
            "decoder_sparse_step": 2,
            "mlp_only_layers": [],
            "num_local_experts": 6,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 45,
            "norm_topk_prob": False,
            "tie_word_embeddings": True,
            "dtype": "bfloat16",
        },
        1,
        True,
    ),
}


def random_weights(config: dict, joined_experts: bool, rng: np.random.Generator) -> Weights:
    dtype = getattr(torch, config.get("dtype") or config["torch_dtype"])
    hidden, n = config["hidden_size"], head_dim_of(config)
    q_rows, kv_rows = config["num_attention_heads"] * n, config["num_key_value_heads"] * n
    qwen2 = config["model_type"] == "qwen2"
    weights: Weights = {}

    def put(name: str, value: np.ndarray) -> None:
        weights[name] = torch.from_numpy(value).to(dtype)

    def linear(name: str, rows: int, columns: int, bias: bool = False, gain: float = 1.0) -> None:
        put(name + ".weight", rng.normal(0.0, gain / np.sqrt(columns), (rows, columns)))
        if bias:
            put(name + ".bias", rng.normal(0.0, 0.3, rows))

    def norm(name: str, size: int = hidden, middle: float = 1.0) -> None:
        put(name + ".weight", rng.normal(middle, 0.2, size))

    def mlp(prefix: str, inner: int, gain: float) -> None:
        linear(prefix + "gate_proj", inner, hidden, gain=1.5)
        linear(prefix + "up_proj", inner, hidden)
        linear(prefix + "down_proj", hidden, inner, gain=gain)

    tied = config["tie_word_embeddings"]
    put("model.embed_tokens.weight", rng.normal(0.0, 0.03 if tied else 1.0, (config["vocab_size"], hidden)))
    for i in range(config["num_hidden_layers"]):
        p = f"model.layers.{i}."
        bias = qwen2 or config["attention_bias"]
        norm(p + "input_layernorm")
        # Larger queries and keys: a near-uniform attention would hide errors in positions, windows and masks; a sharp one would
        # magnify the rounding of float32 angles, which is not the compiler's.
        linear(p + "self_attn.q_proj", q_rows, hidden, bias, 1.2)
        linear(p + "self_attn.k_proj", kv_rows, hidden, bias, 1.2)
        linear(p + "self_attn.v_proj", kv_rows, hidden, bias)
        linear(p + "self_attn.o_proj", hidden, q_rows, bias and not qwen2)
        if not qwen2:
            norm(p + "self_attn.q_norm", n, 1.5)
            norm(p + "self_attn.k_norm", n, 1.5)
        norm(p + "post_attention_layernorm")
        if not is_sparse(config, i):
            mlp(p + "mlp.", config["intermediate_size"], 1.5)
            continue
        experts = config.get("num_experts") or config["num_local_experts"]
        linear(p + "mlp.gate", experts, hidden, gain=2.0)
        for e in range(experts):
            mlp(p + f"mlp.experts.{e}.", config["moe_intermediate_size"], 2.5)
        if joined_experts:

            def stacked(part: str) -> torch.Tensor:
                return torch.stack([weights.pop(p + f"mlp.experts.{e}.{part}_proj.weight") for e in range(experts)])

            weights[p + "mlp.experts.gate_up_proj"] = torch.cat([stacked("gate"), stacked("up")], dim=1)
            weights[p + "mlp.experts.down_proj"] = stacked("down")
    norm("model.norm")
    if not tied:
        linear("lm_head", config["vocab_size"], hidden, gain=2.0)
    return weights
