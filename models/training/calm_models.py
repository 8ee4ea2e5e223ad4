"""CALM in PyTorch, small and for training only: autoencoder, language model over patches, energy head.

Parameters carry the names of the published checkpoints. Batches are [sequences, patches, tokens of a patch].
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiny_models import Mlp, RmsNorm, RotaryAttention


class AeLayer(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.layernorm = RmsNorm(c["hidden_size"], c["rms_norm_eps"])
        self.mlp = Mlp(c["hidden_size"], c["intermediate_size"])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.layernorm(x))


class Encoder(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        d, self.patch = c["hidden_size"], c["patch_size"]
        self.embed_tokens = nn.Embedding(c["vocab_size"], d)
        nn.init.normal_(self.embed_tokens.weight, std=0.5)
        self.encoder_layers = nn.ModuleList(AeLayer(c) for _ in range(c["num_encoder_layers"]))
        self.squeeze_layer = nn.Linear(self.patch * d, d)
        self.norm = RmsNorm(d, c["rms_norm_eps"])
        self.hidden_to_latent = nn.Linear(d, 2 * c["latent_size"])

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log of the standard deviation."""
        x = self.embed_tokens(tokens)
        half = len(self.encoder_layers) // 2
        for layer in self.encoder_layers[:half]:
            x = layer(x)
        x = self.squeeze_layer(x.flatten(-2))
        for layer in self.encoder_layers[half:]:
            x = layer(x)
        return self.hidden_to_latent(self.norm(x)).chunk(2, dim=-1)


class Decoder(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        d, self.patch = c["hidden_size"], c["patch_size"]
        self.latent_to_hidden = nn.Linear(c["latent_size"], d)
        self.decoder_layers = nn.ModuleList(AeLayer(c) for _ in range(c["num_decoder_layers"]))
        self.expand_layer = nn.Linear(d, self.patch * d)
        self.norm = RmsNorm(d, c["rms_norm_eps"])

    def forward(self, z: Tensor, table: Tensor) -> Tensor:
        x = self.latent_to_hidden(z)
        half = len(self.decoder_layers) // 2
        for layer in self.decoder_layers[:half]:
            x = layer(x)
        x = self.expand_layer(x).unflatten(-1, (self.patch, -1))
        for layer in self.decoder_layers[half:]:
            x = layer(x)
        return self.norm(x) @ table.T


class Autoencoder(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.encoder, self.decoder, self.config = Encoder(c), Decoder(c), c

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z, self.encoder.embed_tokens.weight)

    def loss(self, tokens: Tensor) -> Tensor:
        """Reconstruction and a divergence that is free below `kl_clamp` in each dimension."""
        c = self.config
        kept = torch.rand(tokens.shape) >= c["ae_dropout"]
        mean, log_std = self.encoder(tokens * kept)
        divergence = 0.5 * (mean**2 + (2 * log_std).exp() - 1 - 2 * log_std)
        divergence = divergence.clamp(min=c["kl_clamp"]).sum(-1).mean()
        z = F.dropout(mean + log_std.exp() * torch.randn_like(mean), c["ae_dropout"])
        logits = self.decode(z)
        return c["patch_size"] * F.cross_entropy(logits.flatten(0, -2), tokens.flatten()) + c["kl_weight"] * divergence


class LmLayer(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.input_layernorm = RmsNorm(c["hidden_size"], c["rms_norm_eps"])
        self.self_attn = RotaryAttention(c)
        self.post_attention_layernorm = RmsNorm(c["hidden_size"], c["rms_norm_eps"])
        self.mlp = Mlp(c["hidden_size"], c["intermediate_size"])

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Transformer(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        nn.init.normal_(self.embed_tokens.weight, std=0.5)
        self.layers = nn.ModuleList(LmLayer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = RmsNorm(c["hidden_size"], c["rms_norm_eps"])


EPS = 1e-6


class HeadBlock(nn.Module):
    def __init__(self, h: int):
        super().__init__()
        self.in_ln = nn.LayerNorm(h, eps=EPS)
        self.linears = nn.Sequential(nn.Linear(2 * h, h), nn.SiLU(), nn.Linear(h, h), nn.SiLU(), nn.Linear(h, 2 * h))
        self.down_proj = nn.Linear(h, h)
        nn.init.normal_(self.down_proj.weight, std=0.2 / math.sqrt(h))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        gate, up = self.linears(torch.cat([self.in_ln(x), y], dim=-1)).chunk(2, dim=-1)
        return x + self.down_proj(F.silu(gate) * up)


class FinalLayer(nn.Module):
    def __init__(self, h: int, latent: int):
        super().__init__()
        self.in_ln = nn.LayerNorm(h, eps=EPS)
        self.linears = nn.Sequential(nn.Linear(h, h), nn.SiLU(), nn.Linear(h, latent))

    def forward(self, x: Tensor) -> Tensor:
        return self.linears(self.in_ln(x))


class EnergyHead(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        h = c["hidden_size"]
        self.noise_size = c["noise_size"]
        self.noise_embd, self.hidden_embd = nn.Linear(c["noise_size"], h), nn.Linear(h, h)
        self.norm_hidden, self.norm_noise = nn.LayerNorm(h, eps=EPS), nn.LayerNorm(h, eps=EPS)
        self.mlp_blocks = nn.ModuleList(HeadBlock(h) for _ in range(c["num_mlp_layers"]))
        self.final_layer = FinalLayer(h, c["latent_size"])

    def forward(self, hidden: Tensor) -> Tensor:
        noise = torch.rand(*hidden.shape[:-1], self.noise_size) - 0.5
        x, y = self.norm_noise(self.noise_embd(noise)), self.norm_hidden(self.hidden_embd(hidden))
        for block in self.mlp_blocks:
            x = block(x, y)
        return self.final_layer(x)


class EnergyTransformer(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        h, k = c["hidden_size"], c["patch_size"]
        self.config = c
        self.transformer = Transformer(c)
        self.embed_proj = nn.Sequential(nn.Linear(k * h, 2 * h), nn.SiLU(), nn.Linear(2 * h, h), nn.LayerNorm(h, eps=EPS))
        self.mlp_generator = EnergyHead(c)

    def hidden(self, patches: Tensor) -> Tensor:
        x = self.embed_proj(self.transformer.embed_tokens(patches).flatten(-2))
        for layer in self.transformer.layers:
            x = layer(x)
        return self.transformer.norm(x)

    def loss(self, patches: Tensor, autoencoder: Autoencoder, draws: int, targets: int) -> Tensor:
        """The energy score of `draws` latents against `targets` draws of the autoencoder's posterior."""
        with torch.no_grad():
            mean, log_std = autoencoder.encoder(patches[:, 1:])
            wanted = mean + log_std.exp() * torch.randn(targets, *mean.shape)
        hidden = self.hidden(patches[:, :-1])
        z = self.mlp_generator(hidden.expand(draws, *hidden.shape)).movedim(0, -2)
        wanted = wanted.movedim(0, -2)
        near = torch.cdist(z, wanted).mean()
        apart = torch.cdist(z, z).sum((-2, -1)).mean() / (draws * (draws - 1))
        return 2 * near - apart
