"""A checkpoint's network as two ONNX graphs, each checked against the network before they are kept."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from activemimic_description.common.atomic import written_beside
from activemimic_description.common.errors import OperationError
from torch import nn

from activemimic_policy.model.flow_policy import FlowPolicy, ModelInputs
from activemimic_policy.model.model_config import ModelConfig
from activemimic_policy.runtime.eager import EagerRuntime
from activemimic_policy.runtime.graphs import PrefixGraph, StepGraph
from activemimic_policy.runtime.onnx import (
    ABOUT,
    CACHE,
    PREFIX_INPUTS,
    ROWS,
    STEP_INPUTS,
    VELOCITY,
    Export,
    OnnxRuntime,
    graph_file,
)

OPSET = 18
TOLERANCE = {"fp32": 1e-3, "int8": 0.5}  # of a chunk, over its largest number; beyond it the export is broken


class ExportError(OperationError):
    """Graphs that do not say what the network says; the text gives the error."""


def export_onnx(
    model: FlowPolicy,
    num_inference_steps: int,
    folder: Path,
    weights_sha256: str,
    precisions: Sequence[str] = ("fp32",),
) -> Export:
    """Write the graphs of `model` (float32, on the CPU) to `folder`; a former export there is replaced.

    Raises ExportError when a graph's chunks differ from the network's, and leaves a former export as it was.
    """
    model = model.eval().requires_grad_(False)
    inputs, noise = random_moment(model.config)
    step_graph = StepGraph(model, num_inference_steps)
    prefix_arguments = (inputs.images, inputs.image_mask, inputs.text, inputs.text_mask)
    with torch.inference_mode():
        cache = PrefixGraph(model)(*prefix_arguments)
        expected = EagerRuntime(model, num_inference_steps).infer(inputs, noise)
    step_arguments = (*cache, inputs.state, noise, step_graph.times[0].expand(1, model.config.horizon, -1))
    with written_beside(folder) as partial, _quiet():
        _export(PrefixGraph(model), prefix_arguments, PREFIX_INPUTS, CACHE, partial / graph_file("prefix", "fp32"))
        _export(step_graph, step_arguments, STEP_INPUTS, (VELOCITY,), partial / graph_file("step", "fp32"))
        if "int8" in precisions:
            _quantise(partial / graph_file("prefix", "fp32"), partial / graph_file("prefix", "int8"))
        np.save(partial / ROWS, step_graph.times.numpy(), allow_pickle=False)
        about = Export(
            weights_sha256=weights_sha256,
            num_inference_steps=num_inference_steps,
            action_dim=model.config.action_dim,
            precisions=("fp32", *(name for name in precisions if name != "fp32")),
            opset=OPSET,
            errors={},
        )
        _write(partial, about)
        for precision in about.precisions:
            found = OnnxRuntime(partial, "cpu", precision).infer(inputs, noise)
            about.errors[precision] = relative_error(found, expected)
            if about.errors[precision] > TOLERANCE[precision]:
                raise ExportError(
                    f"{folder}: the exported graphs ({precision}) give chunks that differ by "
                    f"{about.errors[precision]:.2g} of their size from the network's (at most {TOLERANCE[precision]})"
                )
        _write(partial, about)
    return about


def random_moment(config: ModelConfig, seed: int = 0) -> tuple[ModelInputs, torch.Tensor]:
    """An observation of noise, all cameras present, and the noise of a flow: (ModelInputs, (1, T, A))."""
    random = torch.Generator().manual_seed(seed)
    state = torch.zeros(1, config.state_width)
    state[:, : config.state_dim] = torch.randn(1, config.state_dim, generator=random)
    inputs = ModelInputs(
        torch.rand(1, config.cameras, config.image_px, config.image_px, 3, generator=random) * 2 - 1,
        torch.ones(1, config.cameras, dtype=torch.bool),
        torch.randint(config.vocab_size, (1, config.text_length), generator=random),
        (torch.arange(config.text_length) < max(1, config.text_length // 2))[None],
        state,
    )
    return inputs, torch.randn(1, config.horizon, config.action_width, generator=random)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference over the largest expected number."""
    return float((found.cpu() - expected.cpu()).abs().max() / expected.abs().max().cpu())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporter and quantiser say about packages they could use and constants they fold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _export(
    graph: nn.Module, arguments: Sequence[torch.Tensor], inputs: Sequence[str], outputs: Sequence[str], file: Path
) -> None:
    size = sum(parameter.nbytes for parameter in graph.parameters())
    torch.onnx.export(
        graph,
        tuple(arguments),
        str(file),
        input_names=list(inputs),
        output_names=list(outputs),
        opset_version=OPSET,
        dynamo=True,
        external_data=size > 1.5e9,  # one file holds at most 2 GB
        verbose=False,
    )


def _quantise(source: Path, target: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    # The exporter's folding transposes weights but leaves their former shapes in this list, which then contradict.
    del model.graph.value_info[:]
    quantize_dynamic(
        model,
        target,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm"],
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )


def _write(folder: Path, about: Export) -> None:
    (folder / ABOUT).write_text(json.dumps(about.model_dump(mode="json"), indent=2), encoding="utf-8")
