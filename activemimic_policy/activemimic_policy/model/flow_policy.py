"""The policy network: the prefix (images and text) is encoded once, the expert moves the actions over it.

The prefix never looks at the suffix, so its keys and values can be kept while the flow is integrated, and the
same two functions, `encode_prefix` and `velocity`, are the only path in training and in inference.

Attention, in blocks; a block sees itself and the ones before it: [images, text] | [state] | [actions].

Axes: B batch, C cameras, P prefix tokens, X text tokens, T horizon, A padded action width, S padded state width,
K noise draws per observation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from activemimic_policy.model.flow import Velocity, noisy_actions, time_features, time_periods, weighted_errors
from activemimic_policy.model.layers import (
    Block,
    KeyValue,
    KeyValueProjection,
    RMSNorm,
    Rotation,
    attention_bias,
    rotation_at,
)
from activemimic_policy.model.model_config import ModelConfig
from activemimic_policy.model.vision import VisionTower


@dataclass(frozen=True)
class ModelInputs:
    """What the network sees of one moment, batched."""

    images: Tensor  # (B, C, px, px, 3) in [-1, 1]
    image_mask: Tensor  # (B, C) bool, False where a camera is absent
    text: Tensor  # (B, X) int64
    text_mask: Tensor  # (B, X) bool, False on padding
    state: Tensor  # (B, S), normalised and padded


@dataclass(frozen=True)
class Prefix:
    """What stays the same along the flow: all that the expert needs of the images and the text; the cache."""

    layers: tuple[KeyValue, ...]  # per layer (B, G, P, D)
    rotation: Rotation  # of the suffix, (B, 1 + T, 1, D)
    bias: Tensor  # of the suffix's attention, (B, 1, (1 + T)·H/G, P + 1 + T)

    def repeated(self, draws: int) -> Prefix:
        """Each observation `draws` times in a row: (B, …) -> (B·K, …)."""

        def repeat(x: Tensor) -> Tensor:
            return x.repeat_interleave(draws, dim=0)

        layers = tuple(KeyValue(repeat(layer.keys), repeat(layer.values)) for layer in self.layers)
        return Prefix(layers, Rotation(*map(repeat, self.rotation)), repeat(self.bias))


class FlowPolicy(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = VisionTower(config)
        self.text = nn.Embedding(config.vocab_size, config.prefix_width)
        self.prefix = PrefixEncoder(config)
        self.expert = ActionExpert(config)
        nn.init.normal_(self.text.weight, std=1 / math.sqrt(config.prefix_width))

    def encode_prefix(self, inputs: ModelInputs) -> Prefix:
        """Images and text to keys and values per layer; run once per observation."""
        config = self.config
        images = self.vision(inputs.images)
        dtype = images.dtype
        text = self.text(inputs.text).to(dtype) * math.sqrt(config.prefix_width)
        image_mask = inputs.image_mask.repeat_interleave(config.tokens_per_camera, dim=1)
        mask = torch.cat([image_mask, inputs.text_mask], dim=1)
        layers = self.prefix(torch.cat([images, text], dim=1), mask)
        tokens = 1 + config.horizon
        positions = mask.sum(dim=1, keepdim=True) + torch.arange(tokens, device=mask.device)
        rotation = rotation_at(positions, config.head_dim, config.rope_base, dtype)
        bias = attention_bias(suffix_mask(mask, tokens), config.heads // config.kv_heads, dtype)
        return Prefix(layers, rotation, bias)

    def velocity(self, prefix: Prefix, state: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """d x_t / dt at state (B, S), noisy actions x_t (B, T, A) and time t (B, T or 1) -> (B, T, A).

        A step whose time is 0 is taken for given.
        """
        return self.expert(prefix, state, x_t, t)

    def flow(self, prefix: Prefix, state: Tensor) -> Velocity:
        """The velocity as a function of x_t and t alone, zero in the padded dimensions."""
        return lambda x_t, t: self.on_real_dims(self.velocity(prefix, state, x_t, t))

    def loss(self, inputs: ModelInputs, actions: Tensor, weight: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Weighted mean squared velocity error over the real dimensions; a step whose time is 0 does not count.

        actions (B, T, A) normalised and padded; weight (B, T, D or 1); noise (B, K, T, A) and t (B, K, T or 1): K
        draws share one prefix pass. Returns a scalar.
        """
        return self.losses(inputs, actions, weight, noise, t)[0].sum()

    def losses(self, inputs: ModelInputs, actions: Tensor, weight: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What each dimension adds to `loss`, and its share of the weight: (2, D)."""
        draws = noise.shape[1]

        def repeat(x: Tensor) -> Tensor:
            return x.repeat_interleave(draws, dim=0)

        t = t.flatten(0, 1)
        noise = self.on_real_dims(noise.flatten(0, 1))
        x_t, target = noisy_actions(repeat(actions), noise, t)
        predicted = self.velocity(self.encode_prefix(inputs).repeated(draws), repeat(inputs.state), x_t, t)
        dims = self.config.action_dim
        counted = repeat(weight) * (t > 0)[..., None]
        return weighted_errors(predicted[..., :dims], target[..., :dims], counted)

    def on_real_dims(self, x: Tensor) -> Tensor:
        """Zero beyond the real dimensions: padding is the same constant in training and along the flow."""
        padding = self.config.action_width - self.config.action_dim
        return functional.pad(x[..., : self.config.action_dim], (0, padding))


class PrefixEncoder(nn.Module):
    """Bidirectional transformer over [images, text] that keeps every layer's keys and values."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim, self.rope_base = config.head_dim, config.rope_base
        self.blocks = nn.ModuleList(
            Block(
                config.prefix_width,
                config.prefix_mlp,
                config.heads,
                config.kv_heads,
                config.head_dim,
                config.depth,
            )
            for _ in range(config.depth - 1)
        )
        self.last = KeyValueProjection(config.prefix_width, config.kv_heads, config.head_dim)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[KeyValue, ...]:
        """x (B, P, W) and mask (B, P) -> keys and values of every layer."""
        # Padding is skipped by the count of positions, so that its amount changes nothing.
        rotation = rotation_at(mask.long().cumsum(dim=1) - 1, self.head_dim, self.rope_base, x.dtype)
        bias = attention_bias(mask[:, None, :], 1, x.dtype)
        layers = []
        for block in self.blocks:
            x, own = block(x, rotation, bias)
            layers.append(own)
        return (*layers, self.last(x, rotation))


class ActionExpert(nn.Module):
    """Transformer over [state, noisy actions] that attends to the prefix, layer by layer."""

    periods: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.expert_width
        self.state_in = nn.Linear(config.state_width, width)
        self.action_in = nn.Linear(config.action_width, width)
        self.time_in = nn.Linear(2 * width, width)
        self.register_buffer("periods", time_periods(width // 2), persistent=False)
        self.time_out = nn.Linear(width, width)
        self.blocks = nn.ModuleList(
            Block(width, config.expert_mlp, config.heads, config.kv_heads, config.head_dim, config.depth)
            for _ in range(config.depth)
        )
        self.norm = RMSNorm(width)
        self.velocity_out = nn.Linear(width, config.action_width)
        nn.init.zeros_(self.velocity_out.weight)
        nn.init.zeros_(self.velocity_out.bias)

    def forward(self, prefix: Prefix, state: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Velocity (B, T, A) of x_t (B, T, A) at t (B, T or 1), given state (B, S)."""
        return self.decode(prefix, self.embed(state, x_t, t))

    def embed(self, state: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The suffix tokens (B, 1 + T, W): the state, then every action with its time mixed in."""
        dtype = self.action_in.weight.dtype
        time = time_features(t, self.periods).to(dtype).expand(-1, x_t.shape[1], -1)
        actions = self.action_in(x_t.to(dtype))
        actions = self.time_out(functional.silu(self.time_in(torch.cat([actions, time], dim=-1))))
        return torch.cat([self.state_in(state.to(dtype))[:, None], actions], dim=1)

    def decode(self, prefix: Prefix, x: Tensor) -> Tensor:
        """Suffix tokens (B, 1 + T, W) -> velocity (B, T, A)."""
        x = x.to(prefix.bias.dtype)
        for block, layer in zip(self.blocks, prefix.layers, strict=True):
            x, _ = block(x, prefix.rotation, prefix.bias, layer)
        return self.velocity_out(self.norm(x[:, 1:]).to(self.velocity_out.weight.dtype))


def suffix_mask(prefix_mask: Tensor, tokens: int) -> Tensor:
    """Which of [prefix, suffix] each of the `tokens` suffix tokens sees: (B, P) -> (B, tokens, P + tokens).

    The state (first) does not see the actions; the actions see everything real.
    """
    index = torch.arange(tokens, device=prefix_mask.device)
    own = (index[:, None] > 0) | (index[None, :] == 0)
    batch = len(prefix_mask)
    return torch.cat([prefix_mask[:, None].expand(-1, tokens, -1), own.expand(batch, -1, -1)], dim=-1)
