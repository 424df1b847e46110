"""Qwen2 in PyTorch, to train the reference model; its weights are named as mlx-lm names them.

The keys get large biases before training, as Qwen2.5's have (norm 605 in its first layer, 921 in
its last, median 22): they sit on the lowest frequencies of RoPE, whose rotation over the whole
context is so small that the softmax hardly sees them, and a quantizer sees little else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """The dimensions of the model, under the names of its ``config.json``."""

    vocab_size: int
    hidden_size: int = 128
    num_hidden_layers: int = 6
    intermediate_size: int = 384
    num_attention_heads: int = 2
    num_key_value_heads: int = 1
    max_position_embeddings: int = 8192
    rope_theta: float = 1e6
    rms_norm_eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    def key_bias_norm(self, layer: int) -> float:
        """Norm that the layer's key bias starts from, for each head."""
        return {0: 300.0, self.num_hidden_layers - 1: 400.0}.get(layer, 40.0)


SLOW_PAIRS = 4  # RoPE pairs, of the lowest frequencies, that carry the large key bias
FAST_PAIRS = 8  # RoPE pairs, of the highest frequencies, that tell neighbours apart
#: Noise of keys and values in training, as a share of their spread. It makes the small model as
#: indifferent to small errors of its cache as large ones are: codes of 3 bits err by 0.18.
NOISE = 0.15
#: How far back each query head of the first layers looks before training.
LOOK_BACK = ((1, 2), (1, 3))


class Norm(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.hidden_size))
        self.eps = shape.rms_norm_eps

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x.float(), self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dim = shape.head_dim
        kv = shape.num_key_value_heads * self.dim
        self.q_proj = nn.Linear(shape.hidden_size, shape.hidden_size)
        self.k_proj = nn.Linear(shape.hidden_size, kv)
        self.v_proj = nn.Linear(shape.hidden_size, kv)
        self.o_proj = nn.Linear(shape.hidden_size, shape.hidden_size, bias=False)
        self.theta = shape.rope_theta

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = (
            project(x).view(batch, length, -1, self.dim).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        groups = q.shape[1] // k.shape[1]
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if self.training:
            k, v = blur(k, k.mean(dim=2, keepdim=True)), blur(v, torch.zeros_like(v[:, :, :1]))
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(out.transpose(1, 2).reshape(batch, length, -1))

    def bias_keys(self, norm: float) -> None:
        """Give the keys their large bias, and the queries little weight where it lies."""
        lowest = pairs(self.dim, -SLOW_PAIRS, 0)
        for head in self.k_proj.bias.view(-1, self.dim):
            direction = torch.randn(len(lowest))
            head[lowest] = direction / direction.norm() * norm
        for head in self.q_proj.weight.view(-1, self.dim, self.q_proj.in_features):
            head[lowest] *= 0.1

    def look_back(self, offsets: tuple[int, ...], strength: float = 5.0) -> None:
        """Bias each query head to the key so many tokens before it, by RoPE's fastest pairs."""
        fastest = pairs(self.dim, 0, FAST_PAIRS)
        real, imaginary = fastest.chunk(2)
        frequency = self.theta ** (-2 * real / self.dim)
        self.k_proj.bias.view(-1, self.dim)[:, real] = strength
        for head, offset in zip(self.q_proj.bias.view(-1, self.dim), offsets, strict=True):
            head[real] = strength * torch.cos(frequency * offset)
            head[imaginary] = -strength * torch.sin(frequency * offset)


class Mlp(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = Norm(shape)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = Norm(shape)
        self.mlp = Mlp(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Qwen2(nn.Module):
    """Token ids (batch, length) to the final hidden states (batch, length, hidden)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        layers = [Block(shape) for _ in range(shape.num_hidden_layers)]
        self.layers = nn.ModuleList(layers)
        self.norm = Norm(shape)
        half = torch.arange(0, shape.head_dim, 2) / shape.head_dim
        angle = torch.outer(torch.arange(shape.max_position_embeddings), shape.rope_theta**-half)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        self._initialise()

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed_tokens(tokens)
        cos, sin = self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)

    def _initialise(self) -> None:
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if name.endswith("bias"):
                    nn.init.zeros_(weight)
                elif name.endswith(("o_proj.weight", "down_proj.weight")):
                    nn.init.normal_(weight, std=0.05 * (2 * len(self.layers)) ** -0.5)
                elif "norm" not in name:
                    nn.init.normal_(weight, std=0.09 if "self_attn" in name else 0.05)
            for layer, block in enumerate(self.layers):
                block.self_attn.bias_keys(self.shape.key_bias_norm(layer))
            for block, offsets in zip(self.layers, LOOK_BACK, strict=False):
                block.self_attn.look_back(offsets)


def blur(x: Tensor, centre: Tensor) -> Tensor:
    """Add noise in proportion to each vector's distance from the centre."""
    spread = (x - centre).detach().square().mean(dim=-1, keepdim=True).sqrt()
    return x + NOISE * spread * torch.randn_like(x)


def pairs(dim: int, start: int, stop: int) -> Tensor:
    """List the indices of some RoPE pairs, fastest first: their real parts, then imaginary."""
    half = dim // 2
    real = torch.arange(half)[start : stop or half]
    return torch.cat([real, real + half])


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply RoPE to (batch, heads, length, dim), pairing element i with i + dim / 2."""
    one, other = x.float().chunk(2, dim=-1)
    return torch.cat([one * cos - other * sin, other * cos + one * sin], dim=-1).type_as(x)
