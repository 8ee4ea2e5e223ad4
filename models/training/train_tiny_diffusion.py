"""Trains the tiny checkpoints that fill masks: models/llada/tiny and models/sdar/tiny.

usage: python train_tiny_diffusion.py FAMILY TEXT [--base DIR] [--out DIR] [--resume] [--steps N] [--minutes M] [--batch B] [--seed N]

FAMILY is `llada` (masked diffusion) or `sdar` (block diffusion). As the published SDAR and Dream were, the model is
made from one that predicts next tokens, models/llama/tiny: its weights and tokenizer with a mask token added, trained
on the same text to fill masks where they are. Some fifteen minutes on one thread; see train_tiny.py for --minutes.
"""

import argparse
import json
import math
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from tiny_models import LanguageModel, View, export
from tiny_tokenizer import load_tokenizer
from train_tiny import CONTEXT, END, documents, evaluate, round_to_stored, train, write_checkpoint

MASK, MASK_TEXT = END + 1, "<|mask|>"
BLOCK = {"llada": None, "sdar": 4}  # positions that see each other; None: all do

LLADA_NAMES = {
    "model.embed_tokens.": "model.transformer.wte.",
    "model.norm.": "model.transformer.ln_f.",
    "model.layers.": "model.transformer.blocks.",
    "input_layernorm.": "attn_norm.",
    "post_attention_layernorm.": "ff_norm.",
    "self_attn.o_proj.": "attn_out.",
    "self_attn.": "",
    "mlp.gate_proj.": "ff_proj.",
    "mlp.up_proj.": "up_proj.",
    "mlp.down_proj.": "ff_out.",
}


def published_config(family: str, c: dict) -> dict:
    if family == "sdar":
        kept = {key: value for key, value in c.items() if key != "mlp_bias"}  # Qwen3 has no such key
        return kept | {
            "architectures": ["SDARForCausalLM"],
            "max_position_embeddings": CONTEXT,
            "block_size": BLOCK[family],
            "mask_token_id": MASK,
            "pad_token_id": END,
        }
    return {
        "architectures": ["LLaDAModelLM"],
        "model_type": "llada",
        "vocab_size": c["vocab_size"],
        "embedding_size": c["vocab_size"],
        "d_model": c["hidden_size"],
        "n_layers": c["num_hidden_layers"],
        "n_heads": c["num_attention_heads"],
        "n_kv_heads": c["num_key_value_heads"],
        "mlp_hidden_size": c["intermediate_size"],
        "max_sequence_length": CONTEXT,
        "rope_theta": c["rope_theta"],
        "rms_norm_eps": c["rms_norm_eps"],
        "weight_tying": True,
        "mask_token_id": MASK,
        "bos_token_id": END,
        "eos_token_id": END,
        "pad_token_id": END,
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
        "use_cache": False,
        "torch_dtype": "bfloat16",
    }


def published_name(family: str, name: str) -> str:
    for ours, theirs in LLADA_NAMES.items() if family == "llada" else ():
        name = name.replace(ours, theirs)
    return name


def start_from(model: LanguageModel, base: dict[str, Tensor]) -> None:
    """The base's weights; the mask begins as the average token, norms of heads so that lengths stay what they were."""
    table = base["model.embed_tokens.weight"].float()
    base = base | {"model.embed_tokens.weight": torch.cat([table, table.mean(dim=0, keepdim=True)])}
    missing = model.load_state_dict(base, strict=False).missing_keys
    assert all("_norm" in name for name in missing), missing
    with torch.no_grad():
        for layer in model.model.layers:
            for norm, projection in (("q_norm", "q_proj"), ("k_norm", "k_proj")):
                if hasattr(layer.self_attn, norm):
                    rows = getattr(layer.self_attn, projection).weight * layer.input_layernorm.weight
                    getattr(layer.self_attn, norm).weight.fill_(rows.square().sum(dim=1).mean().sqrt())


def block_view(block: int | None, tokens: int) -> View:
    """What rows see when generating: their own block and those before it."""
    positions = torch.arange(tokens)
    if block is None:
        return View(positions)
    of = positions // block
    return View(positions, of[:, None] >= of[None, :])


def training_view(block: int, tokens: int) -> View:
    """Rows are [masked; clean] copies of the text. A masked block sees itself and the clean blocks before it,
    a clean one itself and those before it: all blocks are trained in one pass."""
    positions = torch.arange(tokens)
    of = positions // block
    row, column = of[:, None], of[None, :]
    masked = torch.cat([row == column, row > column], dim=1)
    clean = torch.cat([torch.zeros(tokens, tokens, dtype=torch.bool), row >= column], dim=1)
    return View(positions.repeat(2), torch.cat([masked, clean]))


def fill_loss(block: int | None, model: LanguageModel, tokens: Tensor) -> Tensor:
    """Each token masked with a probability drawn per sequence or block; what is masked is to be told. Probabilities
    are spread evenly over the batch. The published losses weight each token by one over its probability: a bound of
    the likelihood with the same minimum, but whose gradient is mostly noise in batches of this size."""
    tokens = tokens[:, :CONTEXT]
    count, length = tokens.shape
    spans = count * (length // block if block else 1)
    generator = None if model.training else torch.Generator().manual_seed(0)
    t = (torch.randperm(spans, generator=generator) + torch.rand(spans, generator=generator)) / spans
    p = ((1 - 1e-3) * t + 1e-3).view(count, -1).repeat_interleave(block or length, dim=1)
    is_masked = torch.rand(tokens.shape, generator=generator) < p
    masked = tokens.masked_fill(is_masked, MASK)
    if block:
        logits = model(torch.cat([masked, tokens], dim=1), training_view(block, length), rows=length)
    else:
        logits = model(masked, block_view(None, length))
    return F.cross_entropy(logits[is_masked], tokens[is_masked])


@torch.no_grad()
def fill(model: LanguageModel, prompt: list[int], count: int, sees: int | None, block: int) -> list[int]:
    """Generation at temperature 0: block after block, the surest mask first. With `sees` the blocks are those that
    see each other and count from the beginning of the text, otherwise from the end of the prompt."""
    end = len(prompt) + count
    x = torch.tensor(prompt + [MASK] * count)
    first = len(prompt) // block * block if sees else len(prompt)
    for start in range(first, end, block):
        stop = min(start + block, end)
        seen = start + block if sees else end
        padded = F.pad(x[:seen], (0, seen - min(seen, end)), value=MASK)
        while (masked := (padded[start:stop] == MASK).nonzero().flatten()).numel():
            p, token = model(padded[None], block_view(sees, seen))[0, start:stop].softmax(dim=-1).max(dim=-1)
            at = masked[p[masked].argmax()]
            padded[start + at] = token[at]
        x[:stop] = padded[:stop]
    return x[len(prompt) :].tolist()


def main() -> None:
    here = Path(__file__).parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", choices=BLOCK)
    parser.add_argument("text", type=Path, help="training text, e.g. tinyshakespeare.txt")
    parser.add_argument("--base", type=Path, default=here / "llama" / "tiny")
    parser.add_argument("--out", type=Path, help="default: models/FAMILY/tiny beside this folder")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--batch", type=int, default=12, help=f"sequences of {CONTEXT} tokens a step")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    out = args.out or here / args.family / "tiny"
    out.mkdir(parents=True, exist_ok=True)

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    tokenizer = load_tokenizer(args.base)
    data = torch.tensor(tokenizer.encode(documents(args.text.read_text())).ids)
    tokenizer.add_special_tokens([MASK_TEXT])
    assert tokenizer.token_to_id(MASK_TEXT) == MASK
    held_out, data = data[-8000:], data[:-8000]

    shape = json.loads((args.base / "config.json").read_text())
    shape |= {"model_type": "sdar" if args.family == "sdar" else "llama", "vocab_size": MASK + 1}
    model = LanguageModel(shape)
    names = {name: published_name(args.family, name) for name in export(model)}
    if args.resume:
        stored = load_file(out / "model.safetensors")
        model.load_state_dict({ours: stored[theirs] for ours, theirs in names.items()})
    else:
        start_from(model, load_file(args.base / "model.safetensors"))
    block = BLOCK[args.family]
    loss_of = partial(fill_loss, block)
    train(model, data, held_out, args, loss_of)

    round_to_stored(model)
    model.eval()
    tensors = {names[name]: tensor for name, tensor in export(model).items()}
    extra = {"mask_token": MASK_TEXT, "pad_token": "<|end_of_text|>", "model_max_length": CONTEXT}
    write_checkpoint(out, tensors, published_config(args.family, shape), {"do_sample": False}, tokenizer, extra)
    print(f"held-out loss of the stored weights: {evaluate(model, held_out, loss_of):.3f}")
    for prompt in ("KING RICHARD III:\n", "First Citizen:\n", "ROMEO:\n"):
        ids = fill(model, tokenizer.encode(prompt).ids, 64, block, block or 16)
        print(f"---\n{prompt}{tokenizer.decode(ids, skip_special_tokens=False)}")


if __name__ == "__main__":
    main()
