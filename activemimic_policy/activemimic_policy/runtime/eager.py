"""The reference: the network as it was trained, operation by operation; the only runtime that can be guided."""

from __future__ import annotations

from torch import Tensor

from activemimic_policy.model.flow import ActionPrefix, euler, guided_euler
from activemimic_policy.model.flow_policy import FlowPolicy, ModelInputs, Prefix


class EagerRuntime:
    """See `runtime.Runtime`."""

    def __init__(self, model: FlowPolicy, num_inference_steps: int) -> None:
        self._model, self._steps = model, num_inference_steps

    def encode(self, inputs: ModelInputs) -> Prefix:
        return self._model.encode_prefix(inputs)

    def denoise(self, cache: Prefix, state: Tensor, noise: Tensor, action_prefix: ActionPrefix | None = None) -> Tensor:
        return euler(self._model.flow(cache, state), self._model.on_real_dims(noise), self._steps, action_prefix)

    def denoise_guided(self, cache: Prefix, state: Tensor, noise: Tensor, action_prefix: ActionPrefix) -> Tensor:
        """As `denoise`, for a network that was not trained with prefixes; not under torch.inference_mode."""
        return guided_euler(self._model.flow(cache, state), self._model.on_real_dims(noise), self._steps, action_prefix)

    def infer(self, inputs: ModelInputs, noise: Tensor, action_prefix: ActionPrefix | None = None) -> Tensor:
        return self.denoise(self.encode(inputs), inputs.state, noise, action_prefix)
