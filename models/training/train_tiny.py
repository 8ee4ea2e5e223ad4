"""Trains the tiny checkpoints, models/<family>/tiny, on a text file.

usage: python train_tiny.py FAMILY TEXT [--out DIR] [--steps N] [--minutes M] [--batch B] [--seed N]

FAMILY is `llama` or `kimi_linear`; TEXT is tinyshakespeare.txt (public domain, 1.1 MB), or any text. The
result is a directory in the published form: config.json, model.safetensors in bfloat16, tokenizer.json, ...
One thread, some fifteen minutes. On a busy machine --minutes bounds the time; the learning rate then follows
the clock.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

import tiny_models
from tiny_models import Experts, KimiDeltaAttention, LanguageModel, export
from tiny_tokenizer import END_OF_TEXT, train_tokenizer

VOCABULARY = 1024
END = VOCABULARY - 1
CONTEXT = 256
HELD_OUT = 8000  # tokens at the end of the text

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": VOCABULARY,
    "hidden_size": 160,
    "intermediate_size": 432,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 40,
    "hidden_act": "silu",
    "max_position_embeddings": 1024,
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "use_cache": True,
    "bos_token_id": END,
    "eos_token_id": END,
    "torch_dtype": "bfloat16",
}

KIMI_LINEAR = {
    "architectures": ["KimiLinearForCausalLM"],
    "model_type": "kimi_linear",
    "vocab_size": VOCABULARY,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "bos_token_id": END,
    "eos_token_id": END,
    "pad_token_id": END,
    "model_max_length": 1048576,
    "initializer_range": 0.02,
    "use_cache": True,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "linear_attn_config": {
        "kda_layers": [1, 2, 3, 5, 6, 7],
        "full_attn_layers": [4, 8],
        "head_dim": 32,
        "num_heads": 4,
        "short_conv_kernel_size": 4,
    },
    "q_lora_rank": None,
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "mla_use_nope": True,
    "num_experts": 8,
    "num_experts_per_token": 2,
    "num_shared_experts": 1,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "moe_renormalize": True,
    "moe_router_activation_func": "sigmoid",
    "routed_scaling_factor": 2.446,
    "use_grouped_topk": True,
    "num_expert_group": 1,
    "topk_group": 1,
    "num_nextn_predict_layers": 0,
    "dtype": "bfloat16",
}

CONFIGS = {"llama": LLAMA, "kimi_linear": KIMI_LINEAR}


class Muon(torch.optim.Optimizer):
    """Momentum whose step is made orthogonal: for matrices, much quicker than Adam at this size."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.05):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "decay": decay})

    @staticmethod
    def orthogonal(g: Tensor) -> Tensor:
        """Newton-Schulz towards U V^T, for a batch of matrices; five rounds are near enough."""
        tall = g.shape[-2] > g.shape[-1]
        x = g.mT if tall else g
        x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
        for _ in range(5):
            a = x @ x.mT
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        return x.mT if tall else x

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                momentum.lerp_(p.grad, 1 - group["momentum"])
                update = self.orthogonal(p.grad.lerp(momentum, group["momentum"]))
                shape = max(1.0, p.shape[-2] / p.shape[-1]) ** 0.5
                p.mul_(1 - group["lr"] * group["decay"]).sub_(update, alpha=group["lr"] * shape)


def optimizers(model: LanguageModel) -> list[torch.optim.Optimizer]:
    def is_matrix(name: str, p: Tensor) -> bool:
        odd = ("embed_tokens", "lm_head", "conv1d", "A_log", "b_proj", "gate.weight")
        return p.dim() >= 2 and not any(part in name for part in odd)

    named = list(model.named_parameters())
    matrices = [p for name, p in named if is_matrix(name, p)]
    others = [p for name, p in named if not is_matrix(name, p)]
    return [
        Muon(matrices, lr=0.02),
        torch.optim.AdamW(others, lr=0.004 if model.tied else 0.007, betas=(0.9, 0.97), weight_decay=0.0),
    ]


def check_delta_rule() -> None:
    """The form trained with must be the definition."""
    torch.manual_seed(0)
    n, t, width = 6, 48, 32
    q, k = (F.normalize(torch.randn(n, t, width), dim=-1) for _ in range(2))
    v, beta = torch.randn(n, t, width), torch.rand(n, t)
    for strength in (0.05, 0.5, 4.9):
        g = -strength * torch.rand(n, t, width)
        steps = tiny_models.delta_rule_by_steps(q, k, v, g, beta)
        chunks = tiny_models.delta_rule_by_chunks(q, k, v, g, beta)
        error = (steps - chunks).norm() / steps.norm()
        assert error < 2e-6, f"chunked delta rule differs by {error:.1e} at gates down to -{strength}"


def documents(text: str, per_document: int = 30) -> str:
    """Marks ends of text every few speeches, so that the model can begin and end one."""
    speeches = text.strip().split("\n\n")
    parts = ["\n\n".join(speeches[i : i + per_document]) for i in range(0, len(speeches), per_document)]
    return END_OF_TEXT + (END_OF_TEXT).join(part + "\n" for part in parts) + END_OF_TEXT


def batch(data: Tensor, size: int, generator: torch.Generator) -> Tensor:
    starts = torch.randint(0, len(data) - CONTEXT - 1, (size,), generator=generator)
    return torch.stack([data[s : s + CONTEXT + 1] for s in starts.tolist()])


Loss = Callable[[LanguageModel, Tensor], Tensor]  # of tokens [sequences, CONTEXT + 1]


def next_token_loss(model: LanguageModel, tokens: Tensor) -> Tensor:
    return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())


@torch.no_grad()
def evaluate(model: LanguageModel, data: Tensor, loss_of: Loss = next_token_loss) -> float:
    model.eval()
    count = min(24, (len(data) - 1) // CONTEXT)
    rows = torch.stack([data[i * CONTEXT : (i + 1) * CONTEXT + 1] for i in range(count)])
    loss = loss_of(model, rows).item()
    model.train()
    return loss


def train(
    model: LanguageModel, data: Tensor, held_out: Tensor, args: argparse.Namespace, loss_of: Loss = next_token_loss
) -> None:
    generator = torch.Generator().manual_seed(args.seed)
    rates = optimizers(model)
    base = [o.param_groups[0]["lr"] for o in rates]
    began = time.time()
    step, done = 0, 0.0
    while done < 1.0:
        # Short warm-up, then constant, then linearly to nothing over the second half.
        rate = min(1.0, (step + 1) / 30, 2.0 * (1.0 - done))
        for optimizer, lr in zip(rates, base):
            optimizer.param_groups[0]["lr"] = lr * rate
        loss = loss_of(model, batch(data, args.batch, generator))
        loss.backward()
        for optimizer in rates:
            optimizer.step()
            optimizer.zero_grad()
        for module in model.modules():
            if isinstance(module, Experts):
                module.balance(0.002 * rate)
        step += 1
        seconds = time.time() - began
        done = max(step / args.steps, seconds / (60 * args.minutes))
        if step % 50 == 0 or done >= 1.0:
            line = f"step {step} loss {loss.item():.3f}"
            if step % 200 == 0 or done >= 1.0:
                line += f" held-out {evaluate(model, held_out, loss_of):.3f}"
            print(f"{line} ({seconds:.0f} s)", flush=True)


@torch.no_grad()
def sample(model: LanguageModel, prompt: list[int], count: int, temperature: float, seed: int = 1) -> list[int]:
    """Recomputes everything for each token: short samples only."""
    generator = torch.Generator().manual_seed(seed)
    tokens = list(prompt)
    for _ in range(count):
        padded = tokens + [0] * (-len(tokens) % tiny_models.CHUNK)  # causal: padding after the end is harmless
        logits = model(torch.tensor([padded]))[0, len(tokens) - 1]
        if temperature == 0.0:
            tokens.append(int(logits.argmax()))
        else:
            tokens.append(int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)))
        if tokens[-1] == END:
            break
    return tokens[len(prompt) :]


@torch.no_grad()
def round_to_stored(model: LanguageModel) -> None:
    for name, value in model.state_dict().items():
        if not name.endswith(("A_log", "dt_bias")):
            value.copy_(value.bfloat16())


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_checkpoint(
    out: Path, tensors: dict[str, Tensor], config: dict, generation: dict, tokenizer: Tokenizer, extra: dict
) -> None:
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    write_json(out / "config.json", config)
    write_json(out / "generation_config.json", {"bos_token_id": END, "eos_token_id": END} | generation)
    tokenizer.save(str(out / "tokenizer.json"))
    usual = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "eos_token": END_OF_TEXT,
    }
    write_json(out / "tokenizer_config.json", usual | extra)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", choices=CONFIGS)
    parser.add_argument("text", type=Path, help="training text, e.g. tinyshakespeare.txt")
    parser.add_argument("--out", type=Path, help="default: models/FAMILY/tiny beside this folder")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--batch", type=int, default=12, help=f"sequences of {CONTEXT} tokens a step")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    out = args.out or Path(__file__).parent.parent / args.family / "tiny"
    out.mkdir(parents=True, exist_ok=True)

    torch.set_num_threads(1)
    check_delta_rule()
    text = args.text.read_text()
    tokenizer = train_tokenizer(text, VOCABULARY)
    assert tokenizer.token_to_id(END_OF_TEXT) == END
    data = torch.tensor(tokenizer.encode(documents(text)).ids)
    held_out, data = data[-HELD_OUT:], data[:-HELD_OUT]

    torch.manual_seed(args.seed)
    config = CONFIGS[args.family]
    model = LanguageModel(config)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(data)} tokens, {len(text) / len(data):.2f} characters each; {parameters} parameters", flush=True)
    train(model, data, held_out, args)

    round_to_stored(model)
    model.eval()
    context = config.get("model_max_length", config.get("max_position_embeddings"))
    generation = {"do_sample": True, "temperature": 0.8}
    write_checkpoint(out, export(model), config, generation, tokenizer, {"model_max_length": context})

    KimiDeltaAttention.by_steps = True
    print(f"held-out loss of the stored weights, delta rule by its definition: {evaluate(model, held_out):.3f}")
    KimiDeltaAttention.by_steps = False
    for temperature in (0.0, 0.8):
        ids = sample(model, tokenizer.encode("KING RICHARD III:\n").ids, 150, temperature)
        print(f"--- temperature {temperature}\nKING RICHARD III:\n{tokenizer.decode(ids)}")


if __name__ == "__main__":
    main()
