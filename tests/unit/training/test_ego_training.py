"""The trainer on a corpus of egocentric video."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
from activemimic_data.dataset import Dataset
from activemimic_data.dataset.video import VideoWriter
from activemimic_policy.checkpoint import load_checkpoint
from activemimic_policy.unified_action import BODIES, UNIFIED_SLOTS, WRIST_SLOTS
from activemimic_training.analysis.predict import OpenLoopError, check_fit
from activemimic_training.egocentric.episodes.corpus_export import EpisodeFiles, export_corpus
from activemimic_training.egocentric.episodes.load import CONFIDENCE, load_ego_rows
from activemimic_training.trainer.checks.learning_curves import PlotError, plot_losses
from activemimic_training.trainer.checks.log import read_metrics
from activemimic_training.trainer.checks.validation import read_validations
from activemimic_training.trainer.data.samples import TrainingDataError, choose_held_out, fit_normalization, load_rows
from activemimic_training.trainer.setup.run_plan import plan_policy
from activemimic_training.trainer.train import train
from ego_motion import at_work, changed
from toy_dataset import ToyDataset
from training_runs import QUIET, configured

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
    for step in read_metrics(tmp_path / "metrics.csv"):
        assert [*step.parts] == ["camera", "left_wrist", "right_wrist"][len(BODIES) - len(slots) // 9 :]
        assert all(0 < loss < 100 for loss in [step.loss, step.parts["right_wrist"]])
        known = [loss for loss in step.parts.values() if math.isfinite(loss)]
        assert min(known) <= step.loss <= max(known)
    assert plot_losses({"run": tmp_path}).startswith(b"\x89PNG")
    checkpoint = load_checkpoint(tmp_path / "checkpoint")
    assert checkpoint.spec.slots == slots
    assert checkpoint.spec.fps == 10


def test_the_loss_of_all_is_the_mean_of_camera_and_wrists(corpus, tmp_path):
    train(configured(corpus, tmp_path, batch_size=39, steps=1), QUIET)
    (step,) = read_metrics(tmp_path / "metrics.csv")
    data = load_rows(Dataset(corpus))
    first_batch = np.random.default_rng([0, 0, 0]).permutation(data.starts)[:39]
    numbers = data.weights(first_batch, HORIZON).reshape(-1, 3, 9).sum(axis=(0, 2))
    assert step.loss == pytest.approx(np.average([*step.parts.values()], weights=numbers), rel=1e-5)


def test_what_is_less_trusted_counts_less_where_that_is_wanted(corpus, tmp_path):
    dataset = Dataset(corpus)
    rows, horizon = np.array([25, 37]), HORIZON
    trust = dataset.column(CONFIDENCE)
    trust = np.linspace(0.1, 1, trust.size).reshape(trust.shape)
    ego = replace(
        load_rows(dataset, confidence_weighting=True).ego, rows=replace(load_ego_rows(dataset), confidence=trust)
    )
    data = replace(load_rows(dataset), ego=ego)
    weights = data.weights(rows, horizon)
    assert weights[0, 2, 0] == pytest.approx(trust[28, 0])
    assert weights[0, 2, 26] == pytest.approx(trust[28, 2])
    assert weights[1, 2].tolist() == [0.0] * 27  # beyond the episode's end
    assert data.counts(rows, horizon)[0].all()
    assert data.with_slots([26]).weights(rows, horizon)[0, 2, 0] == pytest.approx(trust[28, 2])
    plain = load_rows(dataset).weights(rows, horizon)
    np.testing.assert_array_equal(plain, load_rows(dataset).counts(rows, horizon))


def test_a_robots_rows_have_no_confidence_to_weigh_by():
    with pytest.raises(TrainingDataError, match="confidence_weighting: expected egocentric video"):
        load_rows(ToyDataset(), confidence_weighting=True)


def test_runs_without_steps_cannot_be_drawn(tmp_path):
    with pytest.raises(PlotError, match="expected a training run's folder, found no steps"):
        plot_losses({"nothing": tmp_path})


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
