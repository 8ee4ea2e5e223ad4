"""The random CALM cases: configurations and weights of a language model and its autoencoder."""

import numpy as np
import torch

from checkpoint import Weights

_CALM = {
    "architectures": ["EnergyTransformer"],
    "model_type": "energy",
    "ae_path": "somewhere/else",
    "vocab_size": 133,
    "num_samples": 8,
    "beta": 1.0,
    "temp": 1.0,
    "hidden_act": "silu",
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "rope_scaling": None,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "bos_token_id": 130,
    "eos_token_id": 131,
    "pad_token_id": 132,
}
_AUTOENCODER = {
    "architectures": ["Autoencoder"],
    "model_type": "autoencoder",
    "vocab_size": 133,
    "hidden_act": "silu",
    "mlp_bias": False,
    "rms_norm_eps": 1e-6,
    "ae_dropout": 0.15,
    "kl_clamp": 0.5,
    "kl_weight": 1e-3,
}

# name: (language model, autoencoder, name of the head's tensors). Names that end in -ae are the autoencoder's directory.
CASES: dict[str, tuple[dict, dict, str]] = {
    "calm-a": (
        _CALM
        | {
            "hidden_size": 60,
            "intermediate_size": 93,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "rope_theta": 10000.0,
            "latent_size": 19,
            "patch_size": 4,
            "noise_size": 11,
            "num_mlp_layers": 3,
            "torch_dtype": "float32",
        },
        _AUTOENCODER
        | {
            "hidden_size": 44,
            "intermediate_size": 71,
            "num_encoder_layers": 2,
            "num_decoder_layers": 2,
            "latent_size": 19,
            "patch_size": 4,
            "torch_dtype": "float32",
        },
        "generative_head.",
    ),
    "calm-b": (
        _CALM
        | {
            "hidden_size": 40,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rope_theta": 500.0,
            "latent_size": 32,
            "patch_size": 2,
            "noise_size": 5,
            "num_mlp_layers": 2,
            "torch_dtype": "bfloat16",
        },
        _AUTOENCODER
        | {
            "hidden_size": 33,
            "intermediate_size": 40,
            "num_encoder_layers": 4,
            "num_decoder_layers": 4,
            "latent_size": 32,
            "patch_size": 2,
            "torch_dtype": "bfloat16",
        },
        "mlp_generator.",
    ),
}


def _maker(config: dict, rng: np.random.Generator):
    dtype = getattr(torch, config["torch_dtype"])
    weights: Weights = {}

    def add(name: str, *shape: int, std: float | None = None, mean: float = 0.0) -> None:
        scale = std if std is not None else 1 / np.sqrt(shape[-1])
        weights[name] = torch.from_numpy(mean + scale * rng.standard_normal(shape)).to(dtype)

    def affine(name: str, rows: int, columns: int) -> None:
        add(name + ".weight", rows, columns)
        add(name + ".bias", rows, std=0.05)

    def norm(name: str, size: int) -> None:
        add(name + ".weight", size, std=0.2, mean=1.0)
        add(name + ".bias", size, std=0.2)

    def mlp(name: str, hidden: int, inner: int) -> None:
        add(name + "gate_proj.weight", inner, hidden)
        add(name + "up_proj.weight", inner, hidden)
        add(name + "down_proj.weight", hidden, inner)

    return weights, add, affine, norm, mlp


def random_autoencoder(c: dict, rng: np.random.Generator, table: str) -> Weights:
    weights, add, affine, _, mlp = _maker(c, rng)
    d = c["hidden_size"]
    add(table, c["vocab_size"], d, std=1.0)
    for side, layers in (("encoder", c["num_encoder_layers"]), ("decoder", c["num_decoder_layers"])):
        for i in range(layers):
            add(f"{side}.{side}_layers.{i}.layernorm.weight", d, std=0.2, mean=1.0)
            mlp(f"{side}.{side}_layers.{i}.mlp.", d, c["intermediate_size"])
        add(f"{side}.norm.weight", d, std=0.2, mean=1.0)
    affine("encoder.squeeze_layer", d, c["patch_size"] * d)
    affine("encoder.hidden_to_latent", 2 * c["latent_size"], d)
    affine("decoder.latent_to_hidden", d, c["latent_size"])
    affine("decoder.expand_layer", c["patch_size"] * d, d)
    return weights


def random_language_model(c: dict, rng: np.random.Generator, head: str) -> Weights:
    weights, add, affine, norm, mlp = _maker(c, rng)
    h, k, n = c["hidden_size"], c["patch_size"], c["hidden_size"] // c["num_attention_heads"]
    add("transformer.embed_tokens.weight", c["vocab_size"], h, std=1.0)
    for i in range(c["num_hidden_layers"]):
        p = f"transformer.layers.{i}."
        for name, rows, columns in (
            ("q", h, h),
            ("k", c["num_key_value_heads"] * n, h),
            ("v", c["num_key_value_heads"] * n, h),
            ("o", h, h),
        ):
            add(f"{p}self_attn.{name}_proj.weight", rows, columns)
        mlp(p + "mlp.", h, c["intermediate_size"])
        for name in ("input_layernorm", "post_attention_layernorm"):
            add(f"{p}{name}.weight", h, std=0.2, mean=1.0)
    add("transformer.norm.weight", h, std=0.2, mean=1.0)
    affine("embed_proj.0", 2 * h, k * h)
    affine("embed_proj.2", h, 2 * h)
    norm("embed_proj.3", h)
    affine(head + "noise_embd", h, c["noise_size"])
    # So sharp that few draws differ: samples of a random head would hardly ever agree.
    affine(head + "hidden_embd", h, h)
    for name in ("norm_hidden", "norm_noise"):
        norm(head + name, h)
    weights[head + "norm_noise.weight"] *= 0.1
    for i in range(c["num_mlp_layers"]):
        p = f"{head}mlp_blocks.{i}."
        norm(p + "in_ln", h)
        weights[p + "in_ln.weight"] *= 0.1
        affine(p + "linears.0", h, 2 * h)
        affine(p + "linears.2", h, h)
        affine(p + "linears.4", 2 * h, h)
        affine(p + "down_proj", h, h)
    norm(head + "final_layer.in_ln", h)
    affine(head + "final_layer.linears.0", h, h)
    affine(head + "final_layer.linears.2", c["latent_size"], h)
    weights[head + "final_layer.linears.2.weight"] *= 4
    return weights
