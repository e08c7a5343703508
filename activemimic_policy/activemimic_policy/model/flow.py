"""Flow matching: x_t = t·noise + (1 - t)·action, target noise - action; t = 1 is noise, t = 0 is the action.

Axes: B batch, T horizon, A padded action width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def noisy_actions(actions: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """actions, noise (B, T, A) and t (B,) -> x_t and its velocity dx/dt = noise - action, each (B, T, A)."""
    weight = t[:, None, None]
    return weight * noise + (1 - weight) * actions, noise - actions


def sample_time(count: int, generator: torch.Generator) -> Tensor:
    """t (count,) ~ Beta(1.5, 1)·0.999 + 0.001: more often near the noise, never exactly at the data."""
    # The distribution function of Beta(a, 1) is t^a, which inverts by hand; torch's sampler takes no generator.
    uniform = torch.rand(count, generator=generator)
    return uniform ** (1 / 1.5) * 0.999 + 0.001


def masked_error(predicted: Tensor, target: Tensor, valid: Tensor, dims: int) -> Tensor:
    """Mean squared error over the first `dims` numbers of the chunk steps where valid (B, T) is one."""
    error = (predicted[..., :dims].float() - target[..., :dims].float()).square().mean(dim=-1)
    return (error * valid).sum() / valid.sum().clamp(min=1)


def euler(velocity: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int) -> Tensor:
    """Integrates dx/dt = velocity(x, t) from t = 1 to t = 0 in `steps` equal steps; noise (B, T, A).

    The state is kept in float32 whatever the network computes in: in bfloat16 the small steps are lost.
    """
    x = noise.float() if noise.dtype != torch.float64 else noise
    for step in range(steps):
        t = torch.full((len(x),), 1 - step / steps, dtype=x.dtype, device=x.device)
        x = x - velocity(x, t).to(x.dtype) / steps
    return x


def time_periods(count: int) -> Tensor:
    """(count,) periods from 4e-3 to 4, evenly in their logarithm."""
    return 4e-3 * (4.0 / 4e-3) ** torch.linspace(0, 1, count)


def time_features(t: Tensor, periods: Tensor) -> Tensor:
    """Sine and cosine of t (B,) at each of the periods (F,) -> (B, 2·F)."""
    angle = t[:, None] * (2 * math.pi / periods)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
