"""The trainer on a corpus of egocentric video."""

import csv
import math

import numpy as np
import pytest
from activemimic_policy.checkpoint import load_checkpoint
from activemimic_policy.unified_action import UNIFIED_SLOTS, WRIST_SLOTS
from activemimic_training.dataset import Dataset
from activemimic_training.dataset.video import VideoWriter
from activemimic_training.egocentric.export import EpisodeFiles, export_corpus
from activemimic_training.egocentric.load import load_ego_rows
from activemimic_training.openloop.predict import OpenLoopError, check_fit
from activemimic_training.trainer.data import choose_held_out, fit_normalization, load_rows
from activemimic_training.trainer.plan import plan_policy
from activemimic_training.trainer.train import train
from activemimic_training.trainer.validation import read_validations
from ego_motion import at_work, changed
from training_runs import QUIET, configured, losses

HORIZON = 4


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three episodes of twenty frames; in the first the left hand is never seen."""
    root = tmp_path_factory.mktemp("corpus")
    episodes = []
    for number in range(3):
        poses = at_work(20, number).bodies
        if number == 0:
            poses[:, 1] = np.nan
        path = root / f"v_{number:03d}.npz"
        changed(at_work(20), poses).save(path)
        writer = VideoWriter(path.with_suffix(".mp4"), 10, 32, 32)
        for frame in range(20):
            writer.add(np.full((32, 32, 3), 10 * frame, np.uint8))
        writer.close()
        episodes.append(EpisodeFiles(path.stem, path, path.with_suffix(".mp4"), 0, "wipe the table"))
    export_corpus(episodes, root / "out", 32, workers=1)
    return root / "out"


def test_chunks_are_made_for_their_start_and_what_is_unseen_does_not_count(corpus):
    dataset = Dataset(corpus)
    data, rows = load_rows(dataset), np.array([3, 17, 25])
    sample, counts = data.chunks(rows, HORIZON)
    targets, mask = load_ego_rows(dataset).targets(rows, HORIZON)
    np.testing.assert_allclose(sample.actions, targets, atol=1e-6)
    np.testing.assert_array_equal(counts, mask)
    assert not counts[0, :, 9:18].any()
    assert counts[1].any(axis=1).tolist() == [True, True, False, False]
    assert counts[2].all()
    assert data.starts.tolist() == [*range(19), *range(20, 39), *range(40, 59)]
    wrists = data.with_slots(list(range(9, 27)))
    np.testing.assert_array_equal(wrists.chunks(rows, HORIZON)[0].actions, sample.actions[..., 9:])
    np.testing.assert_array_equal(wrists.counts(rows, HORIZON), counts[..., 9:])


def test_targets_are_normalised_by_what_counts_of_the_episodes_trained_on(corpus, tmp_path):
    dataset = Dataset(corpus)
    spec, _, _ = plan_policy(configured(corpus, tmp_path), dataset)
    assert spec.relative_slots == (False,) * 27
    data, _ = load_rows(dataset).split([2], dataset.episodes)
    found = fit_normalization(data, spec)
    targets, mask = load_ego_rows(dataset).targets(np.r_[0:19, 20:39], HORIZON)
    for slot in (0, 9, 26):
        counted = targets[..., slot][mask[..., slot]]
        assert found.action.mean[slot] == pytest.approx(counted.mean())
        assert found.action.std[slot] == pytest.approx(counted.std())


@pytest.mark.parametrize(("variant", "slots"), [("full", UNIFIED_SLOTS), ("wrist_only", WRIST_SLOTS)])
def test_a_run_learns_from_it(corpus, tmp_path, variant, slots):
    config = configured(corpus, tmp_path, variant=variant, validation={"episodes": 1, "every": 6, "batches": 1})
    train(config, QUIET)
    assert all(math.isfinite(loss) for loss in losses(tmp_path))
    checkpoint = load_checkpoint(tmp_path / "checkpoint")
    assert checkpoint.spec.slots == slots
    assert checkpoint.spec.fps == 10


def test_numbers_that_the_held_out_never_show_are_no_numbers(corpus, tmp_path, recwarn):
    held_out = next(seed for seed in range(9) if choose_held_out(Dataset(corpus).episodes, 1, seed) == [0])
    train(configured(corpus, tmp_path, seed=held_out, validation={"episodes": 1, "batches": 1}), QUIET)
    with (tmp_path / "validation_errors.csv").open() as file:
        (first, *_) = csv.DictReader(file)
    assert first["left_wrist_x"] == "nan"
    assert float(first["right_wrist_x"]) > 0
    assert math.isfinite(read_validations(tmp_path / "validation.csv")[-1].action_error)
    assert not [it for it in recwarn if "empty slice" in str(it.message)]


def test_rows_of_a_corpus_are_not_taken_for_a_robots_commands(corpus):
    with pytest.raises(OpenLoopError, match="another frame for every chunk"):
        check_fit(None, Dataset(corpus))
