"""Transformer blocks of prefix and expert: one forward that attends to given keys and returns its own.

Axes: B batch, N tokens of this call, M tokens attended to, W width, H query heads, G key/value heads, D head size.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class KeyValue(NamedTuple):
    """Keys (rotated) and values of one layer, each (B, G, M, D)."""

    keys: Tensor
    values: Tensor


class Rotation(NamedTuple):
    """Cosine and signed sine of the rotary angles, each (B, N, 1, D); see `rotation_at`."""

    cos: Tensor
    sin: Tensor


class RMSNorm(nn.Module):
    """x / rms(x) * (1 + weight): weight decay pulls the scale to one, not to zero."""

    eps: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.register_buffer("eps", torch.tensor(1e-6), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (…, W) -> (…, W) of x's own type; computed in the weight's, which stays float32 in a bfloat16 network."""
        wide = x.to(self.weight.dtype)
        # torch's own rms_norm runs as many passes over x on a CPU; these are few.
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        y = wide * torch.rsqrt(torch.addcmul(self.eps, norm, norm, value=1 / x.shape[-1]))
        return torch.addcmul(y, y, self.weight).to(x.dtype)


class GeGLU(nn.Module):
    """down(gelu(gate(x)) * up(x)), gelu by its tanh formula; gate and up are one matrix."""

    def __init__(self, width: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = residual_output(hidden, width, layers)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(functional.gelu(gate, approximate="tanh") * up)


class KeyValueProjection(nn.Module):
    """x to rotated keys and values; the last prefix layer has nothing else, because nothing reads its output."""

    def __init__(self, width: int, kv_heads: int, head_dim: int) -> None:
        super().__init__()
        self.norm = RMSNorm(width)
        self.kv = nn.Linear(width, 2 * kv_heads * head_dim, bias=False)
        self.head_dim = head_dim

    def forward(self, x: Tensor, rotation: Rotation) -> KeyValue:
        """x (B, N, W) -> keys and values (B, G, N, D)."""
        x = self.norm(x)
        heads = self.kv(x).view(*x.shape[:2], -1, self.head_dim)
        keys, values = heads.chunk(2, dim=2)
        return KeyValue(rotate(keys, rotation).transpose(1, 2), values.transpose(1, 2))


class Block(nn.Module):
    """Pre-norm attention with rotary positions and shared key/value heads, then GeGLU.

    The same module serves the prefix (`before` is None) and the expert (`before` is the prefix's layer), in
    training and in inference.
    """

    def __init__(self, width: int, mlp: int, heads: int, kv_heads: int, head_dim: int, layers: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.attention_norm = RMSNorm(width)
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * head_dim, bias=False)
        self.out = residual_output(heads * head_dim, width, layers)
        self.mlp_norm = RMSNorm(width)
        self.mlp = GeGLU(width, mlp, layers)

    def forward(
        self, x: Tensor, rotation: Rotation, bias: Tensor, before: KeyValue | None = None
    ) -> tuple[Tensor, KeyValue]:
        """x (B, N, W); bias (B, 1, 1 or N·H/G, M), see `attention_bias`; M counts `before`, then these tokens.

        Returns the new x and these tokens' own keys and values (B, G, N, D).
        """
        batch, tokens, _ = x.shape
        heads = self.qkv(self.attention_norm(x)).view(batch, tokens, -1, self.head_dim)
        turned, values = heads.split([self.heads + self.kv_heads, self.kv_heads], dim=2)
        queries, keys = rotate(turned, rotation).split([self.heads, self.kv_heads], dim=2)
        own = KeyValue(keys.transpose(1, 2), values.transpose(1, 2))
        seen = own if before is None else KeyValue(*(torch.cat(pair, dim=2) for pair in zip(before, own, strict=True)))
        x = x + self.out(attend(queries, seen, bias))
        return x + self.mlp(self.mlp_norm(x)), own


def attend(queries: Tensor, seen: KeyValue, bias: Tensor) -> Tensor:
    """Softmax attention: queries (B, N, H, D) over seen (B, G, M, D), plus bias -> (B, N, H·D)."""
    batch, tokens, _, head_dim = queries.shape
    groups = seen.keys.shape[1]
    # Query heads that share a key head are laid out as further tokens of it: the keys are read once, not copied.
    folded = queries.reshape(batch, tokens, groups, -1, head_dim).transpose(1, 2).reshape(batch, groups, -1, head_dim)
    mixed = functional.scaled_dot_product_attention(folded, seen.keys, seen.values, attn_mask=bias)
    return mixed.view(batch, groups, tokens, -1).transpose(1, 2).reshape(batch, tokens, -1)


def attention_bias(mask: Tensor, repeat: int, dtype: torch.dtype) -> Tensor:
    """What attention adds to its scores: zero where mask (B, N, M) is True, minus infinity elsewhere.

    `repeat` is H/G, the query heads that share a key head: (B, 1, N·H/G, M), or (B, 1, 1, M) when N is 1.
    """
    bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -torch.inf)
    return (bias if mask.shape[1] == 1 else bias.repeat_interleave(repeat, dim=1))[:, None]


def rotation_at(positions: Tensor, head_dim: int, base: float, dtype: torch.dtype) -> Rotation:
    """Rotary angles of integer positions (B, N): position / base^(2i/D) for the pair (i, i + D/2)."""
    wide = torch.promote_types(dtype, torch.float32)
    pair = torch.arange(0, head_dim, 2, device=positions.device, dtype=wide)
    angle = positions[:, :, None, None].to(wide) * base ** (-pair / head_dim)
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    return Rotation(torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1))


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turns each pair (i, i + D/2) of x (B, N, ·, D) by its angle."""
    return torch.addcmul(x * rotation.cos, x.roll(x.shape[-1] // 2, dims=-1), rotation.sin)


def residual_output(inputs: int, outputs: int, layers: int, bias: bool = False) -> nn.Linear:
    """A linear map onto the residual stream, small enough that `layers` blocks start near the identity."""
    linear = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(linear.weight, std=0.02 / math.sqrt(2 * layers))
    if bias:
        nn.init.zeros_(linear.bias)
    return linear
