"""Held-out episodes tell how good the sampled actions are, and which checkpoint was best."""

import csv
import json
import stat

import numpy as np
import pytest
import torch
from activemimic_data.dataset import Dataset
from activemimic_policy.checkpoint import load_checkpoint
from activemimic_policy.inference import load_policy
from activemimic_training.trainer import train as module
from activemimic_training.trainer.checks.closed_loop import ClosedLoopError, find_command, success_rate
from activemimic_training.trainer.checks.validation import Validation, read_validations
from activemimic_training.trainer.data.batches import seed_of
from activemimic_training.trainer.data.samples import choose_held_out
from activemimic_training.trainer.setup.train_config import ClosedLoopSection, TrainConfigError
from activemimic_training.trainer.train import train
from training_runs import QUIET, configured, losses

LOOKS = {"episodes": 1, "every": 4, "batches": 50}


@pytest.fixture(scope="module")
def validated(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("validated")
    train(configured(dataset, out, validation=LOOKS), QUIET)
    return out


def errors(out):
    with (out / "validation_errors.csv").open() as file:
        head, *rows = csv.reader(file)
    return head, np.array(rows, dtype=float)


def test_the_error_is_that_of_the_served_checkpoint_on_the_held_out_episode(validated, dataset):
    rows = Dataset(dataset)
    (held_out,) = choose_held_out(rows.episodes, 1, seed=0)
    episode = rows.episodes[held_out]
    head, table = errors(validated)
    assert head == ["step", "chunk_step", *rows.slots]
    assert table[:, :2].tolist() == [[step, k] for step in (4, 8, 12) for k in (1, 2, 3, 4)]
    policy = load_policy(validated / "checkpoint", threads=None)
    noises, found = _noises(validated, episode), []
    frames = {camera: list(rows.frames(camera, held_out)) for camera in rows.cameras}
    for place, row in enumerate(range(episode.start, episode.stop)):
        images = {camera: seen[row - episode.start] for camera, seen in frames.items()}
        chunk = policy.infer(images, rows.state[row], episode.task, noises[place][:, : len(rows.slots)])
        due = np.minimum(row + np.arange(4), episode.stop - 1)
        found.append(np.abs(chunk - rows.action[due]))
    assert table[-4:, 2:] == pytest.approx(np.mean(found, axis=0), abs=1e-5)
    assert read_validations(validated / "validation.csv")[-1].action_error == pytest.approx(np.mean(found), abs=1e-5)


def _noises(out, episode):
    """What the validator draws for its rows, in their order."""
    shape = (4, load_checkpoint(out / "checkpoint").model.action_width)
    return [
        torch.randn(shape, generator=torch.Generator().manual_seed(seed_of(0, 2, place))).numpy()
        for place in range(episode.stop - episode.start)
    ]


def test_looking_changes_nothing_in_the_training(validated, dataset, tmp_path):
    rarely = {"episodes": 1, "every": 1000, "batches": 1}
    train(configured(dataset, tmp_path, validation=rarely), QUIET)
    assert losses(tmp_path) == losses(validated)
    assert len(read_validations(tmp_path / "validation.csv")) == 1


def test_a_killed_run_looks_again_only_at_what_it_trains_again(validated, dataset, tmp_path, monkeypatch):
    class Dying(module.TrainLog):
        def add(self, metrics):
            super().add(metrics)
            if metrics.step == 9:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "TrainLog", Dying)
        with pytest.raises(KeyboardInterrupt):
            train(configured(dataset, tmp_path, validation=LOOKS), QUIET)
    assert [look.step for look in read_validations(tmp_path / "validation.csv")] == [4, 8]
    train(configured(dataset, tmp_path, validation=LOOKS), QUIET)
    for name in ("validation.csv", "validation_errors.csv"):
        assert (tmp_path / name).read_text() == (validated / name).read_text()


def test_the_best_checkpoint_is_the_one_of_the_lowest_error(validated):
    looks = read_validations(validated / "validation.csv")
    best = min(looks, key=lambda look: look.action_error)
    kept = load_checkpoint(validated / "best").training
    assert kept["steps_done"] == best.step
    assert kept["validation"]["action_error"] == best.action_error


def test_success_goes_before_action_error():
    one, two = Validation(1, action_error=0.1, success=0.5), Validation(2, action_error=0.9, success=0.6)
    assert two.better_than(one)
    assert not one.better_than(two)
    assert Validation(3, action_error=0.8, success=0.6).better_than(two)
    assert not two.better_than(two)


@pytest.fixture
def fake_command(tmp_path):
    """Answers as `activemimic eval` does: half of the trials succeed when steps_done is even, none when it is odd."""
    script = tmp_path / "activemimic"
    script.write_text(
        """#!/usr/bin/env python3
import json, pathlib, sys
rest = [word for word in sys.argv[2:] if word != "--no-video"]
words = dict(zip(rest[::2], rest[1::2]))
assert sys.argv[1] == "eval" and words["--task"] == "reaching" and words["--trials"] == "4", sys.argv
done = json.loads((pathlib.Path(words["--policy"]) / "config.json").read_text())["training"]["steps_done"]
if done == 99:
    sys.exit("error: no simulator")
out = pathlib.Path(words["--out"]); out.mkdir(parents=True)
trials = [{"success": done % 2 == 0 and number < 2} for number in range(4)]
(out / "results.json").write_text(json.dumps({"trials": trials}))
"""
    )
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    return [str(script)]


def test_with_trials_the_best_is_the_checkpoint_that_succeeds(dataset, tmp_path, monkeypatch, fake_command):
    monkeypatch.setattr(module, "find_command", lambda: fake_command)
    out = tmp_path / "run"
    trials = {"task": "reaching", "every": 3, "trials": 4}
    train(configured(dataset, out, steps=7, closed_loop=trials, checkpoint_every=100), QUIET)
    assert [(look.step, look.success) for look in read_validations(out / "validation.csv")] == [
        (3, 0.0),
        (6, 0.5),
        (7, 0.0),
    ]
    assert load_checkpoint(out / "best").training["steps_done"] == 6
    assert json.loads((out / "trials/step_0000006/results.json").read_text())["trials"]


def test_a_failed_evaluation_tells_its_last_words(tmp_path, fake_command):
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(json.dumps({"training": {"steps_done": 99}}))
    settings = ClosedLoopSection(task="reaching", every=1, trials=4)
    with pytest.raises(ClosedLoopError, match=r"eval --task reaching .* exit code 1: error: no simulator"):
        success_rate(fake_command, settings, checkpoint, tmp_path / "out")


def test_without_the_command_line_trials_are_refused_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TrainConfigError, match="closed_loop: expected the command `activemimic`"):
        find_command()
