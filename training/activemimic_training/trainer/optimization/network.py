"""The policy as training calls it: one forward for loss and sampling, so that it can be sharded as a whole.

Axes: B batch, T horizon, A padded action width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from activemimic_policy.model.flow import euler
from activemimic_policy.model.flow_policy import FlowPolicy, ModelInputs
from activemimic_policy.model.precision import wide_modules
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from activemimic_training.trainer.data.batches import Batch


@dataclass(frozen=True)
class Sampling:
    """What a chunk is made of, as in serving."""

    inputs: ModelInputs
    noise: Tensor  # (B, T, A)


class Network(nn.Module):
    """A policy under training.

    With precision bf16 the weights stay float32; what may compute in bfloat16 (`model.precision`) does. With
    `recompute` the blocks keep nothing but their input, and run a second time for their gradients.
    """

    def __init__(
        self,
        policy: FlowPolicy,
        num_inference_steps: int,
        device: str = "cpu",
        precision: Literal["fp32", "bf16"] = "fp32",
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.policy, self._num_inference_steps = policy.to(device), num_inference_steps
        kind = torch.device(device).type
        self._mixed = partial(torch.autocast, kind, torch.bfloat16, enabled=precision == "bf16")
        if precision == "bf16":
            for module in wide_modules(policy):
                module.forward = torch.autocast(kind, enabled=False)(module.forward)
        if recompute:
            for blocks in (policy.vision.blocks, policy.prefix.blocks, policy.expert.blocks):
                for block in blocks:
                    block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)

    def forward(self, work: Batch | Sampling) -> Tensor:
        """A batch's losses by slot and their weights (2, D); or normalised actions (B, T, A) by the flow served."""
        with self._mixed():
            if isinstance(work, Batch):
                return self.policy.losses(work.inputs, work.actions, work.weight, work.noise, work.t)
            prefix = self.policy.encode_prefix(work.inputs)
            noise = self.policy.on_real_dims(work.noise)
            return euler(self.policy.flow(prefix, work.inputs.state), noise, self._num_inference_steps)
