"""A run's folder tells with what it was made."""

import json
import subprocess

import pytest
from activemimic_training.trainer.setup.train_config import load_train_config
from activemimic_training.trainer.state.run_record import git_revision
from activemimic_training.trainer.train import train
from training_runs import QUIET, configured


def starts(out):
    return [json.loads(line) for line in (out / "environment.jsonl").read_text().splitlines()]


def test_the_resolved_configuration_can_be_run_again(uninterrupted, dataset):
    out, _ = uninterrupted
    assert load_train_config(out / "config.yaml") == configured(dataset, out)


def test_every_start_is_told_with_versions_and_device(dataset, tmp_path, monkeypatch):
    config = configured(dataset, tmp_path, steps=2, checkpoint_every=1)
    monkeypatch.setattr("activemimic_training.trainer.train.time.perf_counter", _dies_at_call(4))
    with pytest.raises(KeyboardInterrupt):
        train(config, QUIET)
    monkeypatch.undo()
    train(config, QUIET)
    first, second = starts(tmp_path)
    assert (first["from_step"], second["from_step"]) == (0, 1)
    assert first["packages"]["torch"]
    assert first["device"].startswith("cpu")
    assert first["threads"] == 1


def test_a_revision_says_when_files_differ_from_it(tmp_path):
    assert git_revision(tmp_path) == "unknown"

    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *words], check=True, capture_output=True)

    git("init")
    (tmp_path / "code.py").write_text("a = 1\n")
    git("add", "code.py")
    git("commit", "-m", "a")
    revision = git_revision(tmp_path)
    assert len(revision) == 40
    (tmp_path / "code.py").write_text("a = 2\n")
    assert git_revision(tmp_path) == revision + "-dirty"


def _dies_at_call(last):
    calls = []

    def clock():
        calls.append(1)
        if len(calls) == last:
            raise KeyboardInterrupt
        return float(len(calls))

    return clock
