"""Reading and writing Hugging Face style checkpoint directories for the golden cases.

Nothing here knows a model family. Weights are kept as torch tensors only because numpy has no
bfloat16; every oracle gets them as float64 numpy arrays of exactly the stored values.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

Weights = dict[str, torch.Tensor]


def save_weights(directory: Path, weights: Weights, shards: int) -> None:
    """Writes model.safetensors, or `shards` numbered files and their index."""
    weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    if shards == 1:
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
        return
    names = list(weights)
    size = -(-len(names) // shards)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = names[shard * size : (shard + 1) * size]
        save_file({name: weights[name] for name in part}, directory / file, metadata={"format": "pt"})
        weight_map.update({name: file for name in part})
    total = sum(t.numel() * t.element_size() for t in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(directory / "model.safetensors.index.json", index)


def load_stored(directory: Path) -> Weights:
    """All tensors of a directory, as they are."""
    tensors: Weights = {}
    for file in sorted(directory.glob("*.safetensors")):
        tensors.update(load_file(file))
    return tensors


def load_weights(directory: Path) -> dict[str, np.ndarray]:
    """All tensors of a directory, in float64."""
    return {name: tensor.to(torch.float64).numpy() for name, tensor in load_stored(directory).items()}


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def write_golden(directory: Path, tokens: np.ndarray, logits: np.ndarray) -> None:
    (directory / "tokens.txt").write_text(",".join(str(t) for t in tokens) + "\n")
    np.save(directory / "logits.npy", logits.astype("<f4"))


def read_tokens(path: Path) -> np.ndarray:
    return np.array([int(t) for t in path.read_text().split(",")], dtype=np.int64)


def relative_l2(value: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))
