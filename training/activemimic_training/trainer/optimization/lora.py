"""Low-rank adapters (LoRA, arXiv 2106.09685): big matrices stay as they are, and small ones beside them learn.

y = W x + alpha / rank · B A x. Before a policy is served, B A is added to W: it is a network like any other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from activemimic_policy.model.flow_policy import FlowPolicy
from torch import Tensor, nn

from activemimic_training.trainer.setup.train_config import LoraSection

_NAME = "lora"


class LowRank(nn.Module):
    """What is added to a linear map's output; zero at first."""

    def __init__(self, linear: nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.empty(rank, linear.in_features))
        self.b = nn.Parameter(torch.zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))
        self._scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """x (…, in) -> (…, out)."""
        return nn.functional.linear(nn.functional.linear(x, self.a), self.b) * self._scale


def add_adapters(model: FlowPolicy, settings: LoraSection | None) -> None:
    """Freezes the blocks of the named parts and puts an adapter beside each of their linear maps."""
    if settings is None:
        return
    for part in settings.parts:
        for block in model.get_submodule(part).get_submodule("blocks").children():
            block.requires_grad_(False)
            for linear in [module for module in block.modules() if isinstance(module, nn.Linear)]:
                linear.register_module(_NAME, LowRank(linear, settings.rank, settings.alpha / settings.rank))
                linear.register_forward_hook(_adapted)


def merged(weights: Mapping[str, Tensor], settings: LoraSection | None) -> dict[str, Tensor]:
    """The weights of the network without adapters that computes the same."""
    if settings is None:
        return dict(weights)
    plain = {name: tensor for name, tensor in weights.items() if f".{_NAME}." not in name}
    for name, a in weights.items():
        if name.endswith(f".{_NAME}.a"):
            linear = name.removesuffix(f".{_NAME}.a")
            change = weights[f"{linear}.{_NAME}.b"] @ a * (settings.alpha / settings.rank)
            plain[f"{linear}.weight"] = plain[f"{linear}.weight"] + change
    return plain


def _adapted(linear: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    return output + linear.get_submodule(_NAME)(inputs[0])
