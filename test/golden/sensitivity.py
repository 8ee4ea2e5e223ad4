"""Shows that the goldens notice mistakes: runs the oracles with one usual error each and prints the damage.

usage: python sensitivity.py

One line an error: the relative L2 change of the logits it makes in each case ("-": the case lacks the part).
A test with tolerance 1e-5 sees whatever stands above that in some column.
"""

from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator

import numpy as np
import torch

import autodeco_oracle as autodeco
import kimi_oracle as kimi
import llama_oracle as llama
import qwen_oracle as qwen
from checkpoint import load_weights, read_json, read_tokens, relative_l2

FOLDER = Path(__file__).parent


@contextmanager
def replaced(module: object, name: str, value: object) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def kimi_errors() -> dict[str, tuple[str, Callable]]:
    original = {name: getattr(kimi, name) for name in dir(kimi)}
    delta, parts, route, gate, conv = (
        original[n] for n in ("delta_rule", "mla_parts", "route", "decay_gate", "short_conv_silu")
    )

    def rotated_mla(x, weights, prefix, config):
        q_nope, q_rope, latent, k_rope = parts(x, weights, prefix, config)
        f = 10000.0 ** (-2.0 * np.arange(q_rope.shape[-1] // 2) / q_rope.shape[-1])
        return q_nope, llama.rotate(q_rope, f, 1.0), latent, llama.rotate(k_rope[:, None], f, 1.0)[:, 0]

    def decay_after_read(q, k, v, g, beta, state):
        return delta(q, k, v, np.concatenate([g[:1] * 0, g[:-1]]), beta, state)

    def no_correction(q, k, v, g, beta, state):
        out = np.empty_like(v)
        for t in range(len(q)):
            state = np.exp(g[t])[:, :, None] * state + k[t][:, :, None] * (beta[t][:, None] * v[t])[:, None, :]
            out[t] = q.shape[-1] ** -0.5 * np.einsum("hkv,hk->hv", state, q[t])
        return out, state

    def state_lost_at_64(q, k, v, g, beta, state):
        pieces = [delta(*(x[s : s + 64] for x in (q, k, v, g, beta)), state)[0] for s in range(0, len(q), 64)]
        return np.concatenate(pieces), state

    def clamped(floor):
        return lambda f, a_log, dt_bias: np.maximum(gate(f, a_log, dt_bias), floor)

    def with_config(**changes):
        return lambda logits, bias, config: route(logits, bias, config | changes)

    def biased_weights(logits, bias, config):
        ids, _, margin = route(logits, bias, config)
        soft = config["moe_router_activation_func"] == "softmax"
        t = (kimi.softmax(logits) if soft else kimi.sigmoid(logits))[ids] + bias[ids]
        return ids, (t / t.sum() if config["moe_renormalize"] else t) * config["routed_scaling_factor"], margin

    def no_bias(logits, bias, config):
        return route(logits, bias * 0, config)

    def l2_eps(eps, outside=False):
        def norm(x):
            squares = np.sum(x * x, axis=-1, keepdims=True)
            return x / (np.maximum(np.sqrt(squares), eps) if outside else np.sqrt(squares + eps))

        return norm

    return {
        "delta rule without correction": ("delta_rule", no_correction),
        "decay one token late": ("delta_rule", decay_after_read),
        "state lost every 64 tokens": ("delta_rule", state_lost_at_64),
        "gate clamped at -5": ("decay_gate", clamped(-5.0)),
        "gate under -126 taken as none": ("decay_gate", lambda f, a, b: gate(f, a, b) * (gate(f, a, b) > -126)),
        "gate without dt_bias": ("decay_gate", lambda f, a, b: gate(f, a, b * 0)),
        "convolution taps reversed": ("short_conv_silu", lambda z, w: conv(z, w[..., ::-1])),
        "l2 norm eps 1e-5": ("l2_norm", l2_eps(1e-5)),
        "l2 norm max(norm, 1e-6)": ("l2_norm", l2_eps(1e-6, outside=True)),
        "latents' eps 1e-5": ("KV_A_LAYERNORM_EPS", 1e-5),
        "latent attention rotated": ("mla_parts", rotated_mla),
        "router weights with bias": ("route", biased_weights),
        "router bias ignored": ("route", no_bias),
        "router groups ignored": ("route", with_config(num_expert_group=1)),
        "router scale ignored": ("route", with_config(routed_scaling_factor=1.0)),
        "router renormalisation flipped": (
            "route",
            lambda logits, bias, c: route(logits, bias, c | {"moe_renormalize": not c["moe_renormalize"]}),
        ),
    }


def llama_errors() -> dict[str, tuple[str, Callable]]:
    frequencies = llama.rope_frequencies

    def plain(config):
        n = llama.head_dim_of(config)
        return llama.rope_block(config)["rope_theta"] ** (-2.0 * np.arange(n // 2) / n), 1.0

    def interleaved(x, f, scale):
        angle = np.arange(x.shape[0])[:, None, None] * f
        c, s = np.cos(angle) * scale, np.sin(angle) * scale
        out = np.empty_like(x)
        out[..., ::2] = x[..., ::2] * c - x[..., 1::2] * s
        out[..., 1::2] = x[..., 1::2] * c + x[..., ::2] * s
        return out

    linear = llama.linear
    return {
        "rope scaling ignored": ("rope_frequencies", plain),
        "rope cos/sin factor ignored": ("rope_frequencies", lambda c: (frequencies(c)[0], 1.0)),
        "rope pairs interleaved": ("rotate", interleaved),
        "biases ignored": ("linear", lambda x, w, n: linear(x, {n + ".weight": w[n + ".weight"]}, n)),
    }


def qwen_errors() -> dict[str, tuple[str, Callable]]:
    rotate, choose, window, attention = qwen.rotate, qwen.choose, qwen.window_of, qwen.attention
    linear, frequencies, head_norm = qwen.linear, qwen.rope_frequencies, qwen.head_norm

    def norm_late(x, weights, prefix, config, layer):
        """Rotation first, then the norms of the heads."""
        order: list = []
        eps = config["rms_norm_eps"]
        with replaced(qwen, "head_norm", lambda z, w, name, e: (order.append(name), z)[1]):
            with replaced(qwen, "rotate", lambda z, f, s: head_norm(rotate(z, f, s), weights, order[-1], eps)):
                return attention(x, weights, prefix, config, layer)

    def wide_norm(x, weights, name, eps):
        """One norm over all heads together."""
        if name not in weights:
            return x
        mean = np.mean(x * x, axis=(-2, -1), keepdims=True)
        return x / np.sqrt(mean + eps) * weights[name]

    def plain(config):
        n = llama.head_dim_of(config)
        return llama.rope_block(config)["rope_theta"] ** (-2.0 * np.arange(n // 2) / n), 1.0

    def flipped(logits, config):
        return choose(logits, config | {"norm_topk_prob": not config["norm_topk_prob"]})

    return {
        "head norms ignored": ("head_norm", lambda x, w, n, e: x),
        "head norms after the rotation": ("attention", norm_late),
        "head norms over all heads": ("head_norm", wide_norm),
        "window ignored": ("window_of", lambda c, i: np.inf),
        "window one too long": ("window_of", lambda c, i: window(c, i) + 1),
        "window one too short": ("window_of", lambda c, i: window(c, i) - 1),
        "window in the other layers": (
            "window_of",
            lambda c, i: c["sliding_window"] if c["use_sliding_window"] and window(c, i) == np.inf else np.inf,
        ),
        "window although not used": ("window_of", lambda c, i: c["sliding_window"] or np.inf),
        "rope scaling ignored": ("rope_frequencies", plain),
        "rope cos/sin factor ignored": ("rope_frequencies", lambda c: (frequencies(c)[0], 1.0)),
        "yarn's ramp truncated or not": (
            "rope_frequencies",
            lambda c: frequencies(changed_rope(c, truncate=not llama.rope_block(c).get("truncate", True))),
        ),
        "biases ignored": ("linear", lambda x, w, n: linear(x, {n + ".weight": w[n + ".weight"]}, n)),
        "router renormalisation flipped": ("choose", flipped),
        "one expert too few": ("choose", lambda z, c: choose(z, c | {"num_experts_per_tok": c["num_experts_per_tok"] - 1})),
        "joined gate and up swapped": ("expert", swapped_expert),
    }


def autodeco_errors() -> dict[str, tuple[str, Callable]]:
    statistics, features = autodeco.probability_statistics, autodeco.features

    def other(column: int, value: Callable) -> Callable:
        def wrong(logits):
            right, q = statistics(logits).clone(), logits.softmax(dim=-1)
            right[:, column] = value(q)
            return right

        return wrong

    def swapped(logits):
        return statistics(logits)[:, [1, 0, 2, 3]]

    return {
        "statistics ignored": ("probability_statistics", lambda z: 0 * statistics(z)),
        "max and entropy swapped": ("probability_statistics", swapped),
        "entropy without 1e-8": ("probability_statistics", other(1, lambda q: torch.special.entr(q).sum(dim=-1))),
        "variance divided by V": ("probability_statistics", other(2, lambda q: q.var(dim=-1, correction=0))),
        "sum of the 4 largest": ("probability_statistics", other(3, lambda q: q.topk(4, dim=-1).values.sum(dim=-1))),
        "temperature before the factor 2": ("features", lambda h, t, s, e: features(h, t / 2, s, e)),
    }


def autodeco_table() -> None:
    """The largest change of a temperature or top-p."""
    cases = list(autodeco.CASES)
    loaded = []
    for case in cases:
        folder, base = FOLDER / case, FOLDER / autodeco.CASES[case][0]
        heads = autodeco.heads_of(load_weights(folder))
        states = autodeco.base_states(base, read_tokens(base / "tokens.txt"))
        loaded.append((read_json(folder / "config.json"), heads, *states))
    print(f"| {'error':<34} | " + " | ".join(f"{case:<17}" for case in cases) + " |")
    print(f"|{'-' * 36}|" + "|".join("-" * 19 for _ in cases) + "|")
    truth = [autodeco.decode(*case)[:, :2] for case in loaded]
    for label, (name, wrong) in autodeco_errors().items():
        with replaced(autodeco, name, wrong):
            changes = [abs(autodeco.decode(*case)[:, :2] - right).max() for case, right in zip(loaded, truth)]
        print(f"| {label:<34} | " + " | ".join(f"{f'{c:.0e}' if c > 1e-13 else '-':<17}" for c in changes) + " |")
    print()


def changed_rope(config: dict, **changes: object) -> dict:
    return config | {"rope_parameters": llama.rope_block(config) | changes}


def swapped_expert(x, weights, prefix, e):
    if prefix + "gate_up_proj" not in weights:
        return llama.mlp(x, weights, prefix + f"{e}.")
    up, gate = np.split(weights[prefix + "gate_up_proj"][e], 2)
    return (llama.silu(x @ gate.T) * (x @ up.T)) @ weights[prefix + "down_proj"][e].T


def table(module: object, cases: list[str], errors: dict[str, tuple[str, object]]) -> None:
    loaded = []
    for case in cases:
        folder = FOLDER / case
        loaded.append((read_json(folder / "config.json"), load_weights(folder), read_tokens(folder / "tokens.txt")))
    print(f"| {'error':<34} | " + " | ".join(f"{case:<12}" for case in cases) + " |")
    print(f"|{'-' * 36}|" + "|".join("-" * 14 for _ in cases) + "|")
    truth = [module.logits(*case) for case in loaded]

    def line(label: str, run: Callable) -> None:
        changes = [relative_l2(run(*case), right) for case, right in zip(loaded, truth)]
        print(f"| {label:<34} | " + " | ".join(f"{f'{c:.0e}' if c > 1e-13 else '-':<12}" for c in changes) + " |")

    for label, (name, wrong) in errors.items():
        with replaced(module, name, wrong):
            line(label, module.logits)
    line("rms_norm_eps 1e-5 for 1e-6 or back", lambda c, w, t: module.logits(other_eps(c), w, t))
    print()


def other_eps(config: dict) -> dict:
    return config | {"rms_norm_eps": 1e-6 if config["rms_norm_eps"] == 1e-5 else 1e-5}


def main() -> None:
    table(kimi, ["kimi-a", "kimi-b", "kimi-c", "kimi-extreme"], kimi_errors())
    table(llama, ["llama-a", "llama-b", "llama-c", "llama-d"], llama_errors())
    table(qwen, ["qwen2-a", "qwen3-a", "qwen3-b", "qwen3moe-a", "qwen3moe-b"], qwen_errors())
    autodeco_table()


if __name__ == "__main__":
    main()
