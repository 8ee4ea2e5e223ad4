"""The random masked and block diffusion cases: configurations and weights."""

import numpy as np
import torch

import random_llama
import random_qwen
from checkpoint import Weights
from diffusion_oracle import LLADA_LAYER_NAMES, LLADA_NAMES, llada_moe_as_qwen

_LLADA = {
    "architectures": ["LLaDAModelLM"],
    "model_type": "llada",
    "vocab_size": 251,
    "embedding_size": 257,
    "mask_token_id": 250,
    "eos_token_id": 249,
    "pad_token_id": 249,
    "max_sequence_length": 224,
    "block_type": "llama",
    "block_group_size": 1,
    "layer_norm_type": "rms",
    "layer_norm_with_affine": True,
    "activation_type": "silu",
    "rope": True,
    "rope_full_precision": True,
    "alibi": False,
    "include_bias": False,
    "include_qkv_bias": False,
    "bias_for_layer_norm": False,
    "attention_layer_norm": False,
    "input_emb_norm": False,
    "scale_logits": False,
    "flash_attention": False,
    "multi_query_attention": None,
    "mlp_ratio": 4,
    "use_cache": False,
}

_QWEN = {
    "vocab_size": 257,
    "mask_token_id": 250,
    "bos_token_id": 255,
    "eos_token_id": 249,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 224,
    "rms_norm_eps": 1e-6,
    "rope_scaling": None,
    "attention_dropout": 0.0,
    "use_cache": True,
    "use_sliding_window": False,
    "sliding_window": None,
    "attention_bias": False,
}

# name: (config, shards)
CASES: dict[str, tuple[dict, int]] = {
    "llada-a": (
        _LLADA
        | {
            "d_model": 72,
            "n_layers": 3,
            "n_heads": 3,
            "n_kv_heads": 3,
            "mlp_hidden_size": 100,
            "rope_theta": 500000.0,
            "rms_norm_eps": 1e-5,
            "weight_tying": False,
            "torch_dtype": "bfloat16",
        },
        1,
    ),
    "llada-b": (
        _LLADA
        | {
            "d_model": 64,
            "n_layers": 2,
            "n_heads": 8,
            "n_kv_heads": 2,
            "mlp_hidden_size": 93,
            "rope_theta": 10000.0,
            "rms_norm_eps": 1e-6,
            "weight_tying": True,
            "torch_dtype": "float32",
        },
        2,
    ),
    "dream-a": (
        {name: value for name, value in _QWEN.items() if name != "attention_bias"}
        | {
            "architectures": ["DreamModel"],
            "model_type": "Dream",
            "hidden_size": 60,
            "num_hidden_layers": 2,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "intermediate_size": 93,
            "max_window_layers": 2,
            "rope_theta": 1000000.0,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        },
        1,
    ),
    "difflm-a": (
        _QWEN
        | {
            "architectures": ["DiffLM"],
            "hidden_size": 72,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "intermediate_size": 100,
            "rope_theta": 10000.0,
            "attn_mask_type": "bidirectional",
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
        },
        1,
    ),
    "llada-moe-a": (
        {
            "architectures": ["LLaDAMoEModelLM"],
            "model_type": "llada",
            "vocab_size": 257,
            "mask_token_id": 250,
            "eos_token_id": 249,
            "hidden_size": 64,
            "dense_intermediate_size": 93,
            "expert_intermediate_size": 27,
            "shared_expert_intermediate_size": None,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "hidden_act": "silu",
            "max_position_embeddings": 224,
            "rms_norm_eps": 1e-5,
            "rope_theta": 50000.0,
            "partial_rotary_factor": 1.0,
            "rope_scaling": None,
            "attention_bias": False,
            "clip_qkv": None,
            "num_experts": 7,
            "num_experts_per_tok": 3,
            "norm_topk_prob": None,
            "qk_layernorm": True,
            "moe_layer_freq": [0, 1, 1],
            "moe_router_enable_expert_bias": False,
            "moe_router_score_function": "softmax",
            "routed_scaling_factor": 1.0,
            "router_num_group": None,
            "router_topk_group": None,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        },
        1,
    ),
    "sdar-a": (
        _QWEN
        | {
            "architectures": ["SDARForCausalLM"],
            "model_type": "sdar",
            "block_size": 8,
            "head_dim": 20,
            "hidden_size": 72,
            "num_hidden_layers": 3,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "intermediate_size": 93,
            "max_window_layers": 3,
            "rope_theta": 1000000.0,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        },
        1,
    ),
    "sdar-moe-a": (
        _QWEN
        | {
            "architectures": ["SDARMoeForCausalLM"],
            "model_type": "sdar_moe",
            "head_dim": 18,
            "hidden_size": 56,
            "num_hidden_layers": 2,
            "num_attention_heads": 5,
            "num_key_value_heads": 1,
            "intermediate_size": 70,
            "max_window_layers": 2,
            "rope_theta": 1000000.0,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "num_experts": 7,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 19,
            "norm_topk_prob": True,
            "router_aux_loss_coef": 0.001,
            "output_router_logits": False,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        },
        1,
    ),
    "llada2-a": (
        {
            "architectures": ["LLaDA2MoeModelLM"],
            "model_type": "llada2_moe",
            "vocab_size": 257,
            "mask_token_id": 250,
            "eos_token_id": 249,
            "pad_token_id": 249,
            "hidden_size": 64,
            "intermediate_size": 93,
            "moe_intermediate_size": 27,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 20,
            "hidden_act": "silu",
            "max_position_embeddings": 224,
            "rms_norm_eps": 1e-6,
            "rope_theta": 600000.0,
            "partial_rotary_factor": 0.5,
            "rope_scaling": None,
            "use_bias": False,
            "use_qkv_bias": False,
            "use_qk_norm": True,
            "num_experts": 12,
            "num_experts_per_tok": 3,
            "num_shared_experts": 1,
            "first_k_dense_replace": 1,
            "n_group": 4,
            "topk_group": 2,
            "routed_scaling_factor": 2.5,
            "score_function": "sigmoid",
            "moe_router_enable_expert_bias": True,
            "norm_topk_prob": True,
            "router_dtype": "fp32",
            "tie_word_embeddings": False,
            "use_cache": True,
            "torch_dtype": "bfloat16",
        },
        1,
    ),
    "fastdllm-a": (
        {name: value for name, value in _QWEN.items() if name != "attention_bias"}
        | {
            "architectures": ["Fast_dLLM_QwenForCausalLM"],
            "model_type": "Fast_dLLM_Qwen",
            "bd_size": 16,
            "hidden_size": 60,
            "num_hidden_layers": 3,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "intermediate_size": 93,
            "max_window_layers": 3,
            "layer_types": ["full_attention"] * 3,
            "rope_theta": 1000000.0,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        },
        1,
    ),
}
CASES["llada2-b"] = (
    CASES["llada2-a"][0]
    | {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "n_group": 2,
        "topk_group": 1,
        "num_shared_experts": 2,
    },
    1,
)

# Settings that a checkpoint's generation_config.json gives.
GENERATION: dict[str, dict] = {"llada2-b": {"threshold": 0.6, "editing_threshold": 0.3, "max_post_steps": 3, "eos_token_id": 249}}


def random_weights(config: dict, rng: np.random.Generator) -> Weights:
    kind = config["architectures"][0]
    if kind == "LLaDAModelLM":
        return random_llada(config, rng)
    if kind == "LLaDA2MoeModelLM":
        return random_llada2(config, rng)
    if kind == "LLaDAMoEModelLM":
        return random_qwen.random_weights(llada_moe_as_qwen(config), False, rng)
    qwen2 = {"DreamModel": "qwen2", "Fast_dLLM_QwenForCausalLM": "qwen2"}
    model_type = (qwen2 | {"SDARMoeForCausalLM": "qwen3_moe"}).get(kind, "qwen3")
    return random_qwen.random_weights(config | {"model_type": model_type}, False, rng)


def random_llada2(config: dict, rng: np.random.Generator) -> Weights:
    """Qwen3-MoE's weights with q, k and v in one, and what LLaDA2 adds."""
    dense = list(range(config["first_k_dense_replace"]))
    qwen = config | {"model_type": "qwen3_moe", "decoder_sparse_step": 1, "mlp_only_layers": dense, "attention_bias": False}
    weights = random_qwen.random_weights(qwen, False, rng)
    weights["model.word_embeddings.weight"] = weights.pop("model.embed_tokens.weight")
    dtype, hidden = getattr(torch, config["torch_dtype"]), config["hidden_size"]
    width = config["moe_intermediate_size"] * config["num_shared_experts"]
    for i in range(config["num_hidden_layers"]):
        old, new = f"model.layers.{i}.self_attn.", f"model.layers.{i}.attention."
        weights[new + "query_key_value.weight"] = torch.cat([weights.pop(f"{old}{name}_proj.weight") for name in "qkv"])
        for before, after in {"o_proj": "dense", "q_norm": "query_layernorm", "k_norm": "key_layernorm"}.items():
            weights[f"{new}{after}.weight"] = weights.pop(f"{old}{before}.weight")
        if i in dense:
            continue
        p = f"model.layers.{i}.mlp."
        weights[p + "gate.expert_bias"] = torch.from_numpy(rng.normal(0, 0.05, config["num_experts"])).float()
        for name, shape in {"gate": (width, hidden), "up": (width, hidden), "down": (hidden, width)}.items():
            value = rng.normal(0.0, 1.2 / np.sqrt(shape[1]), shape)
            weights[f"{p}shared_experts.{name}_proj.weight"] = torch.from_numpy(value).to(dtype)
    return weights


def random_llada(config: dict, rng: np.random.Generator) -> Weights:
    """Llama's weights under LLaDA's names."""
    llama = {
        "vocab_size": config["embedding_size"],
        "hidden_size": config["d_model"],
        "intermediate_size": config["mlp_hidden_size"],
        "num_hidden_layers": config["n_layers"],
        "num_attention_heads": config["n_heads"],
        "num_key_value_heads": config["n_kv_heads"],
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": config["weight_tying"],
        "torch_dtype": config["torch_dtype"],
    }
    names = {new + ".weight": old + ".weight" for new, old in LLADA_NAMES.items()}
    for i in range(config["n_layers"]):
        for new, old in LLADA_LAYER_NAMES.items():
            names[f"model.layers.{i}.{new}.weight"] = f"model.transformer.blocks.{i}.{old}.weight"
    weights = {names[name]: tensor for name, tensor in random_llama.random_weights(llama, rng).items()}
    assert all(torch.isfinite(t).all() for t in weights.values())
    return weights
