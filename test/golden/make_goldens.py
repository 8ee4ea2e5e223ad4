"""Writes the golden cases of this folder: random checkpoints, token ids, logits.

usage: python make_goldens.py [CASE ...]        all cases when none is named

A case is a directory in the form of a published checkpoint (config.json, safetensors), tokens.txt and
logits.npy; for tiny-* the checkpoint is models/<family>/tiny. logits.npy is float32 [tokens, vocabulary], row
t being the logits after tokens 0..t. All models are causal, so the first n rows are the golden of the prompt
of the first n tokens.
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np
import torch

import autodeco_oracle
import calm_oracle
import diffusion_oracle
import kimi_oracle
import llama_oracle
import qwen_oracle
import random_calm
import random_diffusion
import random_kimi
import random_llama
import random_qwen
from checkpoint import load_stored, load_weights, read_json, read_tokens, relative_l2, save_weights, write_golden, write_json

FOLDER = Path(__file__).parent
TOKENS = 200


# Weights with which a choice of experts is seldom close.
SALT = {"kimi-a": 13, "kimi-c": 25, "kimi-extreme": 2}


def rng_for(case: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([zlib.crc32(case.encode()), SALT.get(case, 0)]))


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
    assert error < 5e-6, f"{case}: transformers and llama_oracle differ by {error:.1e}"
    write_golden(directory, tokens, golden)
    return f"transformers against llama_oracle: relative L2 {error:.1e}; logits std {golden.std():.2f}"


def transformers_qwen_logits(directory: Path, tokens: np.ndarray) -> np.ndarray:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager"
    )
    with torch.no_grad():
        return model(torch.from_numpy(tokens)[None]).logits[0].double().numpy()


def tokens_with_clear_choices(closest, least: float, vocabulary: int, rng: np.random.Generator) -> np.ndarray:
    """Random tokens; from the front, those are drawn again that bring a choice of experts closer than `least`.

    `closest(tokens)`: of every choice, layer by layer, by how much it was decided.
    """
    tokens = random_tokens(rng, vocabulary)
    while True:
        margins = closest(tokens)
        close = np.flatnonzero(np.reshape(margins, (-1, TOKENS)).min(axis=0) < least) if len(margins) else []
        if not len(close):
            return tokens
        first = close[0]
        tokens[first - 1 if first in (5, 64) else first] = rng.integers(0, vocabulary)


def make_qwen(case: str) -> str:
    config, shards, joined_experts = random_qwen.CASES[case]
    directory, rng = FOLDER / case, rng_for(case)
    directory.mkdir(exist_ok=True)
    write_json(directory / "config.json", config)
    save_weights(directory, random_qwen.random_weights(config, joined_experts, rng), shards)
    config, weights = read_json(directory / "config.json"), load_weights(directory)

    def closest(tokens: np.ndarray) -> list[float]:
        margins: list[float] = []
        qwen_oracle.logits(config, weights, tokens, margins)
        return margins

    tokens = tokens_with_clear_choices(closest, 2e-3, config["vocab_size"], rng)
    golden = transformers_qwen_logits(directory, tokens)
    margins: list[float] = []
    check = qwen_oracle.logits(config, weights, tokens, margins)
    error = relative_l2(golden, check)
    assert error < 5e-6, f"{case}: transformers and qwen_oracle differ by {error:.1e}"
    write_golden(directory, tokens, golden)
    line = f"transformers against qwen_oracle: relative L2 {error:.1e}; logits std {golden.std():.2f}"
    return line + (f"; closest expert choice {min(margins):.1e}" if margins else "")


# Of the selection scores, between 0 and 1, of a router: with a closer choice BF16's rounding means another expert.
KIMI_MARGIN = 1e-2
# What transformers can load: it knows neither softmax routers, nor models without experts, nor A_log [H]. Its
# chunked delta rule takes differences of float32 sums, which is why the extreme case gets more room.
TRANSFORMERS_KIMI_TOLERANCE = {"kimi-a": 5e-6, "kimi-extreme": 5e-4}


def transformers_kimi_logits(directory: Path, tokens: np.ndarray) -> np.ndarray:
    from transformers import KimiLinearForCausalLM

    model = KimiLinearForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
    )
    with torch.no_grad():
        return model(torch.from_numpy(tokens)[None]).logits[0].double().numpy()


def make_kimi(case: str) -> str:
    config, shards = random_kimi.CASES[case]
    directory, rng = FOLDER / case, rng_for(case)
    directory.mkdir(exist_ok=True)
    write_json(directory / "config.json", config)
    save_weights(directory, random_kimi.random_weights(case, config, rng), shards)
    config, weights = read_json(directory / "config.json"), load_weights(directory)

    def closest(tokens: np.ndarray) -> list[float]:
        report: dict = {}
        kimi_oracle.logits(config, weights, tokens, report)
        return report.get("margins", [])

    tokens = tokens_with_clear_choices(closest, KIMI_MARGIN, config["vocab_size"], rng)
    report: dict = {}
    golden = kimi_oracle.logits(config, weights, tokens, report)
    write_golden(directory, tokens, golden)
    gates = np.concatenate([g.ravel() for g in report["gates"]])
    extreme = gates[gates < -300]
    quantiles = " ".join(f"{q:.3g}" for q in np.quantile(gates, [0.05, 0.25, 0.5, 0.75, 0.95]))
    line = f"gates min {gates.min():.4g}, 5..95 % {quantiles}; logits std {golden.std():.2f}"
    if extreme.size:
        line += f"; {extreme.size / gates.size:.1%} of the gates below -300, their median {np.median(extreme):.0f}"
    if "margins" in report:
        line += f"; closest expert choice {min(report['margins']):.1e}"
    if case in TRANSFORMERS_KIMI_TOLERANCE:
        error = relative_l2(transformers_kimi_logits(directory, tokens), golden)
        assert error < TRANSFORMERS_KIMI_TOLERANCE[case], f"{case}: transformers differs by {error:.1e}"
        line += f"; transformers (float32) differs by {error:.1e}"
    return line


# Settings of the loop that each prompt of a diffusion case is continued with, in turn.
BLOCK_BY_BLOCK = [
    {"block": 8, "steps": 24},
    {"block": 24, "steps": 7},
    {"block": 5, "steps": 24, "remask": "entropy"},
    {"block": 12, "steps": 12, "remask": "margin"},
    {"block": 8, "steps": 24, "cache": "prefix"},
    {"block": 6, "steps": 24, "cache": "dual"},
    {"block": 8, "steps": 24, "cache": "dual", "threshold": 0.4},
    {"block": 12, "steps": 24, "threshold": 0.3},
    {"block": 8, "steps": 24, "factor": 1.0},
    {"block": 24, "steps": 24, "cache": "prefix", "factor": 2.0},
]
GUIDED = [
    {"block": 8, "steps": 24, "guidance": 0.5},
    {"block": 24, "steps": 7, "guidance": 2},
    {"block": 5, "steps": 24, "guidance": 1.5, "remask": "entropy"},
    {"block": 12, "steps": 24, "guidance": 0.75, "threshold": 0.3},
    {"block": 8, "steps": 24, "guidance": 1, "factor": 1.0},
]
BY_TIME = [
    {"steps": 24, "remask": "entropy"},
    {"steps": 9, "remask": "low-confidence"},
    {"steps": 16, "remask": "margin"},
    {"steps": 5, "remask": "entropy", "eps": 0.01},
]


def kept_blocks(block: int) -> list[dict]:
    return [
        {"steps": block, "threshold": 0.9},
        {"steps": block // 2, "threshold": 0.95},
        {"steps": block, "threshold": 0.3},
        {"steps": block // 4, "threshold": 1.0},
        {"steps": block, "threshold": 0.4, "remask": "margin"},
    ]


# The first with what generation_config.json says.
EDITED_BLOCKS = [
    {},
    {"threshold": 0.95, "editing": 0.15},
    {"threshold": 0.5, "editing": 0.4, "post-steps": 16},
    {"threshold": 0.4, "editing": 0.2, "post-steps": 0},
    {"threshold": 0.7, "editing": 1.0},
]
DEFAULT_NAMES = {"threshold": "threshold", "editing_threshold": "editing", "max_post_steps": "post_steps"}
SUBBLOCKS = [
    {"sub-block": 8, "threshold": 0.9},
    {"sub-block": 4, "threshold": 0.3},
    {"sub-block": 5, "threshold": 0.4},
    {"sub-block": 16, "threshold": 0.35},
    {"sub-block": 8, "threshold": 0.3, "remask": "margin"},
]


CACHED_SUBBLOCKS = [loop | {"cache": "block"} for loop in SUBBLOCKS]
# 20 generations more, of one case for each family whose loop knows these settings.
MORE = {"llada-a": GUIDED, "llada-moe-a": GUIDED, "difflm-a": GUIDED, "fastdllm-a": CACHED_SUBBLOCKS}


def loops_of(case: str, config: dict) -> tuple:
    """The settings of a case, and the loop that they are for."""
    if case in random_diffusion.GENERATION:
        return EDITED_BLOCKS, diffusion_oracle.fill_kept_blocks
    if config["architectures"] == ["Fast_dLLM_QwenForCausalLM"]:
        return SUBBLOCKS, diffusion_oracle.fill_subblocks
    if block := diffusion_oracle.block_of(config):
        return kept_blocks(block), diffusion_oracle.fill_kept_blocks
    if config["architectures"] == ["DreamModel"]:
        return BY_TIME, diffusion_oracle.fill_by_time
    return BLOCK_BY_BLOCK, diffusion_oracle.fill_semi_autoregressive


def write_generations(directory: Path, generations: list[dict]) -> None:
    """A line each: settings as name=value, the prompt, the tokens that follow, the forwards that it took."""
    lines = []
    for g in generations:
        settings = " ".join(f"{name}={value}" for name, value in g["settings"].items())
        prompt, tokens = (",".join(map(str, ids)) for ids in (g["prompt"], g["tokens"]))
        lines.append(f"{settings} | {prompt} | {tokens} | {g['forwards']}\n")
    (directory / "generations.txt").write_text("".join(lines))


def make_diffusion(case: str) -> str:
    config, shards = random_diffusion.CASES[case]
    directory, rng = FOLDER / case, rng_for(case)
    directory.mkdir(exist_ok=True)
    write_json(directory / "config.json", config)
    generation = random_diffusion.GENERATION.get(case, {})
    if generation:
        write_json(directory / "generation_config.json", generation)
    save_weights(directory, random_diffusion.random_weights(config, rng), shards)
    config, weights = read_json(directory / "config.json"), load_weights(directory)
    mask = config["mask_token_id"]
    while True:
        tokens = random_tokens(rng, config.get("embedding_size", config["vocab_size"]))
        tokens[100::3] = mask  # a canvas is scored with its masks
        margins: list[float] = []
        golden = diffusion_oracle.logits(config, weights, tokens, margins)
        if min(margins, default=1) > 2e-5:
            break
    write_golden(directory, tokens, golden)
    settings, fill = loops_of(case, config)
    generations, said = generate(config, weights, settings, fill, rng, generation)
    if case in MORE:
        others, more = generate(config, weights, MORE[case], fill, rng, {})
        generations, said = generations + others, f"{said}; more: {more}"
    write_generations(directory, generations)
    return f"logits std {golden.std():.2f}; {said}"


def generate(config: dict, weights: dict, settings: list[dict], fill, rng: np.random.Generator, defaults: dict) -> tuple:
    """20 generations, and a word about them. `defaults` is what generation_config.json says."""
    generations, least, tries, seen = [], np.inf, 0, {}
    mask, block = config["mask_token_id"], diffusion_oracle.block_of(config)
    while len(generations) < 20:
        loop = settings[len(generations) % len(settings)]
        length = int(rng.integers(1, 30))
        if fill is diffusion_oracle.fill_subblocks and len(generations) % 7 == 0:
            length = block  # a block's first token follows a whole one
        prompt = rng.integers(0, mask, length).tolist()
        given = {DEFAULT_NAMES[name]: value for name, value in defaults.items() if name in DEFAULT_NAMES}
        given |= {name.replace("-", "_"): value for name, value in loop.items()}
        if "editing" in given:
            given["seen"] = seen
        made, margin, forwards = fill(config, weights, prompt, 24, **given)
        tries += 1
        if margin < 2e-5:  # too close to call in float32
            continue
        least = min(least, margin)
        generations.append({"settings": loop, "prompt": prompt, "tokens": made, "forwards": forwards})
    edits = f", {seen['early']} tokens replaced while filling, {seen['late']} afterwards" if seen else ""
    return generations, f"20 generations of {tries}, closest call {least:.1e}{edits}"


# How each prompt of a CALM case is continued, in turn: temperature, rule, candidates, most draws.
CALM_RULES = [
    (1.0, "candidates", 200, 4096),
    (0.5, "candidates", 20, 4096),
    (0.5, "exact", 200, 4096),
    (0.4, "exact", 200, 4096),
    (1 / 3, "candidates", 50, 4096),
    (0.7, "exact", 200, 4096),
    (0.7, "candidates", 40, 4096),
    (0.25, "exact", 24, 40),  # often more draws than are allowed
    (0.0, "candidates", 30, 4096),
    (1.0, "exact", 200, 4096),
]
CALM_SEED = 5
CALM_MARGIN = 5e-5


def make_calm(case: str) -> str:
    """A language model in CASE, its autoencoder in CASE-ae."""
    config, ae_config, head = random_calm.CASES[case]
    directory, ae_directory, rng = FOLDER / case, FOLDER / f"{case}-ae", rng_for(case)
    is_a = head == "generative_head."
    for folder, c in ((directory, config), (ae_directory, ae_config)):
        folder.mkdir(exist_ok=True)
        write_json(folder / "config.json", c)
    table = "decoder.lm_head_weight" if is_a else "encoder.embed_tokens.weight"
    ae = random_calm.random_autoencoder(ae_config, rng, table)
    stored = dict(ae) if is_a else ae | {"decoder.lm_head_weight": ae[table].clone()}
    save_weights(ae_directory, stored, 1)
    language = random_calm.random_language_model(config, rng, head)
    if not is_a:  # both names of the head, and a copy of the autoencoder
        language |= {n.replace("mlp_generator.", "generative_head."): w.clone() for n, w in language.items() if n.startswith("mlp_generator.")}
        language |= {f"ae_model.{name}": w.clone() for name, w in stored.items()}
    save_weights(directory, language, 1 if is_a else 2)
    config, ae_config = read_json(directory / "config.json"), read_json(ae_directory / "config.json")
    autoencoder = calm_oracle.Autoencoder(ae_config, load_weights(ae_directory))
    model = calm_oracle.Calm(config, load_weights(directory), autoencoder)
    while True:
        tokens, margins = random_tokens(rng, config["vocab_size"])[:96], calm_oracle.Margins()
        first, second, latents = model.score(tokens, CALM_SEED, margins)
        if margins.least > CALM_MARGIN:
            break
    write_golden(ae_directory, tokens, calm_oracle.reconstruction_logits(ae_config, load_weights(ae_directory), tokens))
    (directory / "tokens.txt").write_text(",".join(map(str, tokens)) + "\n")
    np.save(directory / "latents.npy", latents.astype("<f4"))
    (directory / "draws.txt").write_text("".join(",".join(map(str, d.ravel())) + "\n" for d in (first, second)))
    lines, tries, least = [], 0, np.inf
    while len(lines) < 20:
        temperature, rule, candidates, most = CALM_RULES[len(lines) % len(CALM_RULES)]
        prompt, seed = rng.integers(0, config["vocab_size"], int(rng.integers(1, 30))).tolist(), int(rng.integers(1 << 40))
        margins, tries = calm_oracle.Margins(), tries + 1
        made, draws = model.generate(prompt, 12, temperature, seed, rule, candidates, most, margins)
        if margins.least < CALM_MARGIN:
            continue
        least = min(least, margins.least)
        words = f"calm-sampling={rule} candidates={candidates} most-draws={most}"
        lines.append(f"{words} | {','.join(map(str, prompt))} | {','.join(map(str, made))} | {draws} | {temperature:.9g} {seed}\n")
    (directory / "generations.txt").write_text("".join(lines))
    return f"latents std {latents.std():.2f}; 20 generations of {tries}, closest call {least:.1e}"


def make_autodeco(case: str) -> str:
    """decoding.npy beside heads over the base of another case, or a merged checkpoint with all files of a case."""
    base_case, own, dtype, shards = autodeco_oracle.CASES[case]
    base, directory, rng = FOLDER / base_case, FOLDER / case, rng_for(case)
    directory.mkdir(exist_ok=True)
    config = autodeco_oracle.config_of(base, own)
    write_json(directory / "config.json", config)
    weights = autodeco_oracle.random_heads(config, dtype, rng)
    if shards:
        weights = {f"llm.{name}": value for name, value in load_stored(base).items()} | weights
    save_weights(directory, weights, max(shards, 1))
    tokens = read_tokens(base / "tokens.txt")
    decoding, logits = autodeco_oracle.decoding(directory, base, tokens)
    assert relative_l2(logits, np.load(base / "logits.npy")) < 1e-6
    if shards:
        write_golden(directory, tokens, logits)
    np.save(directory / "decoding.npy", decoding.astype("<f4"))
    columns = ("temperature", "top-p", "max", "entropy", "variance", "top 5")
    return "; ".join(f"{n} {v.min():.3g} .. {v.max():.3g}" for n, v in zip(columns, decoding.T))


def greedy(oracle, config: dict, weights: dict, prompt: list[int], count: int) -> tuple[list[int], float]:
    """The likeliest token, `count` times over; and the smallest lead of a likeliest token, in logits."""
    tokens, lead = list(prompt), np.inf
    for _ in range(count):
        last = oracle.logits(config, weights, np.array(tokens))[-1]
        second, first = np.argsort(last)[-2:]
        lead = min(lead, last[first] - last[second])
        tokens.append(int(first))
    return tokens[len(prompt) :], lead


def make_tiny(case: str) -> str:
    """A trained checkpoint on held-out text. The next-token loss shows that logits and tokens belong together."""
    from tokenizers import Tokenizer

    family, oracle, other = {
        "tiny-llama": ("llama", llama_oracle, transformers_llama_logits),
        "tiny-kimi": ("kimi_linear", kimi_oracle, transformers_kimi_logits),
    }[case]
    model = FOLDER.parents[1] / "models" / family / "tiny"
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokens = np.array(tokenizer.encode((FOLDER / "passage.txt").read_text()).ids[:TOKENS])
    assert len(tokens) == TOKENS
    config, weights = read_json(model / "config.json"), load_weights(model)
    golden = oracle.logits(config, weights, tokens)
    error = relative_l2(other(model, tokens), golden)
    assert error < 1e-5, f"{case}: transformers differs by {error:.1e}"
    directory = FOLDER / case
    directory.mkdir(exist_ok=True)
    write_golden(directory, tokens, golden)
    loss = np.mean(np.log(np.exp(golden[:-1]).sum(axis=1)) - golden[np.arange(TOKENS - 1), tokens[1:]])
    prompt = tokenizer.encode("KING RICHARD III:\n").ids
    continuation, lead = greedy(oracle, config, weights, prompt, 64)
    lines = [",".join(map(str, ids)) for ids in (prompt, continuation)]
    (directory / "greedy.txt").write_text("\n".join([*lines, json.dumps(tokenizer.decode(continuation))]) + "\n")
    line = f"greedy lead at least {lead:.3f}; loss {loss:.3f}; transformers differs by {error:.1e}"
    if family == "kimi_linear":
        report: dict = {}
        kimi_oracle.logits(config, weights, tokens, report)
        gates = np.concatenate([g.ravel() for g in report["gates"]])
        line += f"; gates min {gates.min():.3g}; closest expert choice {min(report['margins']):.1e}"
    return line


def main() -> None:
    torch.set_num_threads(1)
    kimi_oracle.self_test()
    autodeco_oracle.self_test()
    makers = {case: make_llama for case in random_llama.CASES} | {case: make_kimi for case in random_kimi.CASES}
    makers |= {case: make_qwen for case in random_qwen.CASES}
    makers |= {case: make_diffusion for case in random_diffusion.CASES}
    makers |= {case: make_calm for case in random_calm.CASES}
    makers |= {case: make_autodeco for case in autodeco_oracle.CASES}  # after their bases
    makers |= {"tiny-llama": make_tiny, "tiny-kimi": make_tiny}
    for case in sys.argv[1:] or makers:
        print(f"{case}: {makers[case](case)}")


if __name__ == "__main__":
    main()
