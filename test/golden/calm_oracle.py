"""CALM in float64 numpy: autoencoder, language model over patches, energy head, and the two ways of drawing at a temperature.

No cache: every patch is drawn from a forward over all patches before it. Random numbers are Philox4x32-10's, counted as the
compiler counts them. A choice too close to call is reported by `Margins`.
"""

import math

import numpy as np

from diffusion_oracle import Margins
from llama_oracle import attention, linear, mlp, rms_norm, silu


def philox(key: int, position: int, step: int, index: np.ndarray) -> np.ndarray:
    """First words at the counters (position's halves, step, index[...])."""
    mask = np.uint64(0xFFFFFFFF)
    index = np.asarray(index, dtype=np.uint64)
    full = lambda v: np.full(index.shape, v & 0xFFFFFFFF, dtype=np.uint64)
    c = [full(position), full(position >> 32), full(step), index]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), b & mask, (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), a & mask]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c[0]


def unit(word: np.ndarray) -> np.ndarray:
    return (word >> np.uint64(8)).astype(np.float64) * 2.0**-24


def layer_norm(x: np.ndarray, weights: dict, name: str) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * weights[name + ".weight"] + weights[name + ".bias"]


class Autoencoder:
    def __init__(self, config: dict, weights: dict):
        self.c, self.w = config, weights
        tables = [weights[n] for n in ("encoder.embed_tokens.weight", "decoder.lm_head_weight") if n in weights]
        self.table = tables[0]

    def layers(self, x: np.ndarray, side: str, half: int) -> np.ndarray:
        count = self.c[f"num_{side}_layers"] // 2
        for i in range(half * count, (half + 1) * count):
            p = f"{side}.{side}_layers.{i}."
            x = x + mlp(rms_norm(x, self.w[p + "layernorm.weight"], self.c["rms_norm_eps"]), self.w, p + "mlp.")
        return x

    def encode(self, patches: np.ndarray) -> np.ndarray:
        x = self.layers(self.table[patches], "encoder", 0)
        x = linear(x.reshape(len(patches), -1), self.w, "encoder.squeeze_layer")
        x = rms_norm(self.layers(x, "encoder", 1), self.w["encoder.norm.weight"], self.c["rms_norm_eps"])
        return linear(x, self.w, "encoder.hidden_to_latent")[..., : self.c["latent_size"]]

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Latents [..., L] to logits [..., K, V]."""
        x = self.layers(linear(z, self.w, "decoder.latent_to_hidden"), "decoder", 0)
        x = linear(x, self.w, "decoder.expand_layer").reshape(*z.shape[:-1], self.c["patch_size"], -1)
        x = rms_norm(self.layers(x, "decoder", 1), self.w["decoder.norm.weight"], self.c["rms_norm_eps"])
        return x @ self.table.T

    def tokens(self, z: np.ndarray, margins: Margins) -> np.ndarray:
        logits = self.decode(z)
        ranked = np.sort(logits, axis=-1)
        margins.note(float((ranked[..., -1] - ranked[..., -2]).min()))
        return logits.argmax(-1)


def reconstruction_logits(config: dict, weights: dict, tokens: np.ndarray) -> np.ndarray:
    model = Autoencoder(config, weights)
    return model.decode(model.encode(tokens.reshape(-1, config["patch_size"]))).reshape(len(tokens), -1)


class Calm:
    def __init__(self, config: dict, weights: dict, autoencoder: Autoencoder):
        self.c, self.w, self.ae = config, weights, autoencoder
        self.head = "mlp_generator." if "mlp_generator.noise_embd.weight" in weights else "generative_head."

    def hidden(self, patches: np.ndarray) -> np.ndarray:
        x = self.w["transformer.embed_tokens.weight"][patches].reshape(len(patches), -1)
        x = layer_norm(linear(silu(linear(x, self.w, "embed_proj.0")), self.w, "embed_proj.2"), self.w, "embed_proj.3")
        eps = self.c["rms_norm_eps"]
        for i in range(self.c["num_hidden_layers"]):
            p = f"transformer.layers.{i}."
            x = x + attention(rms_norm(x, self.w[p + "input_layernorm.weight"], eps), self.w, p + "self_attn.", self.c)
            x = x + mlp(rms_norm(x, self.w[p + "post_attention_layernorm.weight"], eps), self.w, p + "mlp.")
        return rms_norm(x, self.w["transformer.norm.weight"], eps)

    def latent(self, hidden: np.ndarray, noise: np.ndarray) -> np.ndarray:
        h, w = self.head, self.w
        x = layer_norm(linear(noise, w, h + "noise_embd"), w, h + "norm_noise")
        y = np.broadcast_to(layer_norm(linear(hidden, w, h + "hidden_embd"), w, h + "norm_hidden"), x.shape)
        for i in range(self.c["num_mlp_layers"]):
            p = f"{h}mlp_blocks.{i}."
            u = np.concatenate([layer_norm(x, w, p + "in_ln"), y], axis=-1)
            u = linear(silu(linear(silu(linear(u, w, p + "linears.0")), w, p + "linears.2")), w, p + "linears.4")
            gate, up = np.split(u, 2, axis=-1)
            x = x + linear(silu(gate) * up, w, p + "down_proj")
        p = h + "final_layer."
        return linear(silu(linear(layer_norm(x, w, p + "in_ln"), w, p + "linears.0")), w, p + "linears.2")

    def noise(self, seed: int, position: int, stream: int, number: int) -> np.ndarray:
        return unit(philox(seed, position + (stream << 32), number, np.arange(self.c["noise_size"]))) - 0.5

    def score(self, tokens: np.ndarray, seed: int, margins: Margins) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Two draws after each patch [2][P, K], and the latents of the first."""
        hidden = self.hidden(tokens.reshape(-1, self.c["patch_size"]))
        latents = [
            self.latent(hidden, np.stack([self.noise(seed, 0, stream, p) for p in range(len(hidden))])) for stream in (3, 4)
        ]
        first, second = (self.ae.tokens(z, margins) for z in latents)
        return first, second, latents[0]

    def draws(self, hidden: np.ndarray, seed: int, position: int, begin: int, count: int, margins: Margins) -> list[tuple]:
        noise = np.stack([self.noise(seed, position, 0, n) for n in range(begin, begin + count)])
        return [tuple(row.tolist()) for row in self.ae.tokens(self.latent(hidden, noise), margins)]

    def generate(self, prompt: list[int], count: int, temperature: float, seed: int, rule: str, candidates: int, most: int, margins: Margins):
        """The tokens after the prompt (which is completed with pads), and how many draws they took."""
        k = self.c["patch_size"]
        tokens = list(prompt) + [self.c["pad_token_id"]] * (-len(prompt) % k)
        start, taken = len(tokens), 0
        while len(tokens) < start + count:
            hidden = self.hidden(np.array(tokens).reshape(-1, k))[-1]
            drawn: list[tuple] = []

            def draw(number: int) -> tuple:
                while len(drawn) <= number:
                    drawn.extend(self.draws(hidden, seed, len(tokens), len(drawn), 16, margins))
                return drawn[number]

            patch, used = choose(draw, len(tokens), seed, temperature, rule, candidates, most, margins)
            tokens += patch
            taken += used
        return tokens[start : start + count], taken


def power_of(temperature: float) -> tuple[int, float]:
    power = 1 / min(max(float(np.float32(temperature)), 2.0**-20), 1.0)
    nearest = math.floor(power + 0.5)
    return (nearest, 0.0) if abs(power - nearest) < 1e-4 else (int(power), power - int(power))


def choose(draw, position: int, seed: int, temperature: float, rule: str, candidates: int, most: int, margins: Margins):
    """The patch that the rule takes from draw(0), draw(1), ...; and how many it looked at."""
    whole, rest = power_of(temperature)
    word = lambda stream, number: float(unit(philox(seed, position + (stream << 32), number, np.array(0))))
    if rule == "candidates" and not (whole == 1 and rest == 0):
        return pick([draw(i) for i in range(candidates)], whole, rest, word(2, 0), margins), candidates
    agreeing, kept = 0, None
    for number in range(most):
        y = draw(number)
        if agreeing < whole:
            if agreeing == 0:
                kept = y
            agreeing = agreeing + 1 if y == kept else 0
            if agreeing == whole and rest == 0:
                return kept, number + 1
        elif y == kept:
            return kept, number + 1
        else:
            coin, odds = word(1, number), rest / (agreeing - whole + 1)
            margins.note(coin - odds)
            agreeing = 0 if coin < odds else agreeing + 1
    return pick([draw(i) for i in range(min(most, candidates))], whole, rest, word(2, 0), margins), most


def pick(drawn: list[tuple], whole: int, rest: float, u: float, margins: Margins) -> tuple:
    counts: dict[tuple, int] = {}
    for y in drawn:
        counts[y] = counts.get(y, 0) + 1
    top = max(counts.values())
    if rest:
        weights = [(k / top) ** (whole + rest) for k in counts.values()]
    else:
        m = min(whole, top)
        weights = [float(np.prod([max(0, k - i) / (top - i) for i in range(m)])) for k in counts.values()]
    sums = np.cumsum(weights) / np.sum(weights)
    margins.note(float(np.abs(sums[:-1] - u).min()) if len(sums) > 1 else 1.0)
    return list(counts)[int(np.argmax(sums > u))]
