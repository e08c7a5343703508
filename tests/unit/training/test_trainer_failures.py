"""Out of memory, out of disk space, a frame that is missing: said in a line, and the last checkpoint still serves."""

import errno
import shutil

import pytest
import safetensors.torch
import torch
from activemimic_data.dataset.dataset_error import DatasetError
from activemimic_policy.checkpoint import load_checkpoint
from activemimic_policy.model.flow_policy import FlowPolicy
from activemimic_training.trainer.train import TrainingError, train
from safetensors import SafetensorError
from training_runs import QUIET, configured, losses


def fail_at(monkeypatch, owner, name, call, error):
    real, calls = getattr(owner, name), []

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) == call:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, failing)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: not enough memory"),
        MemoryError(),
    ],
)
def test_a_lack_of_memory_says_what_to_change_and_the_run_goes_on_with_it(
    uninterrupted, dataset, tmp_path, monkeypatch, error
):
    with monkeypatch.context() as patch:
        fail_at(patch, FlowPolicy, "losses", 7, error)
        with pytest.raises(TrainingError, match=r"cpu: out of memory with batch_size 4 in 1 parts; the checkpoint"):
            train(configured(dataset, tmp_path), QUIET)
    assert load_checkpoint(tmp_path / "checkpoint").training["steps_done"] == 5
    train(configured(dataset, tmp_path, accumulate=2, recompute=True), QUIET)
    assert losses(tmp_path) == pytest.approx(losses(uninterrupted[0]), rel=1e-5)


@pytest.mark.parametrize(
    ("file", "error"),  # of the four files of the second save
    [(5, SafetensorError("I/O error: No space left on device (os error 28)")), (7, OSError(errno.ENOSPC, "full"))],
)
def test_a_full_disk_leaves_the_checkpoint_before_it_and_the_run_goes_on(
    uninterrupted, dataset, tmp_path, monkeypatch, file, error
):
    with monkeypatch.context() as patch:
        fail_at(patch, safetensors.torch, "save_file", file, error)
        with pytest.raises(TrainingError, match=r"no space left on the disk; the checkpoint before it is whole"):
            train(configured(dataset, tmp_path), QUIET)
    assert load_checkpoint(tmp_path / "checkpoint").training["steps_done"] in (5, 10)
    assert not list(tmp_path.rglob("*.partial"))
    train(configured(dataset, tmp_path), QUIET)
    assert losses(tmp_path) == losses(uninterrupted[0])


def test_other_errors_are_not_explained_away(dataset, tmp_path, monkeypatch):
    fail_at(monkeypatch, FlowPolicy, "losses", 2, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match") as caught:
        train(configured(dataset, tmp_path), QUIET)
    assert not isinstance(caught.value, TrainingError)


def test_a_video_that_goes_missing_while_training_is_named(dataset, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "dataset")
    video = next(copy.rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:200])
    with pytest.raises(DatasetError, match=str(video)):
        train(configured(copy, tmp_path / "out", images="video", workers=2), QUIET)
