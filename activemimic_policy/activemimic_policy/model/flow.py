"""Flow matching: x_t = t·noise + (1 - t)·action, target noise - action; t = 1 is noise, t = 0 is the action.

The time is told step by step of the chunk: where it is 0 the action is given, and the rest is made to fit it.

Axes: B batch, T horizon, A padded action width, D real action dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]  # x_t (B, T, A) and t (B, T or 1) -> dx_t/dt (B, T, A)


@dataclass(frozen=True)
class ActionPrefix:
    """What is already known of a chunk that is still to be made.

    Its first steps will have been executed before it arrives (weight 1), and it should agree with the later steps of
    the chunk in flight the less the later they are (weights below 1). Steps of weight 0 are free.
    """

    actions: Tensor  # (B, T, A), normalised, padded; what stands at free steps does not matter
    weights: Tensor  # (B, T), 0 to 1

    @property
    def decided(self) -> Tensor:
        """(B, T), True where the action is given."""
        return self.weights == 1


def noisy_actions(actions: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """actions, noise (B, T, A) and t (B, T or 1) -> x_t and its velocity dx/dt = noise - action, each (B, T, A)."""
    weight = t[..., None]
    return weight * noise + (1 - weight) * actions, noise - actions


def sample_time(count: int, generator: torch.Generator) -> Tensor:
    """t (count,) ~ Beta(1.5, 1)·0.999 + 0.001: more often near the noise, never exactly at the data."""
    # The distribution function of Beta(a, 1) is t^a, which inverts by hand; torch's sampler takes no generator.
    uniform = torch.rand(count, generator=generator)
    return uniform ** (1 / 1.5) * 0.999 + 0.001


def weighted_errors(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """What each dimension adds to the weighted mean squared error, and its share of the weight: (2, D).

    predicted, target (B, T, D), weight (B, T, D or 1). The first row's sum is the error; the first over the second is
    each dimension's own.
    """
    error = (predicted - target).square()
    weight = weight.expand_as(error)
    sums = torch.stack([(error * weight).sum(dim=(0, 1)), weight.sum(dim=(0, 1)).to(error.dtype)])
    return sums / weight.sum().clamp(min=1e-6)


def euler(velocity: Velocity, noise: Tensor, steps: int, action_prefix: ActionPrefix | None = None) -> Tensor:
    """Integrates dx/dt = velocity(x, t) from t = 1 to t = 0 in `steps` equal steps; noise (B, T, A).

    The decided steps of `prefix` are held clean, with their time at 0: right for a network that was trained so
    (training-time action conditioning, arXiv 2512.05964).

    The state is kept in float32 whatever the network computes in: in bfloat16 the small steps are lost.
    """
    x = noise.float() if noise.dtype != torch.float64 else noise
    for step in range(steps):
        t = torch.full((len(x), 1), 1 - step / steps, dtype=x.dtype, device=x.device)
        if action_prefix is not None:
            x, t = clean(x, action_prefix), torch.where(action_prefix.decided, 0.0, t)
        x = x - velocity(x, t).to(x.dtype) / steps
    return x if action_prefix is None else clean(x, action_prefix)


def guided_euler(
    velocity: Velocity, noise: Tensor, steps: int, action_prefix: ActionPrefix, max_guidance: float = 5.0
) -> Tensor:
    """As `euler`, for a network that never saw a prefix: each step is drawn towards it.

    Real-time chunking (arXiv 2506.07339, Eq. 2 to 5, there with t = 0 the noise): the gradient of the weighted
    distance between the prefix and the actions that x_t points at, by a vector-Jacobian product through the network.
    Needs gradients: not to be called under torch.inference_mode.
    """
    x = noise.float() if noise.dtype != torch.float64 else noise
    for step in range(steps):
        now = 1 - step / steps
        t = torch.full((len(x), 1), now, dtype=x.dtype, device=x.device)
        with torch.enable_grad():
            start = x.detach().requires_grad_()
            moving = velocity(start, t).to(x.dtype)
            pointed_at = start - now * moving
            error = (action_prefix.weights[..., None] * (action_prefix.actions - pointed_at)).detach()
            (pull,) = torch.autograd.grad(pointed_at, start, error)
        x = x - (moving.detach() - guidance_weight(now, max_guidance) * pull) / steps
    return x


def guidance_weight(t: float, most: float) -> float:
    """How strongly a step at time t is guided: ((1 - t)² + t²) / (t·(1 - t)), at most `most`."""
    return most if t >= 1 else min(((1 - t) ** 2 + t**2) / (t * (1 - t)), most)


def prefix_weights(delay: int, overlap: int, horizon: int) -> Tensor:
    """Weights (T,) of an action prefix: 1 for the first `delay` steps, exponentially less up to `overlap`, then 0.

    `overlap` counts the steps that the chunk in flight still has (arXiv 2506.07339, Eq. 5).
    """
    delay = min(delay, overlap)
    step = torch.arange(horizon)
    linear = ((delay - 1 - step) / (overlap - delay + 1) + 1).clamp(0, 1)
    weights = torch.where(step < overlap, linear * torch.expm1(linear) / (math.e - 1), 0.0)
    return torch.where(step < delay, 1.0, weights)


def clean(x: Tensor, action_prefix: ActionPrefix) -> Tensor:
    """x (B, T, A) with the decided actions in their place."""
    return torch.where(action_prefix.decided[..., None], action_prefix.actions.to(x.dtype), x)


def time_periods(count: int) -> Tensor:
    """(count,) periods from 4e-3 to 4, evenly in their logarithm."""
    return 4e-3 * (4.0 / 4e-3) ** torch.linspace(0, 1, count)


def time_features(t: Tensor, periods: Tensor) -> Tensor:
    """Sine and cosine of t (…) at each of the periods (F,) -> (…, 2·F)."""
    angle = t[..., None] * (2 * math.pi / periods)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
