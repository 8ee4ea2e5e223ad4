"""AutoDeco's heads in PyTorch, float64, and the random cases: heads beside a base, or merged with it.

The base's hidden states and logits come from transformers; what the heads make of them is written here as the
paper's code has it, module by module.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from checkpoint import Weights, load_weights, read_json

INNER = 256

# name: (base case, own configuration, type of the heads' tensors, merged with the base into this many shards)
CASES: dict[str, tuple[str, dict, torch.dtype, int]] = {
    "autodeco-llama": ("llama-a", {}, torch.bfloat16, 2),
    "autodeco-qwen3": ("qwen3-a", {"use_enhanced_features": False}, torch.float32, 0),
    "autodeco-qwen2": ("qwen2-a", {"enable_temperature_head": False}, torch.float16, 0),
    "autodeco-qwen3moe": ("qwen3moe-a", {}, torch.bfloat16, 0),
    "autodeco-llama-d": ("llama-d", {"enable_top_p_head": False}, torch.bfloat16, 0),
}


def config_of(base: Path, own: dict) -> dict:
    config = read_json(base / "config.json")
    return config | {
        "architectures": ["AutoDecoModelForCausalLM"],
        "model_type": "autodeco",
        "base_model_name_or_path": base.name,
        "base_model_type": config["model_type"],
        "enable_temperature_head": True,
        "enable_top_p_head": True,
        "use_enhanced_features": True,
        "temperature_hidden_size": config["hidden_size"],
        "top_p_hidden_size": config["hidden_size"],
        **own,
    }


def random_heads(config: dict, dtype: torch.dtype, rng: np.random.Generator) -> Weights:
    """Spread out: temperatures and top-p from near 0 to near the top, each statistic with a part in it."""
    hidden = config["hidden_size"]
    weights: Weights = {}

    def put(name: str, value: np.ndarray) -> None:
        weights[name] = torch.from_numpy(value).to(dtype)

    # Columns of T and of max, entropy, variance (small everywhere: large weights), top-5 sum.
    extras = np.array([1.0, 2.0, 0.5, 300.0, 2.0])[: 5 if config["use_enhanced_features"] else 1]
    for name, scales, out in (("temp_head", np.ones(0), 2.0), ("top_p_head", extras, 1.5)):
        first = rng.normal(0.0, hidden**-0.5, (INNER, hidden))
        put(f"{name}.mlp.0.weight", np.concatenate([first, rng.normal(0.0, 1.0, (INNER, len(scales))) * scales], axis=1))
        put(f"{name}.mlp.0.bias", rng.normal(0.0, 0.2, INNER))
        put(f"{name}.mlp.2.weight", rng.normal(0.0, out * INNER**-0.5, (1, INNER)))
        put(f"{name}.mlp.2.bias", rng.normal(0.0, 0.2, 1))
    return weights


class Head(nn.Module):
    def __init__(self, columns: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(columns, INNER), nn.ReLU(), nn.Linear(INNER, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x)


def probability_statistics(logits: Tensor) -> Tensor:
    q = torch.softmax(logits, dim=-1)
    entropy = -(q * torch.log(q + 1e-8)).sum(dim=-1, keepdim=True)
    largest = q.topk(min(5, q.size(-1)), dim=-1).values
    return torch.cat([largest[:, :1], entropy, q.var(dim=-1, keepdim=True), largest.sum(dim=-1, keepdim=True)], dim=-1)


def features(hidden: Tensor, temperature: Tensor, statistics: Tensor, enhanced: bool) -> Tensor:
    return torch.cat([hidden, temperature] + ([statistics] if enhanced else []), dim=-1)


@torch.no_grad()
def decode(config: dict, heads: dict[str, np.ndarray], hidden: Tensor, logits: Tensor) -> np.ndarray:
    """[T, 6]: temperature and top-p to draw with when the caller gives 1 for both, then the four statistics."""
    enhanced = config["use_enhanced_features"]
    module = nn.ModuleDict(
        {"temp_head": Head(hidden.shape[1]), "top_p_head": Head(hidden.shape[1] + (5 if enhanced else 1))}
    ).double()
    module.load_state_dict({name: torch.from_numpy(value) for name, value in heads.items()})
    temperature = 2 * module["temp_head"](hidden)
    statistics = probability_statistics(logits / (temperature + 1e-8))
    top_p = module["top_p_head"](features(hidden, temperature, statistics, enhanced))
    one = torch.ones_like(temperature)
    used = [
        temperature if config["enable_temperature_head"] else one,
        top_p if config["enable_top_p_head"] else one,
    ]
    return torch.cat([*used, statistics], dim=-1).numpy()


def heads_of(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value for name, value in weights.items() if name.startswith(("temp_head.", "top_p_head."))}


@torch.no_grad()
def base_states(base: Path, tokens: np.ndarray) -> tuple[Tensor, Tensor]:
    """Final hidden states, after the last norm, and logits of the base, from transformers in float64."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager"
    )
    hidden = model.model(torch.from_numpy(tokens)[None]).last_hidden_state[0].double()
    return hidden, model.lm_head(hidden).double()


def decoding(directory: Path, base: Path, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hidden, logits = base_states(base, tokens)
    heads = heads_of(load_weights(directory))
    return decode(read_json(directory / "config.json"), heads, hidden, logits), logits.numpy()


def self_test() -> None:
    """A worked row, by hand: q = .5, .3, .15, .05."""
    q = torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64)
    expected = torch.tensor([[0.5, 1.1421200, 0.115 / 3, 1.0]], dtype=torch.float64)
    assert torch.allclose(probability_statistics(q.log()), expected, atol=1e-6)
