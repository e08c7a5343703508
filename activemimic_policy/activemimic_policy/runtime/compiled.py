"""Both graphs compiled by torch (inductor): the first use takes tens of seconds, every other shape as long again."""

from __future__ import annotations

import shutil

import torch
from torch import Tensor

from activemimic_policy.model.flow import ActionPrefix
from activemimic_policy.model.flow_policy import FlowPolicy, ModelInputs
from activemimic_policy.runtime.graphs import Cache, PrefixGraph, StepGraph, integrate
from activemimic_policy.runtime.runtime import RuntimeUnavailableError


class CompiledRuntime:
    """See `runtime.Runtime`. Static shapes: one batch size, one number of cameras."""

    def __init__(self, model: FlowPolicy, num_inference_steps: int) -> None:
        if model.text.weight.device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
            raise RuntimeUnavailableError("runtime compiled needs a C++ compiler on the CPU (Debian: g++); found none")
        self._model, self._rows = model, StepGraph(model, num_inference_steps)
        self._prefix = torch.compile(PrefixGraph(model), dynamic=False, fullgraph=True)
        self._step = torch.compile(self._rows, dynamic=False, fullgraph=True)

    def encode(self, inputs: ModelInputs) -> Cache:
        return Cache(*self._prefix(inputs.images, inputs.image_mask, inputs.text, inputs.text_mask))

    def denoise(self, cache: Cache, state: Tensor, noise: Tensor, action_prefix: ActionPrefix | None = None) -> Tensor:
        return integrate(self._step, self._rows, cache, state, self._model.on_real_dims(noise), action_prefix)

    def infer(self, inputs: ModelInputs, noise: Tensor, action_prefix: ActionPrefix | None = None) -> Tensor:
        return self.denoise(self.encode(inputs), inputs.state, noise, action_prefix)
