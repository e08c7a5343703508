"""Images to tokens: linear patches or a convolutional stem, then a vision transformer over each camera by itself.

With linear patches this is SigLIP, whose weights it takes (`weights.py`). Where nothing is pretrained the stem matters:
with plain patches the same small policy closes its hand centimetres beside the object.
Axes: B batch, C cameras, N tokens per camera, V vision width, W prefix width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from activemimic_policy.model.layers import residual_output
from activemimic_policy.model.model_config import ModelConfig


class VisionTower(nn.Module):
    """All cameras' images to prefix tokens, every camera in one batch through the same weights."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.vision_width
        if config.stem_channels:
            self.stem = conv_stem(config)
            self.keypoint_layer = len(self.stem) * (len(config.stem_channels) - 1) // len(config.stem_channels)
        else:
            self.stem = nn.Sequential(nn.Conv2d(3, width, config.patch_px, stride=config.patch_px))
            self.keypoint_layer = 0
        self.position = nn.Parameter(sine_positions(config.patches_per_camera, width))
        self.blocks = nn.ModuleList(
            VisionBlock(width, config.vision_mlp, config.vision_heads, config.vision_depth)
            for _ in range(config.vision_depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.project = nn.Linear(width, config.prefix_width)
        self.keypoints = Keypoints(config.stem_channels[-2], config.prefix_width) if config.keypoints else None
        self.camera = (
            nn.Parameter(torch.randn(config.cameras, config.prefix_width) * 0.02) if config.camera_embedding else None
        )

    def forward(self, images: Tensor) -> Tensor:
        """images (B, C, px, px, 3) in [-1, 1] -> tokens (B, C·N, W)."""
        batch, cameras = images.shape[:2]
        # Channels stay last in memory: the convolutions run faster so, and nothing is copied.
        images = images.to(self.position.dtype)
        early = self.stem[: self.keypoint_layer](images.flatten(0, 1).permute(0, 3, 1, 2))
        x = self.stem[self.keypoint_layer :](early)
        x = (x.flatten(2).transpose(1, 2) + self.position).to(self.project.weight.dtype)
        for block in self.blocks:
            x = block(x)
        tokens = self.project(self.norm(x))
        if self.keypoints is not None:
            tokens = torch.cat([tokens, self.keypoints(early)[:, None].to(tokens.dtype)], dim=1)
        tokens = tokens.unflatten(0, (batch, cameras))
        if self.camera is not None:
            tokens = tokens + self.camera[:, None].to(tokens.dtype)
        return tokens.flatten(1, 2)


class Keypoints(nn.Module):
    """Where each channel of a feature map is strongest, as one token (spatial softmax, Finn et al. 2016).

    Nothing is pretrained in the small presets, and learning to read positions off patches takes most of a short
    training; the expected position under a softmax is a position from the first step on.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.full((channels, 1, 1), 5.0))
        self.project = nn.Linear(2 * channels, width)

    def forward(self, features: Tensor) -> Tensor:
        """features (B, C, h, w) -> token (B, W)."""
        attention = (features * self.sharpness).flatten(2).softmax(dim=-1).unflatten(2, features.shape[2:])
        across = torch.linspace(-1, 1, features.shape[3], dtype=features.dtype, device=features.device)
        down = torch.linspace(-1, 1, features.shape[2], dtype=features.dtype, device=features.device)
        x = (attention.sum(dim=2) * across).sum(dim=-1)
        y = (attention.sum(dim=3) * down).sum(dim=-1)
        return self.project(torch.cat([x, y], dim=-1))


class VisionBlock(nn.Module):
    """Pre-norm bidirectional attention and MLP, as in SigLIP."""

    def __init__(self, width: int, mlp: int, heads: int, layers: int) -> None:
        super().__init__()
        self.head_dim = width // heads
        self.attention_norm = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = residual_output(width, width, layers, bias=True)
        self.mlp_norm = nn.LayerNorm(width, eps=1e-6)
        self.up = nn.Linear(width, mlp)
        self.down = residual_output(mlp, width, layers, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, V) -> (B, N, V)."""
        heads = self.qkv(self.attention_norm(x)).unflatten(-1, (3, -1, self.head_dim))
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.mlp_norm(x)), approximate="tanh"))


def sine_positions(patches: int, width: int) -> Tensor:
    """Positions of a square of patches (N, V) to start from: sines and cosines of row and column."""
    side = math.isqrt(patches)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    # From half a wave over the whole image to half a wave over two patches.
    frequency = math.pi / side * torch.logspace(0, math.log10(side / 2), width // 4)
    angles = [place.flatten()[:, None] * frequency for place in (row, column)]
    waves = torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)
    return functional.pad(waves, (0, width - waves.shape[1]))


def conv_stem(config: ModelConfig) -> nn.Sequential:
    """Stride-2 3x3 convolutions with GroupNorm: (·, 3, px, px) -> (·, V, px/2^n, px/2^n)."""
    layers: list[nn.Module] = []
    channels = 3
    for out in config.stem_channels:
        layers += [
            nn.Conv2d(channels, out, kernel_size=3, stride=2, padding=1, bias=False),
            nn.GroupNorm(config.stem_groups, out),
            nn.ReLU(inplace=True),
        ]
        channels = out
    stem = nn.Sequential(*layers)
    for parameter in stem.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return stem
