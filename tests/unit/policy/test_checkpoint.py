"""A checkpoint is whole and consistent, or an error names what is not."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from activemimic_description.common import atomic
from activemimic_policy.checkpoint import (
    CheckpointError,
    describe_checkpoint,
    file_sha256,
    load_checkpoint,
    save_checkpoint,
    write_files,
)


@pytest.fixture
def folder(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "checkpoint", checkpoint)
    return tmp_path / "checkpoint"


def edit_json(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def edit_weights(path, change):
    weights = safetensors.torch.load_file(path)
    change(weights)
    safetensors.torch.save_file(weights, path)


def test_what_is_saved_is_what_is_loaded(folder, checkpoint):
    loaded = load_checkpoint(folder)
    assert loaded.model == checkpoint.model
    assert loaded.spec == checkpoint.spec
    assert loaded.normalization == checkpoint.normalization
    assert loaded.tokenizer.to_json() == checkpoint.tokenizer.to_json()
    assert (loaded.contract_yaml, loaded.training) == ("name: toy\n", {"steps": 7})
    assert loaded.weights.keys() == checkpoint.weights.keys()
    assert all(torch.equal(loaded.weights[name], tensor) for name, tensor in checkpoint.weights.items())


def test_a_published_checkpoint_takes_half_the_space_and_is_loaded_as_float32(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "whole", checkpoint)
    for name in ("half", "again"):
        (tmp_path / name).mkdir()
    write_files(tmp_path / "half", checkpoint, half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = load_checkpoint(tmp_path / "half")
    for name, tensor in checkpoint.weights.items():
        assert loaded.weights[name].dtype == torch.float32
        torch.testing.assert_close(loaded.weights[name], tensor, rtol=1e-3, atol=1e-6)
    write_files(tmp_path / "again", loaded, half=True)
    assert file_sha256(tmp_path / "again" / "model.safetensors") == file_sha256(tmp_path / "half" / "model.safetensors")


@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors", "normalization.json", "tokenizer.json", "contract.yaml"]
)
def test_a_missing_file_is_named_with_the_folder(folder, file):
    (folder / file).unlink()
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(folder)
    assert str(folder) in str(error.value)
    assert file in str(error.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere.*found no folder"):
        load_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: c.update(format_version=1), "format_version: expected 2, found 1"),
        (lambda c: c.pop("format_version"), "format_version: expected 2, found nothing"),
        (lambda c: c.pop("training"), "training: expected an object, found nothing"),
        (lambda c: c.update(notes=1), "notes: expected no such field"),
        (lambda c: c["policy"].pop("fps"), "policy.fps: expected a value, found nothing"),
        (lambda c: c["policy"].update(fps="10"), "policy.fps: expected a valid integer, found '10'"),
        (lambda c: c["policy"].update(speed=3), "policy.speed: expected no such field, found 3"),
        (lambda c: c["policy"].update(execution_horizon=9), "execution_horizon 9 exceeds horizon 5"),
        (lambda c: c["policy"].update(absolute_slots=["hand"]), "absolute_slots hand are not among the slots neck"),
        (lambda c: c["policy"].update(cameras=["head"]), "model.cameras: expected 1 .*found 2"),
        (lambda c: c["policy"].update(horizon=6), "model.horizon: expected 6 .*found 5"),
        (lambda c: c["policy"].update(slots=["neck", "gripper"]), "model.action_dim: expected 2 .*found 4"),
        (lambda c: c["model"].pop("depth"), "model.depth: expected a value, found nothing"),
        (lambda c: c["model"].update(vocab_size=99), "tokenizer.json: number of words: expected 99 .*found 9"),
    ],
)
def test_a_wrong_config_names_the_field(folder, change, complaint):
    edit_json(folder / "config.json", change)
    with pytest.raises(CheckpointError, match=complaint):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda w: w.pop("expert.norm.weight"), r"expert.norm.weight: expected a tensor \[10\], found nothing"),
        (lambda w: w.update(extra=torch.zeros(1)), "extra: expected no such tensor"),
        (
            lambda w: w.update({"expert.norm.weight": torch.zeros(11)}),
            r"expert.norm.weight: expected shape \[10\], found \[11\]",
        ),
        (
            lambda w: w.update({"expert.norm.weight": torch.zeros(10, dtype=torch.float16)}),
            "expert.norm.weight: expected torch.float32, found torch.float16",
        ),
        (
            lambda w: w.update({"expert.norm.weight": torch.full((10,), torch.nan)}),
            "expert.norm.weight: expected finite",
        ),
    ],
)
def test_wrong_weights_name_the_tensor(folder, change, complaint):
    edit_weights(folder / "model.safetensors", change)
    with pytest.raises(CheckpointError, match=complaint):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda n: n["action"]["std"].pop(), "action.std: expected 4 numbers"),
        (lambda n: n["state"].pop("mean"), "state.mean: expected a value"),
        (lambda n: n["state"]["std"].__setitem__(0, -1.0), "state.std.0: expected greater than or equal to 0"),
        (lambda n: n["slots"].reverse(), r"slots\[0\]: expected neck .*found gripper"),
    ],
)
def test_wrong_statistics_name_the_field(folder, change, complaint):
    edit_json(folder / "normalization.json", change)
    with pytest.raises(CheckpointError, match=f"normalization.json: .*{complaint}"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("config.json", b'{"format_version": 2,', "not JSON"),
        ("config.json", b"\xff\xfe", "UTF-8"),
        ("config.json", b"[]", "expected an object, found list"),
        ("normalization.json", b'{"std_floor": NaN}', "NaN is not allowed"),
        ("normalization.json", b'{"slots": [], "slots": []}', "'slots' is there twice"),
        ("tokenizer.json", b"{}", "not a tokenizer"),
        ("contract.yaml", b"\n", "found an empty file"),
        ("model.safetensors", b"\x10\x00\x00\x00", "not a whole safetensors file"),
    ],
)
def test_a_damaged_file_is_named(folder, file, content, complaint):
    (folder / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{file}: .*{complaint}"):
        load_checkpoint(folder)


def test_truncated_weights_are_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model.safetensors: not a whole"):
        load_checkpoint(folder)


def test_parts_that_do_not_fit_are_not_saved_and_the_former_checkpoint_stays(folder, checkpoint):
    with pytest.raises(CheckpointError, match="found nothing"):
        save_checkpoint(folder, replace(checkpoint, weights={}))
    load_checkpoint(folder)


def test_a_death_while_writing_leaves_the_former_checkpoint(folder, checkpoint, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.torch.save_file", die)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(folder, replace(checkpoint, training={"steps": 8}))
    assert load_checkpoint(folder).training == {"steps": 7}
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


def test_a_death_between_the_two_renames_is_undone(folder):
    folder.rename(folder.with_name("checkpoint.previous"))
    atomic.recover(folder)
    load_checkpoint(folder)


def test_the_description_is_plain_data_with_sizes_and_statistics(folder, checkpoint):
    described = json.loads(json.dumps(describe_checkpoint(folder)))
    parameters = described["parameters"]
    assert parameters["total"] == sum(tensor.numel() for tensor in checkpoint.weights.values())
    assert parameters["total"] == sum(parameters[part] for part in ("vision", "text", "prefix", "expert"))
    assert described["cameras"] == ["head", "wrist"]
    assert described["chunk_s"] == 0.5
    assert described["training"] == {"steps": 7}
    assert [row["slot"] for row in described["normalization"]] == list(checkpoint.spec.slots)
    assert [row["relative"] for row in described["normalization"]] == [True, True, True, False]


def test_an_error_crosses_from_a_worker_process_with_its_text():
    error = CheckpointError(Path("run/checkpoint"), "config.json", ["steps: expected 3, found 4"])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
