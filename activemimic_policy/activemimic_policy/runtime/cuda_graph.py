"""The whole inference as one CUDA graph: about two thousand kernels are started by one call.

Everything lies in buffers that never move; an inference is copies into them, one replay, one copy out, and no wait for
the device in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from activemimic_policy.model.flow import ActionPrefix
from activemimic_policy.model.flow_policy import FlowPolicy, ModelInputs
from activemimic_policy.runtime.graphs import Cache, PrefixGraph, StepGraph, integrate

WARM_UP_RUNS = 3  # before a capture: libraries choose their kernels and take their workspace


@dataclass
class _Buffers:
    """What enters, for a batch of one, with its values of the moment."""

    inputs: ModelInputs
    noise: Tensor
    action_prefix: ActionPrefix

    @classmethod
    def empty(cls, model: FlowPolicy) -> _Buffers:
        config, device = model.config, model.text.weight.device
        images = torch.zeros(1, config.cameras, config.image_px, config.image_px, 3, device=device)
        image_mask = torch.ones(1, config.cameras, dtype=torch.bool, device=device)
        text = torch.zeros(1, config.text_length, dtype=torch.int64, device=device)
        text_mask = torch.ones(1, config.text_length, dtype=torch.bool, device=device)
        state = torch.zeros(1, config.state_width, device=device)
        noise = torch.zeros(1, config.horizon, config.action_width, device=device)
        action_prefix = ActionPrefix(torch.zeros_like(noise), torch.zeros(1, config.horizon, device=device))
        return cls(ModelInputs(images, image_mask, text, text_mask, state), noise, action_prefix)


class CudaGraphRuntime:
    """See `runtime.Runtime`; for one observation at a time, of which it keeps the newest alone.

    `record` turns a function of the buffers into its replay. Without it, on any device, the functions are called as
    they are: that is how they are tested where there is no CUDA.
    """

    def __init__(
        self,
        model: FlowPolicy,
        num_inference_steps: int,
        compiled: bool = True,
        record: Callable[[Callable[[], None]], Callable[[], None]] | None = None,
    ) -> None:
        self._model = model
        self._buffers = _Buffers.empty(model)
        self._actions = torch.zeros_like(self._buffers.noise)
        self._observations = 0
        rows = StepGraph(model, num_inference_steps)
        prefix_graph: Callable[..., Cache] = PrefixGraph(model)
        step_graph: Callable[..., Tensor] = rows
        if compiled:
            # Inductor fuses what lies between the matrix products; graphs of its own would be in the way of this one.
            mode = "max-autotune-no-cudagraphs"
            prefix_graph = torch.compile(prefix_graph, mode=mode, dynamic=False, fullgraph=True)
            step_graph = torch.compile(rows, mode=mode, dynamic=False, fullgraph=True)
        inputs = self._buffers.inputs
        with torch.no_grad():
            self._cache = Cache(*(torch.zeros_like(part) for part in prefix_graph(*_prefix_inputs(inputs))))

        def encode() -> None:
            for kept, part in zip(self._cache, prefix_graph(*_prefix_inputs(inputs)), strict=True):
                kept.copy_(part)

        def denoise() -> None:
            buffers = self._buffers
            actions = integrate(step_graph, rows, self._cache, inputs.state, buffers.noise, buffers.action_prefix)
            self._actions.copy_(actions)

        def infer() -> None:
            encode()
            denoise()

        with torch.no_grad():
            self._encode, self._denoise, self._infer = map(record or captured, (encode, denoise, infer))

    def encode(self, inputs: ModelInputs) -> int:
        """The number of the observation; only the newest one's cache is kept."""
        self._take(inputs)
        self._encode()
        return self._observations

    def denoise(self, cache: int, state: Tensor, noise: Tensor, action_prefix: ActionPrefix | None = None) -> Tensor:
        if cache != self._observations:
            raise ValueError(f"observation {cache} has been replaced by {self._observations}; encode it again")
        self._buffers.inputs.state.copy_(state, non_blocking=True)
        self._start_from(noise, action_prefix)
        self._denoise()
        return self._actions.clone()

    def infer(self, inputs: ModelInputs, noise: Tensor, action_prefix: ActionPrefix | None = None) -> Tensor:
        self._take(inputs)
        self._start_from(noise, action_prefix)
        self._infer()
        return self._actions.clone()

    def _take(self, inputs: ModelInputs) -> None:
        for field in fields(inputs):
            getattr(self._buffers.inputs, field.name).copy_(getattr(inputs, field.name), non_blocking=True)
        self._observations += 1

    def _start_from(self, noise: Tensor, action_prefix: ActionPrefix | None) -> None:
        self._buffers.noise.copy_(self._model.on_real_dims(noise), non_blocking=True)
        if action_prefix is None:
            self._buffers.action_prefix.weights.zero_()
        else:
            self._buffers.action_prefix.weights.copy_(action_prefix.weights, non_blocking=True)
            self._buffers.action_prefix.actions.copy_(action_prefix.actions, non_blocking=True)


def captured(run: Callable[[], None]) -> Callable[[], None]:
    """The replay of `run`, recorded as a CUDA graph after it has run a few times on a stream of its own."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(WARM_UP_RUNS):
            run()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def _prefix_inputs(inputs: ModelInputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return inputs.images, inputs.image_mask, inputs.text, inputs.text_mask
