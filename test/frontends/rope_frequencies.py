#!/usr/bin/env python3
"""Writes rope-frequencies.txt: rotary frequencies by transformers (5.x, float32 on the CPU), for RopeTest.

usage: rope_frequencies.py > rope-frequencies.txt
"""
import json

import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=8192)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32768)
# name, head_dim, config.json as a published checkpoint or a writer would have it
CASES = [
    ("default", 64, dict(rope_theta=10000.0)),
    ("default-absent", 8, dict()),
    ("default-large-theta", 128, dict(rope_theta=10000000)),
    ("default-new-spelling", 64, dict(rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
    ("default-odd-size", 18, dict(rope_theta=500000.0, rope_scaling=None)),
    ("linear", 128, dict(rope_theta=10000.0, rope_scaling=dict(type="linear", factor=2.5))),
    ("llama3-8b", 128, dict(rope_theta=500000.0, max_position_embeddings=131072, rope_scaling=LLAMA3)),
    ("llama3-1b", 64, dict(rope_theta=500000.0, max_position_embeddings=131072,
                           rope_scaling=dict(LLAMA3, factor=32.0))),
    ("llama3-new-spelling", 64, dict(rope_parameters=dict(LLAMA3, rope_theta=500000.0))),
    ("yarn-qwen", 128, dict(rope_theta=1000000.0, max_position_embeddings=131072, rope_scaling=YARN)),
    ("yarn-no-original", 128, dict(rope_theta=1000000.0, max_position_embeddings=40960,
                                   rope_scaling=dict(type="yarn", factor=4.0))),
    ("yarn-betas-untruncated", 64, dict(rope_theta=150000, max_position_embeddings=131072,
                                        rope_scaling=dict(rope_type="yarn", factor=32.0, beta_fast=32.0, beta_slow=1.0,
                                                          truncate=False, original_max_position_embeddings=4096))),
    ("yarn-mscale", 64, dict(rope_theta=10000, max_position_embeddings=163840,
                             rope_scaling=dict(type="yarn", factor=40, beta_fast=32, beta_slow=1, mscale=1.0,
                                               mscale_all_dim=0.707, original_max_position_embeddings=4096))),
    ("yarn-attention-factor", 128, dict(rope_theta=1000000.0, max_position_embeddings=32768,
                                        rope_scaling=dict(YARN, attention_factor=1.5))),
    ("yarn-short-ramp", 8, dict(rope_theta=10000.0, max_position_embeddings=64,
                                rope_scaling=dict(rope_type="yarn", factor=2.0,
                                                  original_max_position_embeddings=32))),
    ("yarn-clamped-ramp", 8, dict(rope_theta=10.0, max_position_embeddings=1270,
                                  rope_scaling=dict(rope_type="yarn", factor=2.0,
                                                    original_max_position_embeddings=635))),
]


def main():
    print("# Made by rope_frequencies.py: per case config.json, head_dim, attention factor, float32 bits in hexadecimal.")
    for name, head_dim, entries in CASES:
        config = LlamaConfig(**json.loads(json.dumps(entries)), head_dim=head_dim, num_attention_heads=4,
                             num_key_value_heads=4, hidden_size=4 * head_dim)
        kind = config.rope_parameters["rope_type"]
        function = ROPE_INIT_FUNCTIONS.get(kind, LlamaRotaryEmbedding.compute_default_rope_parameters)
        frequencies, factor = function(config)
        assert frequencies.dtype == torch.float32
        bits = " ".join(f"{value & 0xFFFFFFFF:08x}" for value in frequencies.view(torch.int32).tolist())
        print(f"case {name}\nconfig {json.dumps(entries)}\nhead_dim {head_dim}\nattention_factor {factor!r}\nfrequencies {bits}")


main()
