"""What training sees of a dataset: each row's chunk, and which of its steps count."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from activemimic_policy.spec import PolicySpec
from activemimic_training.trainer.data.samples import (
    TrainingDataError,
    choose_held_out,
    decode_frames,
    fit_normalization,
    load_rows,
)
from toy_dataset import ToyDataset


def load(dataset, cameras=("head", "wrist"), max_image_gb=1.0):
    return replace(load_rows(dataset), frames=decode_frames(dataset, cameras, 16, max_image_gb, threads=2))


def spec(horizon=4):
    return PolicySpec(
        cameras=("head", "wrist"),
        slots=("neck", "arm", "gripper"),
        absolute_slots=("gripper",),
        fps=10,
        horizon=horizon,
        execution_horizon=2,
        num_inference_steps=2,
        relative_knee=0.02,
        instructions=("wave",),
        interface={},
        fingerprint="f",
    )


def test_frames_are_decoded_small_and_stand_at_their_rows():
    data = load(ToyDataset(), cameras=("wrist",))
    images = data.frames.take(np.arange(10))
    assert list(images) == ["wrist"]
    assert images["wrist"].shape == (10, 16, 16, 3)
    assert images["wrist"][:, 8, 8, 0].tolist() == [10 * row + 1 for row in range(10)]


def test_a_chunk_is_the_actions_from_its_row_on_and_repeats_the_episodes_last():
    data = load(ToyDataset())
    sample, counts = data.chunks(np.array([1, 4, 9]), horizon=4)
    neck = sample.actions[..., 0] - 0.5
    assert neck.tolist() == [[1, 2, 3, 4], [4, 5, 5, 5], [9, 9, 9, 9]]
    assert sample.state[:, 0].tolist() == [1, 4, 9]
    assert sample.images["head"][:, 8, 8, 0].tolist() == [10, 40, 90]
    assert counts.all()


def test_steps_from_a_row_of_weight_zero_on_do_not_count_and_no_chunk_starts_there():
    data = load(ToyDataset(loss_weight=[1, 1, 1, 0, 1, 1, 1, 1, 1, 0]))
    _, counts = data.chunks(np.arange(10), horizon=4)
    assert counts.sum(axis=(1, 2)).tolist() == [3, 2, 1, 0, 4, 4, 3, 2, 1, 0]
    assert counts[0, :, 0].tolist() == [True, True, True, False]
    assert data.starts.tolist() == [0, 1, 2, 4, 5, 6, 7, 8]


def test_statistics_are_of_the_compressed_relative_actions_that_count():
    data = load(ToyDataset(loss_weight=[1, 0, 1, 1, 1, 1, 1, 1, 1, 1]))
    table = fit_normalization(data, spec())
    relative = []
    for row in range(10):
        sample, counts = data.chunks(np.array([row]), 4)
        relative += [a - sample.state[0] * [1, 1, 0] for a in sample.actions[0][counts[0, :, 0]]]
    relative = np.array(relative)
    knee = spec().relative_knee
    relative[:, :2] = knee * np.arcsinh(relative[:, :2] / knee)
    assert table.action.mean == pytest.approx(np.mean(relative, axis=0), abs=1e-5)
    assert table.action.std == pytest.approx(np.std(relative, axis=0), abs=1e-5)
    assert table.state.mean == pytest.approx(data.state.mean(axis=0))
    assert len(relative) == 33


def test_frames_that_would_not_fit_into_memory_are_refused_before_decoding():
    with pytest.raises(TrainingDataError, match=r"need .* GB of memory \(10 rows, 2 cameras, 16 px\)"):
        load(ToyDataset(), max_image_gb=1e-6)


def test_an_unknown_camera_is_named_with_the_known_ones():
    with pytest.raises(TrainingDataError, match="camera tail: expected one of head, wrist"):
        load(ToyDataset(), cameras=("head", "tail"))


@pytest.mark.parametrize("missing", [1, -1])
def test_a_video_with_too_few_or_too_many_frames_is_refused(missing, monkeypatch):
    dataset = ToyDataset()
    whole = dataset.frames

    def frames(camera, index):
        found = list(whole(camera, index))
        return found[:-1] if missing > 0 else [*found, found[-1]]

    monkeypatch.setattr(dataset, "frames", frames)
    with pytest.raises(TrainingDataError, match=f"camera head, episode 0: expected 6 frames, found {6 - missing}"):
        load(dataset)


def test_numbers_that_are_none_and_weights_between_zero_and_one_are_refused():
    dataset = ToyDataset()
    dataset.action = dataset.action.copy()
    dataset.action[3, 1] = np.nan
    with pytest.raises(TrainingDataError, match="action of row 3, arm: expected a number, found nan"):
        load(dataset)
    with pytest.raises(TrainingDataError, match=r"loss_weight of row 2: expected 0 or 1, found 0.5"):
        load(ToyDataset(loss_weight=[1, 1, 0.5, 1, 1, 1, 1, 1, 1, 1]))


def test_a_dataset_with_nothing_to_imitate_is_refused():
    with pytest.raises(TrainingDataError, match="loss_weight is 0 in every row"):
        load(ToyDataset(loss_weight=[0] * 10))


def test_an_empty_dataset_is_refused():
    dataset = ToyDataset()
    dataset.state = dataset.state[:0]
    with pytest.raises(TrainingDataError, match="no rows"):
        load(dataset)


def test_held_out_rows_are_neither_trained_on_nor_counted_in_the_statistics():
    whole = load(ToyDataset())
    kept, held = whole.split([0], ToyDataset().episodes)
    assert kept.starts.tolist() == [6, 7, 8, 9]
    assert held.starts.tolist() == [0, 1, 2, 3, 4, 5]
    table = fit_normalization(kept, spec())
    assert table.state.mean[0] == pytest.approx(7.5)
    shifted = replace(whole, state=whole.state.copy(), action=whole.action.copy())
    shifted.state[:6] += 100
    shifted.action[:6] -= 100
    assert fit_normalization(shifted.split([0], ToyDataset().episodes)[0], spec()) == table


def test_the_same_episodes_are_held_out_for_the_same_seed_and_every_task_is_among_them():
    episodes = [SimpleNamespace(task="rare" if index == 7 else "common") for index in range(20)]
    chosen = choose_held_out(episodes, 0.2, seed=0)
    assert chosen == choose_held_out(episodes, 4, seed=0)
    assert len(chosen) == 4
    assert 7 in chosen
    assert chosen != choose_held_out(episodes, 4, seed=1)
    assert len(choose_held_out(episodes, 0.001, seed=0)) == 1
    with pytest.raises(TrainingDataError, match="fewer than the 20 episodes of the dataset, found 20"):
        choose_held_out(episodes, 20, seed=0)
