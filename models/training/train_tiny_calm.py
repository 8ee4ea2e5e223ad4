"""Trains the tiny CALM checkpoint, models/calm/tiny and its autoencoder in models/calm/tiny/autoencoder.

usage: python train_tiny_calm.py TEXT [--out DIR] [--resume] [--tokens N] [--ae-steps N] [--steps N] [--minutes M]
                                  [--rate R] [--batch B] [--seed N]

TEXT is tinyshakespeare.txt (public domain, 1.1 MB), or any text. First the autoencoder, then, with that frozen, the
language model by its energy score. One thread. On a busy machine --minutes bounds the time of either; the learning
rates then follow the clock. --resume goes on with the language model of the checkpoint in --out. The energy score
learns slowly: in minutes a model of this size learns letters and spaces of the whole text, or words and lines of its
first --tokens.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from calm_models import Autoencoder, EnergyTransformer
from tiny_tokenizer import END_OF_TEXT, train_tokenizer
from train_tiny import Muon, documents, write_json

VOCABULARY = 512
END, PAD = VOCABULARY - 1, VOCABULARY
CONTEXT = 96  # patches
HELD_OUT = 8000  # tokens at the end of the text

SHARED = {
    "vocab_size": VOCABULARY + 1,  # and the pad
    "patch_size": 2,
    "latent_size": 32,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "mlp_bias": False,
    "bos_token_id": END,
    "eos_token_id": END,
    "pad_token_id": PAD,
    "torch_dtype": "bfloat16",
}

AUTOENCODER = {
    "architectures": ["Autoencoder"],
    "model_type": "autoencoder",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "ae_dropout": 0.15,
    "kl_clamp": 0.5,
    "kl_weight": 1e-3,
    **SHARED,
}

CALM = {
    "architectures": ["EnergyTransformer"],
    "model_type": "energy",
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "noise_size": 32,
    "num_mlp_layers": 3,
    "num_samples": 4,
    "beta": 1.0,
    "temp": 1.0,
    "max_position_embeddings": 512,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "attention_bias": False,
    "tie_word_embeddings": False,
    "ae_path": "autoencoder",
    **SHARED,
}


def optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.dim() == 2 and "embed_tokens" not in name]
    others = [p for name, p in named if p.dim() != 2 or "embed_tokens" in name]
    return [Muon(matrices, lr=0.02), torch.optim.AdamW(others, lr=0.005, betas=(0.9, 0.97), weight_decay=0.0)]


def batch(data: Tensor, size: int, patch: int, generator: torch.Generator) -> Tensor:
    """Sequences of patches that begin anywhere."""
    length = CONTEXT * patch
    starts = torch.randint(0, len(data) - length, (size,), generator=generator)
    return torch.stack([data[s : s + length] for s in starts.tolist()]).unflatten(1, (CONTEXT, patch))


def train(name: str, model: nn.Module, loss_of, report, steps: int, minutes: float, most: float = 1.0) -> None:
    rates = optimizers(model)
    base = [o.param_groups[0]["lr"] for o in rates]
    began, step, done = time.time(), 0, 0.0
    while done < 1.0:
        rate = most * min(1.0, (step + 1) / 30, 2.0 * (1.0 - done))
        for optimizer, lr in zip(rates, base):
            optimizer.param_groups[0]["lr"] = lr * rate
        loss = loss_of(model)
        loss.backward()
        for optimizer in rates:
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        done = max(step / steps, (time.time() - began) / (60 * minutes))
        if step % 50 == 0 or done >= 1.0:
            line = f"{name} step {step} loss {loss.item():.3f}"
            if step % 400 == 0 or done >= 1.0:
                line += " " + report(model)
            print(f"{line} ({time.time() - began:.0f} s)", flush=True)


@torch.no_grad()
def round_to_stored(model: nn.Module) -> None:
    for value in model.state_dict().values():
        value.copy_(value.bfloat16())


def save(model: nn.Module, config: dict, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.bfloat16().contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    write_json(out / "config.json", config)


@torch.no_grad()
def reconstruction(model: Autoencoder, data: Tensor) -> float:
    patches = data[: len(data) // model.config["patch_size"] * model.config["patch_size"]].view(-1, model.config["patch_size"])
    mean, _ = model.encoder(patches)
    return (model.decode(mean).argmax(-1) == patches).float().mean().item()


@torch.no_grad()
def sample(model: EnergyTransformer, autoencoder: Autoencoder, prompt: list[int], patches: int, agreeing: int) -> list[int]:
    """Draws each patch until `agreeing` draws in a row are equal (temperature 1 / agreeing), at most 400 times."""
    k = model.config["patch_size"]
    tokens = prompt + [PAD] * (-len(prompt) % k)
    for _ in range(patches):
        hidden = model.hidden(torch.tensor(tokens).view(1, -1, k))[0, -1]
        drawn = autoencoder.decode(model.mlp_generator(hidden.expand(400, -1))).argmax(-1).tolist()
        runs = [i for i in range(400 - agreeing) if all(d == drawn[i] for d in drawn[i : i + agreeing])]
        tokens += drawn[runs[0] if runs else 0]
    return tokens[len(prompt) :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="training text, e.g. tinyshakespeare.txt")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "calm" / "tiny")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out, its autoencoder as it is")
    parser.add_argument("--tokens", type=int, help="only the first of the text")
    parser.add_argument("--ae-steps", type=int, default=1200)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--rate", type=float, default=1.0, help="of the language model's learning rates")
    parser.add_argument("--batch", type=int, default=12, help=f"sequences of {CONTEXT} patches a step")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)

    text = args.text.read_text()
    tokenizer = train_tokenizer(text, VOCABULARY)
    tokenizer.add_special_tokens(["[PAD]"])
    assert tokenizer.token_to_id(END_OF_TEXT) == END and tokenizer.token_to_id("[PAD]") == PAD
    data = torch.tensor(tokenizer.encode(documents(text)).ids)
    held_out, data = data[-HELD_OUT:], data[:-HELD_OUT]
    patch = SHARED["patch_size"]

    autoencoder, model = Autoencoder(AUTOENCODER), EnergyTransformer(CALM)
    if args.resume:
        for part, folder in ((autoencoder, args.out / "autoencoder"), (model, args.out)):
            part.load_state_dict(load_file(folder / "model.safetensors"))
    else:
        train("autoencoder", autoencoder, lambda m: m.loss(batch(data, args.batch, patch, generator)),
              lambda m: f"reconstruction {reconstruction(m, held_out):.4f}", args.ae_steps, args.minutes)
        round_to_stored(autoencoder)
        save(autoencoder, AUTOENCODER, args.out / "autoencoder")
    print(f"reconstruction of the stored weights: {reconstruction(autoencoder, held_out):.4f}", flush=True)

    data = data[: args.tokens]
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)

    def report(m: EnergyTransformer) -> str:
        ids = sample(m, autoencoder, tokenizer.encode("KING RICHARD III:\n").ids, 24, 2)
        return "drew " + repr(tokenizer.decode(ids))

    train("language model", model, lambda m: m.loss(batch(data, args.batch, patch, generator), autoencoder, 4, 16), report, args.steps, args.minutes, args.rate)
    round_to_stored(model)
    save(model, CALM, args.out)
    write_json(args.out / "generation_config.json",
               {"bos_token_id": END, "eos_token_id": END, "pad_token_id": PAD, "do_sample": True, "temperature": 0.5})
    tokenizer.save(str(args.out / "tokenizer.json"))
    write_json(args.out / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": False, "clean_up_tokenization_spaces": False,
        "eos_token": END_OF_TEXT, "pad_token": "[PAD]", "model_max_length": CALM["max_position_embeddings"] * patch})
    for agreeing in (1, 2, 3):
        ids = sample(model, autoencoder, tokenizer.encode("KING RICHARD III:\n").ids, 60, agreeing)
        print(f"--- temperature 1/{agreeing}\nKING RICHARD III:\n{tokenizer.decode(ids)}")


if __name__ == "__main__":
    main()
