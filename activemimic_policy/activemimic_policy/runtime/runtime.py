"""What all runtimes have in common, and the choice between them.

Axes: B batch, T horizon, A padded action width, S padded state width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import torch
from activemimic_description.common.errors import InvalidInputError
from torch import Tensor

from activemimic_policy.model.flow import ActionPrefix
from activemimic_policy.model.flow_policy import FlowPolicy, ModelInputs
from activemimic_policy.model.precision import set_precision

RuntimeName = Literal["eager", "compiled", "cuda_graph", "onnx"]
RUNTIMES: tuple[str, ...] = get_args(RuntimeName)
PRECISIONS = ("fp32", "bf16", "int8")


class RuntimeUnavailableError(InvalidInputError):
    """A runtime that cannot work here; the text says what it needs."""


class Runtime(Protocol):
    """One network, ready to infer. Everything that a runtime prepares (compiling, capturing) is done by its first use
    at the latest, so that a caller can warm it up."""

    def encode(self, inputs: ModelInputs) -> Any:
        """What `denoise` needs of the images and the text; some runtimes keep only the newest."""

    def denoise(self, cache: Any, state: Tensor, noise: Tensor, action_prefix: ActionPrefix | None = None) -> Tensor:
        """state (B, S) and noise (B, T, A) -> normalised actions (B, T, A), float32, on the device of the noise."""

    def infer(self, inputs: ModelInputs, noise: Tensor, action_prefix: ActionPrefix | None = None) -> Tensor:
        """Both in one."""


def make_runtime(
    name: str,
    model: FlowPolicy,
    num_inference_steps: int,
    device: str = "cpu",
    precision: str = "fp32",
    exported: Path | None = None,
    threads: int | None = None,
) -> Runtime:
    """The runtime `name` for `model`, whose weights it takes over and may change in type and place.

    `exported` is the folder that `activemimic policy export` made, for onnx. Raises RuntimeUnavailableError, with what
    is missing or which names there are.
    """
    check_runtime(name, device, precision)
    if name == "onnx":
        from activemimic_policy.runtime.onnx import OnnxRuntime

        if exported is None:
            raise RuntimeUnavailableError("runtime onnx runs exported graphs: name the folder that holds them")
        return OnnxRuntime(exported, device, precision, threads)
    model = set_precision(model.eval().requires_grad_(False), precision).to(device)  # type: ignore[arg-type]
    if name == "eager":
        from activemimic_policy.runtime.eager import EagerRuntime

        return EagerRuntime(model, num_inference_steps)
    if name == "compiled":
        from activemimic_policy.runtime.compiled import CompiledRuntime

        return CompiledRuntime(model, num_inference_steps)
    from activemimic_policy.runtime.cuda_graph import CudaGraphRuntime

    return CudaGraphRuntime(model, num_inference_steps)


def check_runtime(name: str, device: str, precision: str) -> None:
    """Raises RuntimeUnavailableError when the three do not go together or the device is not there."""
    if name not in RUNTIMES:
        raise RuntimeUnavailableError(f"runtime {name!r}: expected one of {', '.join(RUNTIMES)}")
    allowed = ("fp32", "int8") if name == "onnx" else ("fp32", "bf16")
    if precision not in allowed:
        raise RuntimeUnavailableError(f"precision {precision!r}: runtime {name} has {' and '.join(allowed)}")
    if name == "cuda_graph" and not device.startswith("cuda"):
        raise RuntimeUnavailableError(f"runtime cuda_graph needs a CUDA device, found device {device!r}")
    if name != "onnx" and device.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeUnavailableError(f"device {device!r}: this torch ({torch.__version__}) sees no CUDA device")
