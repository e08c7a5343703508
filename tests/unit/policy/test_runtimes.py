"""Every way to run the network gives the chunks of the eager one, with and without given actions."""

import copy
import dataclasses
import shutil

import numpy as np
import pytest
import torch
from activemimic_policy.checkpoint import WEIGHTS, file_sha256, save_checkpoint
from activemimic_policy.inference import load_policy
from activemimic_policy.model.flow import ActionPrefix
from activemimic_policy.model.model_config import preset
from activemimic_policy.model.precision import set_precision
from activemimic_policy.runtime.cuda_graph import CudaGraphRuntime
from activemimic_policy.runtime.eager import EagerRuntime
from activemimic_policy.runtime.onnx_export import ExportError, export_onnx, random_moment, relative_error
from activemimic_policy.runtime.runtime import RuntimeUnavailableError, make_runtime
from small_policy import random_model, small_config

STEPS = 4
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(scope="module")
def model():
    return random_model(small_config()).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def linear_patches():
    """The layout of PaliGemma: no stem, no keypoints, no camera embedding."""
    sizes = {"stem_channels": (), "keypoints": False, "camera_embedding": False, "kv_heads": 1}
    return random_model(small_config(**sizes)).eval().requires_grad_(False)


def moments(model):
    """Inputs, noise and prefixes to hold a runtime against the reference with: an absent camera, given actions."""
    inputs, noise = random_moment(model.config)
    absent = dataclasses.replace(inputs, image_mask=torch.tensor([[True, False]]))
    prefix = ActionPrefix(torch.randn_like(noise), torch.tensor([[1.0, 1.0, 0.5, 0.0, 0.0]]))
    prefix.actions[..., model.config.action_dim :] = 0
    return [(inputs, noise, None), (inputs, noise, prefix), (absent, -noise, None), (inputs, noise, None)]


def assert_parity(runtime, model, tolerance=1e-5, device="cpu"):
    reference = EagerRuntime(model, STEPS)
    with torch.inference_mode():
        for inputs, noise, prefix in moments(model):
            expected = reference.infer(inputs, noise, prefix)
            there = [None if x is None else moved(x, device) for x in (inputs, prefix)]
            found = runtime.infer(there[0], noise.to(device), there[1])
            assert relative_error(found, expected) < tolerance
            apart = runtime.denoise(runtime.encode(there[0]), there[0].state, noise.to(device), there[1])
            assert relative_error(apart, expected) < tolerance
            assert apart.dtype == torch.float32


def moved(x, device):
    return dataclasses.replace(x, **{name: value.to(device) for name, value in vars(x).items()})


@pytest.mark.parametrize("kind", ["model", "linear_patches"])
def test_onnx_runtime_gives_the_eager_chunks(kind, request, tmp_path):
    model = request.getfixturevalue(kind)
    about = export_onnx(model, STEPS, tmp_path / "onnx", "digest")
    assert about.errors["fp32"] < 1e-5
    assert_parity(make_runtime("onnx", model, STEPS, exported=tmp_path / "onnx"), model)


def test_int8_prefix_is_near_and_its_error_is_written_down(model, tmp_path):
    about = export_onnx(model, STEPS, tmp_path / "onnx", "digest", ("fp32", "int8"))
    assert 1e-4 < about.errors["int8"] < 0.2
    assert_parity(make_runtime("onnx", model, STEPS, precision="int8", exported=tmp_path / "onnx"), model, 0.2)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler, which torch.compile needs on the CPU")
def test_compiled_network_gives_the_eager_chunks(model):
    assert_parity(make_runtime("compiled", copy.deepcopy(model), STEPS), model)


def test_the_graphs_static_buffers_give_the_eager_chunks_where_there_is_no_cuda(model):
    assert_parity(CudaGraphRuntime(model, STEPS, compiled=False, record=lambda run: run), model)


def test_a_cache_that_was_replaced_is_refused(model):
    runtime = CudaGraphRuntime(model, STEPS, compiled=False, record=lambda run: run)
    inputs, noise = random_moment(model.config)
    first = runtime.encode(inputs)
    runtime.encode(inputs)
    with pytest.raises(ValueError, match="observation 1 has been replaced by 2"):
        runtime.denoise(first, inputs.state, noise)


@needs_cuda
@pytest.mark.parametrize("name", ["eager", "compiled", "cuda_graph"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("bf16", 0.1)])
def test_on_cuda_every_runtime_gives_the_eager_chunks(name, precision, tolerance, model):
    runtime = make_runtime(name, copy.deepcopy(model), STEPS, "cuda", precision)
    assert_parity(runtime, model, tolerance, "cuda")


@pytest.mark.parametrize("kind", ["model", "linear_patches"])
def test_bfloat16_is_near_and_keeps_float32_where_it_matters(kind, request):
    model = request.getfixturevalue(kind)
    narrow = set_precision(copy.deepcopy(model), "bf16")
    types = {name: parameter.dtype for name, parameter in narrow.named_parameters()}
    wide = ("expert.state_in", "expert.action_in", "expert.time_in", "expert.time_out", "expert.velocity_out")
    for name, dtype in types.items():
        kept = name.startswith((*wide, "vision.stem", "vision.position", "vision.camera", "vision.keypoints"))
        kept = kept or ("norm" in name and not name.startswith("vision."))
        assert dtype == (torch.float32 if kept else torch.bfloat16), name
    assert_parity(EagerRuntime(narrow, STEPS), model, 0.1)


def test_exported_graphs_that_say_something_else_are_not_kept(model, tmp_path, monkeypatch):
    export_onnx(model, STEPS, tmp_path / "onnx", "good")
    before = (tmp_path / "onnx" / "export.json").read_text()
    monkeypatch.setattr("activemimic_policy.runtime.onnx_export.relative_error", lambda found, expected: 0.7)
    with pytest.raises(ExportError, match="of their size from the network"):
        export_onnx(model, STEPS, tmp_path / "onnx", "bad")
    assert (tmp_path / "onnx" / "export.json").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"name": "magic"}, "runtime 'magic': expected one of eager, compiled, cuda_graph, onnx"),
        ({"name": "eager", "precision": "int8"}, "precision 'int8': runtime eager has fp32 and bf16"),
        ({"name": "onnx", "precision": "bf16"}, "runtime onnx has fp32 and int8"),
        ({"name": "cuda_graph"}, "cuda_graph needs a CUDA device, found device 'cpu'"),
        ({"name": "onnx"}, "name the folder"),
    ],
)
def test_a_runtime_that_cannot_be_had_is_refused_in_words(arguments, complaint, model):
    with pytest.raises(RuntimeUnavailableError, match=complaint):
        make_runtime(arguments.pop("name"), model, STEPS, **arguments)


def test_onnx_without_an_export_with_a_stale_or_a_broken_one_is_refused_in_words(tmp_path, checkpoint):
    folder = tmp_path / "c"
    save_checkpoint(folder, checkpoint)
    with pytest.raises(RuntimeUnavailableError, match="found none; run `activemimic policy export`"):
        load_policy(folder, threads=None, runtime="onnx")

    model = random_model(checkpoint.model)
    model.load_state_dict(checkpoint.weights)
    export_onnx(model, checkpoint.spec.num_inference_steps, folder / "onnx", file_sha256(folder / WEIGHTS))
    images = {name: np.full((16, 16, 3), 90, np.uint8) for name in checkpoint.spec.cameras}
    noise = np.random.default_rng(0).standard_normal((5, 4))
    chunks = [
        load_policy(folder, threads=None, runtime=name).infer(images, np.zeros(4), "wave", noise)
        for name in ("eager", "onnx")
    ]
    assert chunks[1] == pytest.approx(chunks[0], abs=1e-4)
    with pytest.raises(RuntimeUnavailableError, match="expected an export of precision int8, found fp32"):
        load_policy(folder, threads=None, runtime="onnx", precision="int8")
    with pytest.raises(RuntimeUnavailableError, match="not CUDAExecutionProvider; install onnxruntime-gpu"):
        load_policy(folder, threads=None, runtime="onnx", device="cuda")

    (folder / "onnx" / "step.onnx").write_bytes(b"\0" * 100)
    with pytest.raises(RuntimeUnavailableError, match=r"step\.onnx: not a graph that onnxruntime can run"):
        load_policy(folder, threads=None, runtime="onnx")

    other = dataclasses.replace(checkpoint, weights=random_model(checkpoint.model, seed=1).state_dict())
    shutil.move(folder / "onnx", tmp_path / "onnx")
    save_checkpoint(folder, other)
    shutil.move(tmp_path / "onnx", folder / "onnx")
    with pytest.raises(RuntimeUnavailableError, match="was made of other weights"):
        load_policy(folder, threads=None, runtime="onnx")


def test_the_papers_preset_computes_in_bfloat16_between_its_ends():
    config = preset("activemimic", cameras=1, vocab_size=64, state_dim=20, action_dim=20)
    with torch.device("meta"):
        model = set_precision(random_shapes(config), "bf16")
        inputs, noise = (x if isinstance(x, torch.Tensor) else moved(x, "meta") for x in random_moment(config))
        actions = EagerRuntime(model, 2).infer(inputs, noise.to("meta"))
    assert actions.dtype == torch.float32


def random_shapes(config):
    from activemimic_policy.model.flow_policy import FlowPolicy

    return FlowPolicy(config).eval()
