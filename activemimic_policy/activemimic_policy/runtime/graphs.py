"""The network as two functions of plain tensors, for all that compiles, captures or exports.

Beside the eager network one thing is different: the first linear map of the actions and the half of the next one that
reads it are one matrix, and the other half, which reads the time, is one row for each of the flow's few times.

Axes: L layers, B batch, G key/value heads, P prefix tokens, D head size, T horizon, A padded action width, W expert
width, S padded state width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from activemimic_policy.model.flow import ActionPrefix, clean, time_features
from activemimic_policy.model.flow_policy import FlowPolicy, ModelInputs, Prefix
from activemimic_policy.model.layers import KeyValue, Rotation


class Cache(NamedTuple):
    """`flow_policy.Prefix`, as tensors."""

    keys: Tensor  # (L, B, G, P, D)
    values: Tensor  # (L, B, G, P, D)
    cos: Tensor  # (B, 1 + T, 1, D)
    sin: Tensor  # (B, 1 + T, 1, D)
    bias: Tensor  # (B, 1, (1 + T)·H/G, P + 1 + T)


class PrefixGraph(nn.Module):
    """Images and text to the cache."""

    def __init__(self, model: FlowPolicy) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, image_mask: Tensor, text: Tensor, text_mask: Tensor) -> Cache:
        # The state is no part of the prefix; `encode_prefix` does not look at it.
        prefix = self.model.encode_prefix(ModelInputs(images, image_mask, text, text_mask, images))
        keys, values = (torch.stack(part) for part in zip(*prefix.layers, strict=True))
        return Cache(keys, values, *prefix.rotation, prefix.bias)


class StepGraph(nn.Module):
    """The velocity of one step of the flow."""

    action: Tensor  # (W, A)
    times: Tensor  # (N + 1, W), the last for actions that are given

    def __init__(self, model: FlowPolicy, num_inference_steps: int) -> None:
        super().__init__()
        self.model = model
        expert = model.expert
        with torch.no_grad():
            reads_action, reads_time = expert.time_in.weight.double().chunk(2, dim=1)
            action = reads_action @ expert.action_in.weight.double()
            t = torch.tensor(
                [*(1 - step / num_inference_steps for step in range(num_inference_steps)), 0.0], device=action.device
            )
            rows = time_features(t, expert.periods).double() @ reads_time.T
            rows = rows + reads_action @ expert.action_in.bias.double() + expert.time_in.bias.double()
        self.register_buffer("action", action.float())
        self.register_buffer("times", rows.float())

    def forward(
        self,
        keys: Tensor,
        values: Tensor,
        cos: Tensor,
        sin: Tensor,
        bias: Tensor,
        state: Tensor,
        x_t: Tensor,
        row: Tensor,
    ) -> Tensor:
        """Velocity (B, T, A) of x_t (B, T, A), zero in the padding; row (B, T, W) of `times`, state (B, S)."""
        expert = self.model.expert
        actions = expert.time_out(functional.silu(functional.linear(x_t, self.action) + row))
        tokens = torch.cat([expert.state_in(state)[:, None], actions], dim=1)
        layers = tuple(KeyValue(keys[n], values[n]) for n in range(len(expert.blocks)))
        return self.model.on_real_dims(expert.decode(Prefix(layers, Rotation(cos, sin), bias), tokens))

    def row(self, step: int, like: Tensor, action_prefix: ActionPrefix | None) -> Tensor:
        """The rows (B, T, W) of a step of the flow for actions of the shape of `like` (B, T, A)."""
        row = self.times[step].expand(*like.shape[:2], -1)
        # Always of one shape and layout, so that what is compiled for one case serves the other.
        return (
            row.contiguous()
            if action_prefix is None
            else torch.where(action_prefix.decided[..., None], self.times[-1], row)
        )


def integrate(
    step_graph: Callable[..., Tensor],
    rows: StepGraph,
    cache: Cache,
    state: Tensor,
    noise: Tensor,
    action_prefix: ActionPrefix | None,
) -> Tensor:
    """`flow.euler` over a StepGraph, as it is or compiled: noise (B, T, A) to actions (B, T, A), float32."""
    steps = len(rows.times) - 1
    x = noise.float()
    for step in range(steps):
        if action_prefix is not None:
            x = clean(x, action_prefix)
        x = x - step_graph(*cache, state, x, rows.row(step, x, action_prefix)) / steps
    return x if action_prefix is None else clean(x, action_prefix)
