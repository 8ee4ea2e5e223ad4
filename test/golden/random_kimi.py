"""The random kimi_linear cases: configurations and weights."""

import numpy as np
import torch

from checkpoint import Weights

_COMMON = {
    "architectures": ["KimiLinearForCausalLM"],
    "model_type": "kimi_linear",
    "vocab_size": 257,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "bos_token_id": 254,
    "eos_token_id": 255,
    "pad_token_id": 256,
    "model_max_length": 4096,
    "initializer_range": 0.02,
    "use_cache": True,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "q_lora_rank": None,
    "mla_use_nope": True,
    "num_nextn_predict_layers": 0,
    "dtype": "bfloat16",
    # No block uses this key; a value that fits nothing shows a reader that does.
    "head_dim": 17,
}


def _linear_attention(kda: list[int], full: list[int], heads: int, width: int, taps: int = 4) -> dict:
    return {
        "linear_attn_config": {
            "kda_layers": kda,
            "full_attn_layers": full,
            "head_dim": width,
            "num_heads": heads,
            "short_conv_kernel_size": taps,
        },
        "num_hidden_layers": len(kda) + len(full),
    }


_KIMI_A = (
    _COMMON
    | _linear_attention([1, 3, 4], [2, 5], heads=3, width=24)
    | {
        "hidden_size": 72,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "intermediate_size": 60,
        "kv_lora_rank": 40,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 24,
        "num_experts": 5,
        "num_experts_per_token": 2,
        "num_shared_experts": 1,
        "moe_intermediate_size": 18,
        "first_k_dense_replace": 1,
        "moe_layer_freq": 1,
        "moe_renormalize": True,
        "moe_router_activation_func": "sigmoid",
        "routed_scaling_factor": 2.446,
        "use_grouped_topk": True,
        "num_expert_group": 1,
        "topk_group": 1,
    }
)

# name: (config, shards)
CASES: dict[str, tuple[dict, int]] = {
    "kimi-a": (_KIMI_A, 1),
    "kimi-b": (
        _COMMON
        | _linear_attention([2], [1], heads=2, width=40)
        | {
            "hidden_size": 48,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "intermediate_size": 70,
            "kv_lora_rank": 28,
            "qk_nope_head_dim": 20,
            "qk_rope_head_dim": 12,
            "v_head_dim": 25,
            "num_experts": None,
            "num_experts_per_token": None,
            "num_shared_experts": 0,
            "moe_intermediate_size": None,
            "first_k_dense_replace": 0,
            "moe_layer_freq": 1,
            "moe_renormalize": True,
            "moe_router_activation_func": "sigmoid",
            "routed_scaling_factor": 1.0,
            "use_grouped_topk": True,
            "num_expert_group": 1,
            "topk_group": 1,
            "dtype": "float32",
        },
        1,
    ),
    "kimi-c": (
        # KDA and MLA with different numbers of heads, three taps, experts in every second layer.
        _COMMON
        | _linear_attention([2, 3], [1], heads=2, width=20, taps=3)
        | {
            "hidden_size": 72,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "intermediate_size": 84,
            "kv_lora_rank": 32,
            "qk_nope_head_dim": 16,
            "qk_rope_head_dim": 8,
            "v_head_dim": 18,
            "num_experts": 6,
            "num_experts_per_token": 2,
            "num_shared_experts": 2,
            "moe_intermediate_size": 22,
            "first_k_dense_replace": 0,
            "moe_layer_freq": 2,
            "moe_renormalize": False,
            "moe_router_activation_func": "softmax",
            "routed_scaling_factor": 1.5,
            "use_grouped_topk": True,
            "num_expert_group": 2,
            "topk_group": 1,
        },
        2,
    ),
    "kimi-extreme": (_KIMI_A | _linear_attention([1, 3], [2], heads=3, width=24), 1),
}

# kimi-extreme: token ids that carry a mark in hidden channel 0, and the share of decay channels that read it.
MARKED_IDS = slice(0, None, 10)
MARKED_CHANNELS = 0.65


def random_weights(case: str, config: dict, rng: np.random.Generator) -> Weights:
    dtype = getattr(torch, config["dtype"])
    hidden, linear = config["hidden_size"], config["linear_attn_config"]
    # kimi-c has the spellings that other writers use: A_log [H], convolutions [N, W], small tensors in float32.
    plain_shapes = case == "kimi-c"
    small_dtype = torch.float32 if plain_shapes else dtype
    weights: Weights = {}

    def put(name: str, value: np.ndarray, kind: torch.dtype = dtype) -> None:
        weights[name] = torch.from_numpy(value).to(kind)

    def matrix(name: str, rows: int, columns: int, gain: float = 1.0) -> None:
        put(name + ".weight", rng.normal(0.0, gain / np.sqrt(columns), (rows, columns)))

    def norm(name: str, width: int, kind: torch.dtype = dtype) -> None:
        put(name + ".weight", rng.normal(1.0, 0.2, width), kind)

    def swiglu(prefix: str, inner: int, names: tuple[str, str, str]) -> None:
        gate, up, down = names
        matrix(prefix + gate, inner, hidden, 1.5)
        matrix(prefix + up, inner, hidden)
        matrix(prefix + down, hidden, inner, 1.5)

    def kda(p: str) -> None:
        heads, width, taps = linear["num_heads"], linear["head_dim"], linear["short_conv_kernel_size"]
        rows = heads * width
        for name in "qkv":
            matrix(f"{p}{name}_proj", rows, hidden)
            shape = (rows, taps) if plain_shapes else (rows, 1, taps)
            # Short q and k in kimi-c: the 1e-6 in their norm, and where it is added, then shows.
            gain = 0.01 if plain_shapes and name != "v" else 0.8
            put(f"{p}{name}_conv1d.weight", rng.normal(0.0, gain, shape), small_dtype)
        # The usual initialisation: rates 1..16, softplus(dt_bias) between 1e-3 and 1e-1, spread evenly in the
        # logarithm. With the random f on top, decays run from almost 1 to almost 0.
        a_log = np.log(rng.uniform(1.0, 16.0, heads))
        step = np.exp(rng.uniform(np.log(1e-3), np.log(1e-1), rows))
        put(p + "A_log", a_log if plain_shapes else a_log.reshape(1, 1, heads, 1), torch.float32)
        put(p + "dt_bias", step + np.log(-np.expm1(-step)), torch.float32)
        matrix(p + "f_a_proj", width, hidden)
        matrix(p + "f_b_proj", rows, width)
        matrix(p + "b_proj", heads, hidden, 1.5)
        matrix(p + "g_a_proj", width, hidden)
        matrix(p + "g_b_proj", rows, width, 2.0)
        norm(p + "o_norm", width, small_dtype)
        matrix(p + "o_proj", hidden, rows)

    def mla(p: str) -> None:
        heads, rank, dv = config["num_attention_heads"], config["kv_lora_rank"], config["v_head_dim"]
        dn, dr = config["qk_nope_head_dim"], config["qk_rope_head_dim"]
        matrix(p + "q_proj", heads * (dn + dr), hidden, 2.0)
        matrix(p + "kv_a_proj_with_mqa", rank + dr, hidden)
        weights[p + "kv_a_proj_with_mqa.weight"][:rank] *= 2**-5  # small latents: the eps of their norm shows
        norm(p + "kv_a_layernorm", rank)
        matrix(p + "kv_b_proj", heads * (dn + dv), rank, 1.2)
        matrix(p + "o_proj", hidden, heads * dv)

    def experts(p: str) -> None:
        count, inner = config["num_experts"], config["moe_intermediate_size"]
        softmax_router = config["moe_router_activation_func"] == "softmax"
        matrix(p + "gate", count, hidden, 2.0)
        put(p + "gate.e_score_correction_bias", rng.normal(0.0, 0.1 if softmax_router else 0.4, count), small_dtype)
        for e in range(count):
            swiglu(f"{p}experts.{e}.", inner, ("w1", "w3", "w2"))
        swiglu(p + "shared_experts.", inner * config["num_shared_experts"], ("gate_proj", "up_proj", "down_proj"))

    # A small embedding in kimi-b, so that rms_norm_eps shows.
    embedding_gain = 0.02 if case == "kimi-b" else 1.0
    put("model.embed_tokens.weight", rng.normal(0.0, embedding_gain, (config["vocab_size"], hidden)))
    for i in range(config["num_hidden_layers"]):
        p = f"model.layers.{i}."
        norm(p + "input_layernorm", hidden)
        (kda if i + 1 in linear["kda_layers"] else mla)(p + "self_attn.")
        norm(p + "post_attention_layernorm", hidden)
        has_experts = config["num_experts"] is not None and i >= config["first_k_dense_replace"]
        if has_experts and i % config["moe_layer_freq"] == 0:
            experts(p + "block_sparse_moe.")
        else:
            swiglu(p + "mlp.", config["intermediate_size"], ("gate_proj", "up_proj", "down_proj"))
    norm("model.norm", hidden)
    matrix("lm_head", config["vocab_size"], hidden, 2.0)
    if case == "kimi-extreme":
        _make_extreme(config, weights, rng)
    return weights


def _make_extreme(config: dict, weights: Weights, rng: np.random.Generator) -> None:
    """Makes about 5 % of the gates about -1000: on marked tokens only, and there in some channels only.

    Hidden channel 0 is the mark: zero for unmarked tokens, and nothing adds to it. One row of f_a_proj reads
    it, and f_b_proj spreads it over some channels; A_log is raised so that no f beyond float16 is needed.
    """
    linear = config["linear_attn_config"]
    embedding = weights["model.embed_tokens.weight"]
    embedding[:, 0] = 0.0
    embedding[MARKED_IDS, 0] = 10.0
    for name, tensor in weights.items():
        if name.endswith(("o_proj.weight", "down_proj.weight", "w2.weight")):
            tensor[0, :] = 0.0
        elif name.endswith("A_log"):
            tensor[:] = torch.log(torch.from_numpy(rng.uniform(12.0, 20.0, tensor.numel()))).reshape(tensor.shape)
        elif name.endswith("f_a_proj.weight"):
            tensor[0, :] = 0.0
            tensor[0, 0] = 1.0
        elif name.endswith("f_b_proj.weight"):
            rows = linear["num_heads"] * linear["head_dim"]
            reads = rng.random(rows) < MARKED_CHANNELS
            tensor[:, 0] = torch.from_numpy(np.where(reads, rng.uniform(6.5, 10.0, rows), 0.0)).to(tensor.dtype)
