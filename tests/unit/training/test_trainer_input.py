"""Batches are the same wherever frames come from and whoever makes them; augmentation depends on the step alone."""

import errno
import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from activemimic_data.dataset import Dataset
from activemimic_data.dataset.dataset_error import DatasetError
from activemimic_training.trainer.checks.failures import TrainingError
from activemimic_training.trainer.data.augment import LIGHT, augmented, relit
from activemimic_training.trainer.data.prefetch import prefetched
from activemimic_training.trainer.data.samples import TrainingDataError, decode_frames
from activemimic_training.trainer.data.video_frames import VideoFrames
from activemimic_training.trainer.train import train
from training_runs import QUIET, configured, losses


def test_frames_from_the_videos_are_those_in_memory_in_any_order(dataset):
    rows = Dataset(dataset)
    memory, video = decode_frames(rows, rows.cameras, 32, 1.0), VideoFrames(rows, rows.cameras, 32)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(rows)), 2))
    there, here = memory.take(order), video.take(order)
    assert there.keys() == here.keys()
    for camera in there:
        assert np.array_equal(there[camera], here[camera]), camera


def test_a_run_from_the_videos_with_workers_gives_the_losses_of_one_in_memory(uninterrupted, dataset, tmp_path):
    train(configured(dataset, tmp_path, images="video", workers=3), QUIET)
    assert losses(tmp_path) == losses(uninterrupted[0])


def test_a_run_from_the_disk_gives_the_losses_of_one_in_memory_and_leaves_no_file(uninterrupted, dataset, tmp_path):
    train(configured(dataset, tmp_path, images="disk", max_image_gb=1e-6), QUIET)
    assert losses(tmp_path) == losses(uninterrupted[0])
    there, here = ({file.name for file in out.iterdir()} for out in (uninterrupted[0], tmp_path))
    assert here == there


def test_a_full_disk_is_told_before_anything_is_decoded(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(TrainingDataError, match=rf"{tmp_path}: the frames need .* GB .*, 0\.0 GB are free"):
        train(configured(dataset, tmp_path, images="disk"), QUIET)


def test_a_disk_that_fills_up_meanwhile_is_told_in_words(dataset, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(TrainingError, match="no space left on the disk; there is no checkpoint yet"):
        train(configured(dataset, tmp_path, images="disk"), QUIET)


def test_few_open_files_are_enough(dataset, monkeypatch):
    monkeypatch.setattr("activemimic_training.trainer.data.video_frames.OPEN_FILES", 1)
    rows = Dataset(dataset)
    video = VideoFrames(rows, rows.cameras, 32)
    for row in (0, len(rows) - 1, 0):
        video.take(np.array([row]))
    assert len(video._files) == 1


def test_a_damaged_or_missing_video_is_named(dataset, tmp_path):

    copy = shutil.copytree(dataset, tmp_path / "dataset")
    video = next(copy.rglob("*.mp4"))
    data = video.read_bytes()
    camera = video.parent.parent.name.removeprefix("observation.images.")
    video.write_bytes(data[: len(data) // 3])
    with pytest.raises(DatasetError, match=str(video)):
        VideoFrames(Dataset(copy), [camera], 32).take(np.arange(8))
    video.unlink()
    with pytest.raises(DatasetError, match=rf"{video}: cannot be opened: expected a video"):
        VideoFrames(Dataset(copy), [camera], 32)


def test_batches_made_ahead_come_in_order_and_bring_their_errors():
    gate = threading.Event()

    def make(key):
        if key == 0:
            gate.wait(5)
        else:
            gate.set()
        if key == 7:
            raise ValueError("seven")
        return key

    made = prefetched(make, range(20), workers=3)
    assert [next(made) for _ in range(7)] == list(range(7))
    with pytest.raises(ValueError, match="seven"):
        next(made)


def test_augmented_images_depend_on_the_draw_alone():
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    three = augmented({"head": np.repeat(image, 3, axis=0)}, np.array([5, 6, 7]), seed=0)["head"]
    alone = augmented({"head": image}, np.array([6]), seed=0)["head"]
    assert np.array_equal(three[1], alone[0])
    assert not np.array_equal(three[0], three[1])
    assert not np.array_equal(augmented({"head": image}, np.array([6]), seed=1)["head"], alone)


def test_a_wrist_cameras_image_is_recoloured_but_never_moved():
    image = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    image[:, 20:30, 40:44] = 200
    draws = np.arange(40)
    images = np.repeat(image, 40, axis=0)
    seen = augmented({"right_wrist": images, "head": images}, draws, seed=0)
    bright = {name: frames[..., 0] > 100 for name, frames in seen.items()}
    assert (seen["right_wrist"].max(axis=(1, 2, 3)) != 200).any()
    lit = bright["right_wrist"].any(axis=(1, 2))
    assert lit.mean() > 0.8
    assert (bright["right_wrist"][lit] == (image[0, ..., 0] > 0)).all()
    assert (bright["head"] != (image[0, ..., 0] > 0)).any(axis=(1, 2)).mean() > 0.8
    # A crop of 95 % and 5 degrees move nothing by more than a few pixels.
    centres = np.array([np.argwhere(one).mean(axis=0) for one in bright["head"] if one.any()])
    assert np.abs(centres - [24.5, 41.5]).max() < 6


def test_a_light_is_the_same_for_all_cameras_and_scales_or_swaps_their_channels():
    random = np.random.default_rng(0)
    images = {name: random.integers(1, 120, (200, 4, 4, 3), dtype=np.uint8) for name in ("head", "right_wrist")}
    draws = np.arange(200)
    seen = relit(images, draws, seed=0)
    assert all(np.array_equal(relit(images, draws, seed=0)[name], seen[name]) for name in images)
    kept = np.array([np.array_equal(new, old) for new, old in zip(seen["head"], images["head"], strict=True)])
    assert 0.35 < kept.mean() < 0.65
    swapped = 0
    for row in np.flatnonzero(~kept):
        # The one matrix that explains both cameras: a factor per channel of what one of the channels was.
        old, new = (
            np.concatenate([it[name][row].reshape(-1, 3) for name in images]).astype(float) for it in (images, seen)
        )
        light = np.linalg.lstsq(old, new, rcond=None)[0].T
        from_channel = light.argmax(axis=1)
        assert sorted(from_channel) == [0, 1, 2]
        factors = light[np.arange(3), from_channel]
        assert (factors > LIGHT[0] - 0.02).all()
        assert (factors < LIGHT[1] + 0.02).all()
        assert np.abs(old[:, from_channel] * factors - new).max() < 1.5
        swapped += (from_channel != np.arange(3)).any()
    assert 0.25 < swapped / (~kept).sum() < 0.6


def test_augmentation_is_off_by_default_and_changes_the_batches_of_a_run(uninterrupted, dataset, tmp_path):
    train(configured(dataset, tmp_path, augment=True), QUIET)
    assert losses(tmp_path) != losses(uninterrupted[0])
    train(configured(dataset, tmp_path / "light", relight=True), QUIET)
    assert losses(tmp_path / "light") != losses(uninterrupted[0])
    train(configured(dataset, tmp_path / "parts", augment=True, relight=True, accumulate=2), QUIET)
    train(configured(dataset, tmp_path / "both", augment=True, relight=True), QUIET)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "both"), rel=1e-5)
