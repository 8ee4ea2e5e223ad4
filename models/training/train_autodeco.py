"""Trains AutoDeco's heads on a frozen tiny base and writes them as a directory of heads alone.

usage: python train_autodeco.py BASE TEXT [--out DIR] [--tokens N] [--steps N] [--seed N]

BASE is a directory that train_tiny.py made for `llama` (models/llama/tiny); TEXT is the text that it was
trained on. The heads read the base's final hidden state and its logits and predict, token by token, the
temperature and the top-p to draw with. The last part of the text, which the base has not seen either, measures
them. One thread, some three minutes.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tiny_models import LanguageModel
from tiny_tokenizer import END_OF_TEXT, load_tokenizer
from train_tiny import CONTEXT, HELD_OUT, documents, read_json, write_json

INNER = 256
SHARPNESS = 30.0  # of the soft top-p's edge
EASY_DROPPED = 0.6


class Head(nn.Module):
    def __init__(self, columns: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(columns, INNER), nn.ReLU(), nn.Linear(INNER, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x).squeeze(-1).sigmoid()


def statistics(q: Tensor) -> Tensor:
    """[N, 4]: largest probability, entropy, unbiased variance, sum of the five largest."""
    entropy = -(q * (q + 1e-8).log()).sum(dim=-1)
    top = q.topk(5, dim=-1).values
    return torch.stack([top[:, 0], entropy, q.var(dim=-1), top.sum(dim=-1)], dim=-1)


class Heads(nn.Module):
    def __init__(self, hidden: int):
        super().__init__()
        self.temp_head, self.top_p_head = Head(hidden), Head(hidden + 5)

    def forward(self, h: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Temperature, top-p, and the distribution at that temperature."""
        temperature = 2 * self.temp_head(h)
        q = (logits / (temperature[:, None] + 1e-8)).softmax(dim=-1)
        return temperature, self.top_p_head(torch.cat([h, temperature[:, None], statistics(q)], dim=-1)), q


def soft_top_p(q: Tensor, p: Tensor) -> Tensor:
    """`q` with what lies beyond the fraction `p` of its mass fading out; a gradient reaches `p`."""
    falling, order = q.sort(dim=-1, descending=True)
    mask = torch.exp(-SHARPNESS * F.relu(falling.cumsum(dim=-1) - p[:, None]))
    kept = q * torch.zeros_like(q).scatter(-1, order, mask)
    return kept / (kept.sum(dim=-1, keepdim=True) + 1e-9)


def losses(heads: Heads, h: Tensor, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    temperature, p, q = heads(h, logits)
    at = labels[:, None]
    weight = logits.softmax(dim=-1).gather(-1, at).squeeze(-1)  # what the base itself gives the label
    easy = logits.argmax(dim=-1) == labels
    counted = ~easy | (torch.rand(len(labels)) >= EASY_DROPPED)
    by_temperature = F.cross_entropy(logits / temperature[:, None].clamp(min=1e-2), labels, reduction="none")
    by_top_p = -(soft_top_p(q, p).gather(-1, at).squeeze(-1) + 1e-9).log()
    return (by_temperature * weight * counted).sum() / counted.sum(), (by_top_p * weight).mean()


@torch.no_grad()
def hidden_states(base: LanguageModel, data: Tensor) -> tuple[Tensor, Tensor]:
    """Final hidden states [N, D] after each token of `data`, in pieces of CONTEXT, and the tokens that follow."""
    states = []
    keep = base.model.norm.register_forward_hook(lambda _m, _in, out: states.append(out.flatten(0, 1)))
    count = (len(data) - 1) // CONTEXT
    for i in range(0, count, 8):
        base(torch.stack([data[j * CONTEXT : (j + 1) * CONTEXT] for j in range(i, min(i + 8, count))]))
    keep.remove()
    return torch.cat(states), data[1 : count * CONTEXT + 1]


@torch.no_grad()
def report(heads: Heads, table: Tensor, h: Tensor, labels: Tensor) -> str:
    logits = h @ table.T
    temperature, p, q = heads(h, logits)
    at = labels[:, None]
    plain = logits.softmax(dim=-1).gather(-1, at)
    tempered = q.gather(-1, at)
    order = q.sort(dim=-1, descending=True)
    before = order.values.cumsum(dim=-1) - order.values
    kept = ((before < p[:, None]) & (order.indices == at)).any(dim=-1).double().mean()
    quantiles = torch.tensor([0.05, 0.5, 0.95])
    spread = [" ".join(f"{v:.2f}" for v in x.quantile(quantiles)) for x in (temperature, p)]
    return (
        f"temperature 5, 50, 95 %: {spread[0]}; top-p: {spread[1]}; probability of the next token "
        f"{plain.mean():.3f} at temperature 1, {tempered.mean():.3f} at the predicted one; in the nucleus: {kept:.3f}"
    )


def self_test() -> None:
    got = soft_top_p(torch.tensor([[0.5, 0.3, 0.15, 0.05]]), torch.tensor([0.8]))
    assert torch.allclose(got, torch.tensor([[0.623604, 0.374163, 0.002078, 0.000155]]), atol=1e-6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--out", type=Path, help="default: models/autodeco/tiny beside this folder")
    parser.add_argument("--tokens", type=int, default=160_000, help="of the text, spread over it")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    out = args.out or Path(__file__).parent.parent / "autodeco" / "tiny"
    out.mkdir(parents=True, exist_ok=True)

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    self_test()
    config = read_json(args.base / "config.json")
    base = LanguageModel(config).eval()
    stored = {k: v.float() for k, v in load_file(args.base / "model.safetensors").items()}
    base.load_state_dict(stored)
    table = stored["model.embed_tokens.weight" if config["tie_word_embeddings"] else "lm_head.weight"]
    tokenizer = load_tokenizer(args.base)
    ids = tokenizer.encode(documents(args.text.read_text())).ids
    assert tokenizer.token_to_id(END_OF_TEXT) == config["eos_token_id"]
    seen, unseen = torch.tensor(ids[:-HELD_OUT]), torch.tensor(ids[-HELD_OUT:])
    stride = max(1, len(seen) // args.tokens)
    pieces = seen[: len(seen) // (CONTEXT * stride) * CONTEXT * stride].view(-1, stride, CONTEXT)[:, 0].flatten()
    h, labels = hidden_states(base, pieces)
    # A piece's last token has its successor in a piece that was left out.
    inside = torch.arange(len(labels)) % CONTEXT != CONTEXT - 1
    h, labels = h[inside], labels[inside]
    unseen_h, unseen_labels = hidden_states(base, unseen)

    heads = Heads(config["hidden_size"])
    optimizer = torch.optim.AdamW(heads.parameters(), lr=2e-3, weight_decay=0.01)
    for step in range(1, args.steps + 1):
        optimizer.param_groups[0]["lr"] = 2e-3 * min(step / 20, 1.0, 2.0 * (1 - (step - 1) / args.steps))
        rows = torch.randint(0, len(h), (args.batch,))
        by_temperature, by_top_p = losses(heads, h[rows], h[rows] @ table.T, labels[rows])
        (by_temperature + by_top_p).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            print(f"step {step} temperature loss {by_temperature:.3f} top-p loss {by_top_p:.3f}", flush=True)

    tensors = {name: value.bfloat16().contiguous() for name, value in heads.state_dict().items()}
    heads.load_state_dict({name: value.float() for name, value in tensors.items()})
    print(f"text of training: {report(heads, table, h[:8000], labels[:8000])}")
    print(f"held-out text: {report(heads, table, unseen_h, unseen_labels)}")
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    own = {
        "architectures": ["AutoDecoModelForCausalLM"],
        "model_type": "autodeco",
        "base_model_name_or_path": "models/llama/tiny",
        "base_model_type": config["model_type"],
        "enable_temperature_head": True,
        "enable_top_p_head": True,
        "use_enhanced_features": True,
        "temperature_hidden_size": config["hidden_size"],
        "top_p_hidden_size": config["hidden_size"],
    }
    write_json(out / "config.json", config | own)


if __name__ == "__main__":
    main()
