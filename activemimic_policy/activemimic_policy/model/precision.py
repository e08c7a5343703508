"""Which parts of the network may compute in bfloat16, and which must not.

As in openpi: what turns pixels and actions into tokens and tokens into velocities stays in float32, and so do the
norms' scales and the state of the flow (`flow.euler`); everything between is in bfloat16.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from activemimic_policy.model.flow_policy import FlowPolicy
from activemimic_policy.model.layers import RMSNorm
from activemimic_policy.model.vision import VisionTower

Precision = Literal["fp32", "bf16"]


def set_precision(model: FlowPolicy, precision: Precision) -> FlowPolicy:
    """The same model, with its weights in the types that `precision` asks for.

    Raises ValueError for a precision that is none.
    """
    if precision == "fp32":
        return model
    if precision != "bf16":
        raise ValueError(f"precision {precision!r}: expected fp32 or bf16")
    wide = wide_modules(model)
    for module in model.modules():
        if module not in wide and not isinstance(module, RMSNorm | VisionTower):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(torch.bfloat16)
    return model


def wide_modules(model: FlowPolicy) -> set[nn.Module]:
    """The modules that compute in float32 whatever the precision, the norms aside."""
    expert = model.expert
    wide: set[nn.Module] = {expert.state_in, expert.action_in, expert.time_in, expert.time_out, expert.velocity_out}
    wide |= set(model.vision.stem.modules())
    wide |= set() if model.vision.keypoints is None else set(model.vision.keypoints.modules())
    return wide
