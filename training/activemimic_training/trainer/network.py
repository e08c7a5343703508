"""The policy as training calls it: one forward for loss and sampling, so that it can be sharded and timed as a whole.

Axes: B batch, T horizon, A padded action width.
"""

from __future__ import annotations

from dataclasses import dataclass

from activemimic_policy.model.flow import euler
from activemimic_policy.model.flow_policy import FlowPolicy, ModelInputs
from torch import Tensor, nn

from activemimic_training.trainer.batches import Batch


@dataclass(frozen=True)
class Sampling:
    """What a chunk is made of, as in serving."""

    inputs: ModelInputs
    noise: Tensor  # (B, T, A)


class Network(nn.Module):
    """A policy under training."""

    def __init__(self, policy: FlowPolicy, flow_steps: int) -> None:
        super().__init__()
        self.policy, self._flow_steps = policy, flow_steps

    def forward(self, work: Batch | Sampling) -> Tensor:
        """The loss of a batch, a scalar; or normalised actions (B, T, A) by the flow that is served."""
        if isinstance(work, Batch):
            return self.policy.loss(work.inputs, work.actions, work.weight, work.noise, work.t)
        prefix = self.policy.encode_prefix(work.inputs)
        noise = self.policy.on_real_dims(work.noise)
        return euler(self.policy.flow(prefix, work.inputs.state), noise, self._flow_steps)
