"""The exported graphs in ONNX Runtime, on the CPU, CUDA or TensorRT; the cache stays on the device.

`prefix.onnx` and `step.onnx` are those of `graphs.py`; `export.json` says what they were made of. Open `export.py` for
how they come to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from activemimic_description.common.renamed import fields_with_new_names
from activemimic_description.common.strict import explain, parse_json
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError
from torch import Tensor

from activemimic_policy.model.flow import ActionPrefix, clean
from activemimic_policy.model.flow_policy import ModelInputs
from activemimic_policy.runtime.runtime import RuntimeUnavailableError

PREFIX_INPUTS = ("images", "image_mask", "text", "text_mask")
CACHE = ("cache_keys", "cache_values", "cache_cos", "cache_sin", "cache_bias")
STEP_INPUTS = (*CACHE, "state", "x_t", "row")
VELOCITY, ROWS, ABOUT = "velocity", "times.npy", "export.json"
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


class Export(BaseModel):
    """export.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    FORMER_NAMES: ClassVar[Mapping[str, str]] = {"flow_steps": "num_inference_steps"}

    weights_sha256: str  # of the checkpoint's weights
    num_inference_steps: PositiveInt
    action_dim: PositiveInt
    precisions: tuple[str, ...]
    opset: PositiveInt
    errors: dict[str, float]  # by precision: largest difference to eager fp32 in a chunk, over its largest number


def graph_file(graph: str, precision: str) -> str:
    """The name of an exported graph's file; the steps are not quantised."""
    return f"{graph}.int8.onnx" if precision == "int8" and graph == "prefix" else f"{graph}.onnx"


def read_export(folder: Path) -> Export:
    """Raises RuntimeUnavailableError when `folder` holds no export."""
    try:
        return Export.model_validate(
            fields_with_new_names(Export, parse_json((folder / ABOUT).read_text(encoding="utf-8")))
        )
    except OSError:
        raise RuntimeUnavailableError(
            f"{folder}: expected exported graphs, found none; run `activemimic policy export` on the checkpoint"
        ) from None
    except ValidationError as error:
        raise RuntimeUnavailableError(f"{folder / ABOUT}: " + "; ".join(explain(error))) from None
    except ValueError as error:
        raise RuntimeUnavailableError(f"{folder / ABOUT}: {error}") from None


class OnnxRuntime:
    """See `runtime.Runtime`; for one observation at a time."""

    def __init__(self, folder: Path, device: str = "cpu", precision: str = "fp32", threads: int | None = None) -> None:
        """`device` is cpu, cuda, cuda:N or tensorrt. Raises RuntimeUnavailableError."""
        about = read_export(folder)
        if precision not in about.precisions:
            raise RuntimeUnavailableError(
                f"{folder}: expected an export of precision {precision}, found {', '.join(about.precisions)}; "
                f"run `activemimic policy export --precision {precision}`"
            )
        self._device, _, number = device.partition(":")
        self._device_id = int(number or 0)
        self._place = "cpu" if self._device == "cpu" else "cuda"
        sessions = (_session(folder / graph_file(name, precision), device, threads) for name in ("prefix", "step"))
        self._prefix, self._step = sessions
        # A graph keeps only the inputs that it uses.
        self._used = {entry.name for session in (self._prefix, self._step) for entry in session.get_inputs()}
        self._rows = np.load(folder / ROWS, allow_pickle=False)
        self._action_dim = about.action_dim

    def encode(self, inputs: ModelInputs) -> dict[str, Any]:
        values = (inputs.images, inputs.image_mask, inputs.text, inputs.text_mask)
        feed = {name: self._value(tensor) for name, tensor in zip(PREFIX_INPUTS, values, strict=True)}
        return dict(zip(CACHE, self._run(self._prefix, feed, CACHE), strict=True))

    def denoise(
        self, cache: dict[str, Any], state: Tensor, noise: Tensor, action_prefix: ActionPrefix | None = None
    ) -> Tensor:
        steps = len(self._rows) - 1
        x = noise.detach().float().cpu().clone()
        x[..., self._action_dim :] = 0
        decided = None if action_prefix is None else action_prefix.decided.cpu().numpy()[..., None]
        feed = {**cache, "state": self._value(state)}
        # One binding for all steps: the cache is bound once.
        for step in range(steps):
            row = np.broadcast_to(self._rows[step], (1, x.shape[1], self._rows.shape[1]))
            if action_prefix is not None and decided is not None:
                x, row = clean(x, action_prefix), np.where(decided, self._rows[-1], row)
            feed |= {"x_t": self._value(x), "row": self._array(row)}
            (velocity,) = self._run(self._step, feed, (VELOCITY,))
            x = x - torch.from_numpy(velocity.numpy()) / steps
        return (x if action_prefix is None else clean(x, action_prefix)).to(noise.device)

    def infer(self, inputs: ModelInputs, noise: Tensor, action_prefix: ActionPrefix | None = None) -> Tensor:
        return self.denoise(self.encode(inputs), inputs.state, noise, action_prefix)

    def _run(self, session: Any, feed: dict[str, Any], outputs: tuple[str, ...]) -> list[Any]:
        binding = session.io_binding()
        for name, value in feed.items():
            if name in self._used:
                binding.bind_ortvalue_input(name, value)
        for name in outputs:
            binding.bind_output(name, "cpu" if name == VELOCITY else self._place, self._device_id)
        session.run_with_iobinding(binding)
        return list(binding.get_outputs())

    def _value(self, tensor: Tensor) -> Any:
        return self._array(tensor.detach().cpu().numpy())

    def _array(self, array: np.ndarray) -> Any:
        import onnxruntime

        return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self._place, self._device_id)


def _session(file: Path, device: str, threads: int | None) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise RuntimeUnavailableError(
            "runtime onnx needs the package onnxruntime (onnxruntime-gpu for CUDA and TensorRT)"
        ) from None
    kind, _, number = device.partition(":")
    if kind not in _PROVIDERS:
        raise RuntimeUnavailableError(f"device {device!r}: runtime onnx runs on {', '.join(_PROVIDERS)}")
    provider, available = _PROVIDERS[kind], onnxruntime.get_available_providers()
    if provider not in available:
        raise RuntimeUnavailableError(
            f"device {device!r}: this onnxruntime has {', '.join(available)} and not {provider}; "
            "install onnxruntime-gpu in its place"
        )
    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    # Its threads may spin while a graph runs, not between two: the controller beside them needs the cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    chosen = [provider] if kind == "cpu" else [(provider, {"device_id": int(number or 0)}), _PROVIDERS["cpu"]]
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=chosen)
    except Exception as error:  # the library's exceptions have no common class
        raise RuntimeUnavailableError(f"{file}: not a graph that onnxruntime can run: {error}") from None
