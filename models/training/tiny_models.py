"""Llama, what is Llama but for norms of heads and who sees whom, and Kimi Linear in PyTorch, small and for training only.

Parameters carry the names of the published checkpoints, except that the experts of a layer are stacked
while training (see `export`). Batches are [sequences, tokens].
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RmsNorm(nn.Module):
    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def linear(columns: int, rows: int, gain: float = 1.0) -> nn.Linear:
    layer = nn.Linear(columns, rows, bias=False)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(columns))
    return layer


class Mlp(nn.Module):
    def __init__(self, hidden: int, inner: int):
        super().__init__()
        self.gate_proj, self.up_proj = linear(hidden, inner), linear(hidden, inner)
        self.down_proj = linear(inner, hidden, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class View(NamedTuple):
    """For models that are not causal: the position of each row, and which rows [T, T] each row sees (None: all)."""

    positions: Tensor
    sees: Tensor | None = None


class RotaryAttention(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.heads, self.kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        self.width = c["hidden_size"] // self.heads
        self.q_proj = linear(c["hidden_size"], self.heads * self.width)
        self.k_proj = linear(c["hidden_size"], self.kv_heads * self.width)
        self.v_proj = linear(c["hidden_size"], self.kv_heads * self.width)
        self.o_proj = linear(self.heads * self.width, c["hidden_size"], 0.2)
        frequencies = c["rope_theta"] ** (-torch.arange(0, self.width, 2) / self.width)
        self.register_buffer("frequencies", frequencies, persistent=False)
        if c["model_type"] == "sdar":
            self.q_norm, self.k_norm = (RmsNorm(self.width, c["rms_norm_eps"]) for _ in range(2))

    def rotate(self, x: Tensor, positions: Tensor) -> Tensor:
        """[B, heads, T, width]; pairs are (d, d + width/2)."""
        angle = positions[:, None] * self.frequencies
        a, b = x.chunk(2, dim=-1)
        c, s = angle.cos(), angle.sin()
        return torch.cat([a * c - b * s, b * c + a * s], dim=-1)

    def forward(self, x: Tensor, view: View | None = None) -> Tensor:
        def split(y: Tensor, heads: int) -> Tensor:
            return y.view(*x.shape[:2], heads, self.width).transpose(1, 2)

        q, k = split(self.q_proj(x), self.heads), split(self.k_proj(x), self.kv_heads)
        v = split(self.v_proj(x), self.kv_heads)
        if hasattr(self, "q_norm"):
            q, k = self.q_norm(q), self.k_norm(k)
        positions = view.positions if view else torch.arange(x.shape[1])
        q, k = self.rotate(q, positions), self.rotate(k, positions)
        sees = view.sees if view else None
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=sees, is_causal=view is None, enable_gqa=True)
        return self.o_proj(o.transpose(1, 2).flatten(2))


class LatentAttention(nn.Module):
    """MLA without positions, expanded."""

    def __init__(self, c: dict):
        super().__init__()
        self.heads, self.rank = c["num_attention_heads"], c["kv_lora_rank"]
        self.nope, self.rope, self.value = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
        self.q_proj = linear(c["hidden_size"], self.heads * (self.nope + self.rope))
        self.kv_a_proj_with_mqa = linear(c["hidden_size"], self.rank + self.rope)
        self.kv_a_layernorm = RmsNorm(self.rank, 1e-6)  # not rms_norm_eps: as the published code has it
        self.kv_b_proj = linear(self.rank, self.heads * (self.nope + self.value))
        self.o_proj = linear(self.heads * self.value, c["hidden_size"], 0.2)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q = self.q_proj(x).view(b, t, self.heads, self.nope + self.rope)
        latent, shared_key = self.kv_a_proj_with_mqa(x).split([self.rank, self.rope], dim=-1)
        kv = self.kv_b_proj(self.kv_a_layernorm(latent)).view(b, t, self.heads, self.nope + self.value)
        key, value = kv.split([self.nope, self.value], dim=-1)
        key = torch.cat([key, shared_key[:, :, None].expand(b, t, self.heads, self.rope)], dim=-1)
        q, key, value = (y.transpose(1, 2) for y in (q, key, value))
        o = F.scaled_dot_product_attention(q, key, value, is_causal=True)
        return self.o_proj(o.transpose(1, 2).flatten(2))


def delta_rule_by_steps(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor) -> Tensor:
    """The definition. q, k, v, g [N, T, K], beta [N, T] -> [N, T, V]; N runs over sequences and heads."""
    state = q.new_zeros(q.shape[0], q.shape[2], v.shape[2])
    out = []
    for t in range(q.shape[1]):
        state = g[:, t].exp()[:, :, None] * state
        correction = beta[:, t, None] * (v[:, t] - torch.einsum("nkv,nk->nv", state, k[:, t]))
        state = state + k[:, t, :, None] * correction[:, None, :]
        out.append(torch.einsum("nkv,nk->nv", state, q[:, t]))
    return q.shape[2] ** -0.5 * torch.stack(out, dim=1)


CHUNK = 16
# In a chunk the decays between tokens are split about its middle row, so half a chunk's sum must stay in the
# range of a float's exponent, squared: 2 * 8 * 5 < 88. Only training has this bound; a decay of exp(-5) and
# one of zero hardly differ.
LOWEST_GATE = -5.0


def delta_rule_by_chunks(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor) -> Tensor:
    """The same, chunkwise. T is a multiple of CHUNK."""
    n, t, width = q.shape
    g = g.clamp(min=LOWEST_GATE)
    q, k, v, g = (x.reshape(n * (t // CHUNK), CHUNK, -1) for x in (q * width**-0.5, k, v, g))
    beta = beta.reshape(-1, CHUNK, 1)
    total = g.cumsum(dim=1)
    middle = total[:, CHUNK // 2 - 1 : CHUNK // 2]
    row, column = (total - middle).exp(), (middle - total).exp()
    a = torch.bmm(k * row, (k * column).transpose(1, 2)).tril(-1)
    b = torch.bmm(q * row, (k * column).transpose(1, 2)).tril()
    lower = beta * a
    # (I + lower)^-1 as a finite product: lower^16 = 0.
    eye = torch.eye(CHUNK)
    inverse, power = eye - lower, lower
    for _ in range(3):
        power = torch.bmm(power, power)
        inverse = torch.baddbmm(inverse, inverse, power)
    decayed = total.exp()
    solved = torch.bmm(inverse, beta * torch.cat([k * decayed, v], dim=-1))
    to_end = (total[:, -1:] - total).exp() * k

    def by_chunk(x: Tensor) -> tuple[Tensor, ...]:
        return x.view(n, t // CHUNK, -1, x.shape[-1]).unbind(1)

    w, u0 = solved.split([width, v.shape[2]], dim=-1)
    end = decayed[:, -1:].transpose(1, 2)
    state, out = q.new_zeros(n, width, v.shape[2]), []
    terms = (q * decayed, b, w.contiguous(), u0.contiguous(), to_end, end.contiguous())
    for q_c, b_c, w_c, u_c, to_end_c, end_c in zip(*map(by_chunk, terms)):
        u = torch.baddbmm(u_c, w_c, state, alpha=-1)
        out.append(torch.baddbmm(torch.bmm(q_c, state), b_c, u))
        state = torch.baddbmm(end_c * state, to_end_c.transpose(1, 2), u)
    return torch.cat(out, dim=1)


class KimiDeltaAttention(nn.Module):
    by_steps = False  # set on the class to use the definition instead of chunks

    def __init__(self, c: dict):
        super().__init__()
        own = c["linear_attn_config"]
        self.heads, self.width, taps = own["num_heads"], own["head_dim"], own["short_conv_kernel_size"]
        hidden, rows = c["hidden_size"], self.heads * self.width
        for name in "qkv":
            setattr(self, f"{name}_proj", linear(hidden, rows))
            conv = nn.Module()
            conv.weight = nn.Parameter(torch.randn(rows, 1, taps) * taps**-0.5)
            setattr(self, f"{name}_conv1d", conv)
        self.A_log = nn.Parameter(torch.empty(1, 1, self.heads, 1).uniform_(1, 16).log())
        step = torch.empty(rows).uniform_(math.log(1e-3), math.log(1e-1)).exp()
        self.dt_bias = nn.Parameter(step + (-torch.expm1(-step)).log())  # softplus of it is `step`
        self.f_a_proj, self.f_b_proj = linear(hidden, self.width), linear(self.width, rows, 0.3)
        self.b_proj = linear(hidden, self.heads)
        self.g_a_proj, self.g_b_proj = linear(hidden, self.width), linear(self.width, rows)
        self.o_norm = RmsNorm(self.width, c["rms_norm_eps"])
        self.o_proj = linear(rows, hidden, 0.2)

    def mixed(self, x: Tensor, name: str) -> Tensor:
        z, weight = getattr(self, f"{name}_proj")(x), getattr(self, f"{name}_conv1d").weight
        taps = weight.shape[2]
        padded = F.pad(z, (0, 0, taps - 1, 0))
        y = weight[:, 0, taps - 1] * z
        for w in range(taps - 1):
            y = torch.addcmul(y, weight[:, 0, w], padded[:, w : w + z.shape[1]])
        return F.silu(y)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape

        def heads_first(y: Tensor) -> Tensor:
            return y.view(b, t, self.heads, -1).transpose(1, 2).reshape(b * self.heads, t, -1)

        def unit(y: Tensor) -> Tensor:
            return y * torch.rsqrt(y.square().sum(dim=-1, keepdim=True) + 1e-6)

        q, k, v = (heads_first(self.mixed(x, name)) for name in "qkv")
        f = (self.f_b_proj(self.f_a_proj(x)) + self.dt_bias).view(b, t, self.heads, self.width)
        g = heads_first(-self.A_log.exp() * F.softplus(f))
        beta = heads_first(self.b_proj(x).sigmoid()).squeeze(-1)
        rule = delta_rule_by_steps if self.by_steps else delta_rule_by_chunks
        o = rule(unit(q), unit(k), v, g, beta).view(b, self.heads, t, self.width).transpose(1, 2)
        z = self.g_b_proj(self.g_a_proj(x)).view(b, t, self.heads, self.width)
        return self.o_proj((self.o_norm(o) * z.sigmoid()).flatten(2))


class Experts(nn.Module):
    """Sigmoid router with a selection bias. At this size it is quickest to run all experts on all tokens."""

    def __init__(self, c: dict):
        super().__init__()
        count, inner, hidden = c["num_experts"], c["moe_intermediate_size"], c["hidden_size"]
        self.top, self.scale = c["num_experts_per_token"], c["routed_scaling_factor"]
        self.gate = linear(hidden, count)
        self.gate.register_buffer("e_score_correction_bias", torch.zeros(count))
        self.w1 = nn.Parameter(torch.randn(count, inner, hidden) * hidden**-0.5)
        self.w3 = nn.Parameter(torch.randn(count, inner, hidden) * hidden**-0.5)
        self.w2 = nn.Parameter(torch.randn(count, hidden, inner) * 0.2 * inner**-0.5)
        self.shared_experts = Mlp(hidden, inner * c["num_shared_experts"])
        self.register_buffer("load", torch.zeros(count), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.gate(x).sigmoid()
        chosen = (scores + self.gate.e_score_correction_bias).topk(self.top, dim=-1).indices
        mask = torch.zeros_like(scores).scatter_(-1, chosen, 1.0)
        weights = scores * mask
        weights = self.scale * weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
        if self.training:
            self.load = mask.flatten(0, 1).mean(dim=0)
        inner = F.silu(F.linear(x, self.w1.flatten(0, 1))) * F.linear(x, self.w3.flatten(0, 1))
        inner = inner.unflatten(-1, self.w1.shape[:2]) * weights[..., None]
        return F.linear(inner.flatten(-2), self.w2.transpose(0, 1).flatten(1)) + self.shared_experts(x)

    @torch.no_grad()
    def balance(self, rate: float) -> None:
        """Raises the selection bias of experts with less than their share: no loss term is needed."""
        self.gate.e_score_correction_bias += rate * torch.sign(self.load.mean() - self.load)


class Layer(nn.Module):
    def __init__(self, c: dict, i: int):
        super().__init__()
        hidden, eps = c["hidden_size"], c["rms_norm_eps"]
        self.input_layernorm, self.post_attention_layernorm = RmsNorm(hidden, eps), RmsNorm(hidden, eps)
        if c["model_type"] != "kimi_linear":
            self.self_attn = RotaryAttention(c)
            self.mlp = Mlp(hidden, c["intermediate_size"])
            return
        is_kda = i + 1 in c["linear_attn_config"]["kda_layers"]
        self.self_attn = KimiDeltaAttention(c) if is_kda else LatentAttention(c)
        if i >= c["first_k_dense_replace"]:
            self.block_sparse_moe = Experts(c)
        else:
            self.mlp = Mlp(hidden, c["intermediate_size"])

    def forward(self, h: Tensor, *view: View) -> Tensor:
        h = h + self.self_attn(self.input_layernorm(h), *view)
        feed_forward = self.block_sparse_moe if hasattr(self, "block_sparse_moe") else self.mlp
        return h + feed_forward(self.post_attention_layernorm(h))


class LanguageModel(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        # An embedding that is also the head must start small; otherwise a large one learns much quicker.
        nn.init.normal_(self.model.embed_tokens.weight, std=0.1 if c["tie_word_embeddings"] else 1.0)
        self.model.layers = nn.ModuleList(Layer(c, i) for i in range(c["num_hidden_layers"]))
        self.model.norm = RmsNorm(c["hidden_size"], c["rms_norm_eps"])
        self.tied = c["tie_word_embeddings"]
        if not self.tied:
            self.lm_head = linear(c["hidden_size"], c["vocab_size"], 0.2)

    def forward(self, tokens: Tensor, *view: View, rows: int | None = None) -> Tensor:
        """Logits, of the first `rows` only if given."""
        h = self.model.embed_tokens(tokens)
        for layer in self.model.layers:
            h = layer(h, *view)
        h = h[:, :rows]
        head = self.model.embed_tokens if self.tied else self.lm_head
        return F.linear(self.model.norm(h), head.weight)


def export(model: LanguageModel) -> dict[str, Tensor]:
    """Tensors under their published names and in their published types."""
    tensors = {}
    for name, value in model.state_dict().items():
        kind = torch.float32 if name.endswith(("A_log", "dt_bias")) else torch.bfloat16
        prefix, _, last = name.rpartition(".")
        if last in ("w1", "w2", "w3"):
            for e, expert in enumerate(value):
                tensors[f"{prefix}.experts.{e}.{last}.weight"] = expert.to(kind).contiguous()
        else:
            tensors[name] = value.to(kind).contiguous()
    return tensors
