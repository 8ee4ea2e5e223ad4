"""Writes the golden cases of this folder: random checkpoints, token ids, logits.

usage: python make_goldens.py [CASE ...]        all random cases when none is named

A case is a directory in the form of a published checkpoint (config.json, safetensors), tokens.txt and
logits.npy: float32 [tokens, vocabulary], row t being the logits after tokens 0..t. All models are causal,
so the first n rows are the golden of the prompt of the first n tokens.
"""

import sys
import zlib
from pathlib import Path

import numpy as np
import torch

import llama_oracle
import random_llama
from checkpoint import load_weights, read_json, relative_l2, save_weights, write_golden, write_json

FOLDER = Path(__file__).parent
TOKENS = 200


def rng_for(case: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(case.encode())))


def random_tokens(rng: np.random.Generator, vocabulary: int) -> np.ndarray:
    tokens = rng.integers(0, vocabulary, TOKENS)
    tokens[[5, 64]] = 0, vocabulary - 1  # the first and the last row of the tables are always read
    return tokens


def transformers_llama_logits(directory: Path, tokens: np.ndarray) -> np.ndarray:
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float64, attn_implementation="eager")
    with torch.no_grad():
        return model(torch.from_numpy(tokens)[None]).logits[0].double().numpy()


def make_llama(case: str) -> str:
    config, shards = random_llama.CASES[case]
    directory, rng = FOLDER / case, rng_for(case)
    directory.mkdir(exist_ok=True)
    write_json(directory / "config.json", config)
    save_weights(directory, random_llama.random_weights(config, rng), shards)
    tokens = random_tokens(rng, config["vocab_size"])
    # From here on only what is on disk counts.
    golden = transformers_llama_logits(directory, tokens)
    check = llama_oracle.logits(read_json(directory / "config.json"), load_weights(directory), tokens)
    error = relative_l2(golden, check)
    assert error < 2e-6, f"{case}: transformers and llama_oracle differ by {error:.1e}"
    write_golden(directory, tokens, golden)
    return f"transformers against llama_oracle: relative L2 {error:.1e}; logits std {golden.std():.2f}"


def main() -> None:
    torch.set_num_threads(1)
    makers = {case: make_llama for case in random_llama.CASES}
    for case in sys.argv[1:] or makers:
        print(f"{case}: {makers[case](case)}")


if __name__ == "__main__":
    main()
