"""Kimi Linear in float64 numpy, plainly: token by token recurrences, expanded attention, a loop over experts.

One function for each step of the model. Functions named *_again are second formulations of the same
mathematics, used only by `check`.
"""

import math

import numpy as np


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def l2_norm(x: np.ndarray) -> np.ndarray:
    """The 1e-6 is added to the sum of squares, not to the norm."""
    return x / np.sqrt(np.sum(x * x, axis=-1, keepdims=True) + 1e-6)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -x))


def silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


# --- KDA


def short_conv_silu(z: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Depthwise causal convolution. z [T, N]; weight [N, 1, W] or [N, W], last column = current token."""
    weight = weight.reshape(weight.shape[0], weight.shape[-1])
    width = weight.shape[1]
    padded = np.concatenate([np.zeros((width - 1, z.shape[1])), z])
    y = np.zeros_like(z)
    for w in range(width):
        y += weight[:, w] * padded[w : w + z.shape[0]]
    return silu(y)


def decay_gate(f: np.ndarray, a_log: np.ndarray, dt_bias: np.ndarray) -> np.ndarray:
    """f [T, H, K] -> natural log of the decay, [T, H, K], never positive."""
    heads, width = f.shape[1:]
    return -np.exp(a_log.reshape(heads, 1)) * softplus(f + dt_bias.reshape(heads, width))


def delta_rule(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, g: np.ndarray, beta: np.ndarray, state: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """q, k, g [T, H, K], v [T, H, V], beta [T, H], state [H, K, V] -> outputs [T, H, V], new state."""
    out, scale = np.empty_like(v), q.shape[-1] ** -0.5
    for t in range(q.shape[0]):
        state = np.exp(g[t])[:, :, None] * state
        predicted = np.einsum("hkv,hk->hv", state, k[t])
        correction = beta[t][:, None] * (v[t] - predicted)
        state = state + k[t][:, :, None] * correction[:, None, :]
        out[t] = scale * np.einsum("hkv,hk->hv", state, q[t])
    return out, state


def delta_rule_again(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, g: np.ndarray, beta: np.ndarray, state: np.ndarray, chunk: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """The chunkwise form: per chunk one triangular system for all corrections at once."""
    out, scale = np.empty_like(v), q.shape[-1] ** -0.5
    state = state.copy()
    for start in range(0, q.shape[0], chunk):
        rows = slice(start, start + chunk)
        for h in range(q.shape[1]):
            qc, kc, vc, gc, bc = q[rows, h], k[rows, h], v[rows, h], g[rows, h], beta[rows, h]
            total = np.cumsum(gc, axis=0)
            # Exponents are differences only where row >= column, so none is positive.
            difference = np.minimum(total[:, None] - total[None, :], 0.0)
            decay = np.exp(difference)
            a = np.tril(np.einsum("id,jd,ijd->ij", kc, kc, decay), -1)
            b = np.tril(np.einsum("id,jd,ijd->ij", qc, kc, decay))
            right = bc[:, None] * (vc - (np.exp(total) * kc) @ state[h])
            u = np.linalg.solve(np.eye(len(bc)) + bc[:, None] * a, right)
            out[rows, h] = scale * ((np.exp(total) * qc) @ state[h] + b @ u)
            to_end = np.exp(total[-1] - total)
            state[h] = np.exp(total[-1])[:, None] * state[h] + (to_end * kc).T @ u
    return out, state


def kda_inputs(x: np.ndarray, weights: dict, prefix: str, config: dict) -> tuple[np.ndarray, ...]:
    """Everything the delta rule reads: q, k, v, g, beta."""
    linear = config["linear_attn_config"]
    tokens, shape = x.shape[0], (x.shape[0], linear["num_heads"], linear["head_dim"])

    def mixed(name: str) -> np.ndarray:
        projected = x @ weights[f"{prefix}{name}_proj.weight"].T
        return short_conv_silu(projected, weights[f"{prefix}{name}_conv1d.weight"]).reshape(shape)

    f = (x @ weights[prefix + "f_a_proj.weight"].T) @ weights[prefix + "f_b_proj.weight"].T
    g = decay_gate(f.reshape(shape), weights[prefix + "A_log"], weights[prefix + "dt_bias"])
    beta = sigmoid(x @ weights[prefix + "b_proj.weight"].T)
    assert beta.shape == (tokens, linear["num_heads"])
    return l2_norm(mixed("q")), l2_norm(mixed("k")), mixed("v"), g, beta


def kda(x: np.ndarray, weights: dict, prefix: str, config: dict) -> np.ndarray:
    q, k, v, g, beta = kda_inputs(x, weights, prefix, config)
    heads, width = q.shape[1:]
    o, _ = delta_rule(q, k, v, g, beta, np.zeros((heads, width, width)))
    z = ((x @ weights[prefix + "g_a_proj.weight"].T) @ weights[prefix + "g_b_proj.weight"].T).reshape(o.shape)
    r = rms_norm(o, weights[prefix + "o_norm.weight"], config["rms_norm_eps"]) * sigmoid(z)
    return r.reshape(x.shape[0], heads * width) @ weights[prefix + "o_proj.weight"].T


# --- MLA without positions

# The published code leaves this norm at its class default instead of passing rms_norm_eps.
KV_A_LAYERNORM_EPS = 1e-6


def mla_parts(x: np.ndarray, weights: dict, prefix: str, config: dict) -> tuple[np.ndarray, ...]:
    """q_nope [T, H, dn], q_rope [T, H, dr], normalised latent [T, r], shared extra key [T, dr]."""
    heads, dn, dr = config["num_attention_heads"], config["qk_nope_head_dim"], config["qk_rope_head_dim"]
    q = (x @ weights[prefix + "q_proj.weight"].T).reshape(x.shape[0], heads, dn + dr)
    compressed = x @ weights[prefix + "kv_a_proj_with_mqa.weight"].T
    rank = config["kv_lora_rank"]
    latent = rms_norm(compressed[:, :rank], weights[prefix + "kv_a_layernorm.weight"], KV_A_LAYERNORM_EPS)
    return q[..., :dn], q[..., dn:], latent, compressed[:, rank:]


def causal_softmax(scores: np.ndarray) -> np.ndarray:
    return softmax(np.where(np.triu(np.ones(scores.shape, dtype=bool), 1), -np.inf, scores))


def mla(x: np.ndarray, weights: dict, prefix: str, config: dict) -> np.ndarray:
    heads, dn, dv = config["num_attention_heads"], config["qk_nope_head_dim"], config["v_head_dim"]
    q_nope, q_rope, latent, k_rope = mla_parts(x, weights, prefix, config)
    kv = (latent @ weights[prefix + "kv_b_proj.weight"].T).reshape(x.shape[0], heads, dn + dv)
    out = np.empty((x.shape[0], heads, dv))
    for h in range(heads):
        query = np.concatenate([q_nope[:, h], q_rope[:, h]], axis=1)
        key = np.concatenate([kv[:, h, :dn], k_rope], axis=1)  # no rotation, despite the name
        out[:, h] = causal_softmax(query @ key.T / math.sqrt(key.shape[1])) @ kv[:, h, dn:]
    return out.reshape(x.shape[0], heads * dv) @ weights[prefix + "o_proj.weight"].T


def mla_again(x: np.ndarray, weights: dict, prefix: str, config: dict) -> np.ndarray:
    """The absorbed form: attention over the latents themselves."""
    heads, dn, dv = config["num_attention_heads"], config["qk_nope_head_dim"], config["v_head_dim"]
    q_nope, q_rope, latent, k_rope = mla_parts(x, weights, prefix, config)
    up = weights[prefix + "kv_b_proj.weight"].reshape(heads, dn + dv, -1)
    absorbed = np.einsum("thd,hdr->thr", q_nope, up[:, :dn])
    out = np.empty((x.shape[0], heads, dv))
    for h in range(heads):
        scores = (absorbed[:, h] @ latent.T + q_rope[:, h] @ k_rope.T) / math.sqrt(dn + k_rope.shape[1])
        out[:, h] = (causal_softmax(scores) @ latent) @ up[h, dn:].T
    return out.reshape(x.shape[0], heads * dv) @ weights[prefix + "o_proj.weight"].T


# --- feed-forward


def mlp(x: np.ndarray, gate: np.ndarray, up: np.ndarray, down: np.ndarray) -> np.ndarray:
    return (silu(x @ gate.T) * (x @ up.T)) @ down.T


def best(scores: np.ndarray, count: int) -> np.ndarray:
    """Indices of the largest scores, descending; of equal ones the lower index first."""
    return np.argsort(-scores, kind="stable")[:count]


def route(logits: np.ndarray, bias: np.ndarray, config: dict) -> tuple[np.ndarray, np.ndarray, float]:
    """One token: expert ids, weights, and by how much the choice was decided (smallest gap at a boundary)."""
    softmax_scores = config["moe_router_activation_func"] == "softmax"
    scores = softmax(logits) if softmax_scores else sigmoid(logits)
    selection = scores + bias  # decides who, not how much
    margin = math.inf
    groups = config.get("num_expert_group") or 1
    if groups > 1:
        by_group = selection.reshape(groups, -1)
        group_scores = np.sum(np.sort(by_group, axis=1)[:, -2:], axis=1)
        kept = best(group_scores, config["topk_group"])
        ordered = np.sort(group_scores)[::-1]
        margin = min(margin, ordered[len(kept) - 1] - ordered[len(kept)])
        masked = np.full_like(by_group, -np.inf)
        masked[kept] = by_group[kept]
        selection = masked.reshape(-1)
    top = config["num_experts_per_token"]
    ids = best(selection, top)
    ordered = np.sort(selection)[::-1]
    margin = min(margin, ordered[top - 1] - ordered[top])
    weights = scores[ids]
    if config["moe_renormalize"] and top > 1:
        weights = weights / (np.sum(weights) + 1e-20)
    return ids, weights * config["routed_scaling_factor"], float(margin)


def choose_again(selection: np.ndarray, config: dict) -> set[int]:
    """The chosen experts by counting rivals instead of sorting (no ties)."""
    groups = config.get("num_expert_group") or 1
    size = len(selection) // groups
    if groups > 1:
        pairs = [max(a + b for j, a in enumerate(g) for b in g[:j]) for g in selection.reshape(groups, size).tolist()]
        open_groups = [sum(other > mine for other in pairs) < config["topk_group"] for mine in pairs]
    else:
        open_groups = [True]
    allowed = [e for e in range(len(selection)) if open_groups[e // size]]
    rivals = {e: sum(selection[o] > selection[e] for o in allowed) for e in allowed}
    return {e for e in allowed if rivals[e] < config["num_experts_per_token"]}


def moe(x: np.ndarray, weights: dict, prefix: str, config: dict) -> np.ndarray:
    out = np.zeros_like(x)
    bias = weights[prefix + "gate.e_score_correction_bias"]
    for t, logits in enumerate(x @ weights[prefix + "gate.weight"].T):
        ids, factors, _ = route(logits, bias, config)
        for e, factor in zip(ids, factors):
            w1, w2, w3 = (weights[f"{prefix}experts.{e}.w{n}.weight"] for n in (1, 2, 3))
            out[t] += factor * mlp(x[t], w1, w3, w2)
    if config["num_shared_experts"]:
        p = prefix + "shared_experts."
        out = out + mlp(x, *(weights[f"{p}{n}_proj.weight"] for n in ("gate", "up", "down")))
    return out


def router_margins(x: np.ndarray, weights: dict, prefix: str, config: dict) -> list[float]:
    bias = weights[prefix + "gate.e_score_correction_bias"]
    margins = []
    for logits in x @ weights[prefix + "gate.weight"].T:
        ids, _, margin = route(logits, bias, config)
        scores = softmax(logits) if config["moe_router_activation_func"] == "softmax" else sigmoid(logits)
        assert set(ids.tolist()) == choose_again(scores + bias, config)
        margins.append(margin)
    return margins


# --- the model


def is_kda(config: dict, i: int) -> bool:
    return i + 1 in config["linear_attn_config"]["kda_layers"]  # the lists count from 1


def is_moe(config: dict, i: int) -> bool:
    return (
        config["num_experts"] is not None
        and i >= config["first_k_dense_replace"]
        and i % config.get("moe_layer_freq", 1) == 0
    )


def logits(config: dict, weights: dict, tokens: np.ndarray, report: dict | None = None) -> np.ndarray:
    """Logits [T, vocabulary]. `report` collects gates and router margins, and turns the second formulations on."""
    eps = config["rms_norm_eps"]
    h = weights["model.embed_tokens.weight"][tokens]
    for i in range(config["num_hidden_layers"]):
        p = f"model.layers.{i}."
        x = rms_norm(h, weights[p + "input_layernorm.weight"], eps)
        if report is not None:
            check(x, weights, p + "self_attn.", config, i, report)
        h = h + (kda if is_kda(config, i) else mla)(x, weights, p + "self_attn.", config)
        x = rms_norm(h, weights[p + "post_attention_layernorm.weight"], eps)
        if is_moe(config, i):
            if report is not None:
                report.setdefault("margins", []).extend(
                    router_margins(x, weights, p + "block_sparse_moe.", config)
                )
            h = h + moe(x, weights, p + "block_sparse_moe.", config)
        else:
            h = h + mlp(x, *(weights[f"{p}mlp.{n}_proj.weight"] for n in ("gate", "up", "down")))
    y = rms_norm(h, weights["model.norm.weight"], eps)
    head = "model.embed_tokens.weight" if config.get("tie_word_embeddings") else "lm_head.weight"
    return y @ weights[head].T


def check(x: np.ndarray, weights: dict, prefix: str, config: dict, i: int, report: dict) -> None:
    if is_kda(config, i):
        q, k, v, g, beta = kda_inputs(x, weights, prefix, config)
        state = np.zeros((q.shape[1], q.shape[2], v.shape[2]))
        once, again = delta_rule(q, k, v, g, beta, state), delta_rule_again(q, k, v, g, beta, state)
        for a, b in zip(once, again):
            # Differences of sums around -1000 per token lose three digits; float64 has them to spare.
            assert np.max(np.abs(a - b)) < 1e-11, np.max(np.abs(a - b))
        report.setdefault("gates", []).append(g)
        report.setdefault("betas", []).append(beta)
    else:
        a, b = mla(x, weights, prefix, config), mla_again(x, weights, prefix, config)
        assert np.max(np.abs(a - b)) < 1e-12 * max(1.0, np.max(np.abs(a)))


def self_test() -> None:
    """Worked examples, nine digits: gate, norms and delta rule on three tokens; then the router."""
    q = np.array([[1, 2], [0.5, -1], [3, 0]])[:, None]
    k = np.array([[2, 1], [1, 1], [-1, 2]])[:, None]
    v = np.array([[1, 0], [0.5, -2], [2, 1]])[:, None]
    f = np.array([[0.1, -0.2], [1, 0], [-1, 2]])[:, None]
    beta = sigmoid(np.array([[0.0], [1.0], [-0.5]]))
    g = decay_gate(f, np.log([2.0]), np.array([-1.0, 0.5]))
    expected_g = [[-0.682307749, -1.708710489], [-1.386294361, -1.948153968], [-0.253856022, -5.157779469]]
    assert np.allclose(g[:, 0], expected_g, atol=1e-9, rtol=0)
    start = np.array([[[0.1, -0.2], [0.3, 0.4]]])
    expected_o = [[0.313528320, 0.030258406], [-0.050686380, 0.312534597], [-0.076939672, -0.652649383]]
    expected_s = [[-0.108809134, -0.922985660], [0.713679954, 0.210543546]]
    for rule in (delta_rule, delta_rule_again):
        o, state = rule(l2_norm(q), l2_norm(k), v, g, beta, start)
        assert np.allclose(o[:, 0], expected_o, atol=1e-9, rtol=0)
        assert np.allclose(state[0], expected_s, atol=1e-9, rtol=0)

    config = {
        "moe_router_activation_func": "sigmoid",
        "num_experts_per_token": 3,
        "moe_renormalize": True,
        "routed_scaling_factor": 2.446,
    }
    ids, weights, _ = route(
        np.array([0.3, -1.2, 2.0, 0.0, 1.1, -0.4]), np.array([0.5, 0.9, -0.8, 0.1, 0, 0.6]), config
    )
    assert list(ids) == [1, 0, 5]
    assert np.allclose(weights, [0.468997909, 1.163892805, 0.813109286], atol=1e-9, rtol=0)
