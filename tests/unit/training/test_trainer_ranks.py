"""Two processes learn what one learns; killed, they go on, and so does one alone, or two after one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from activemimic_policy.checkpoint import load_checkpoint
from activemimic_training.trainer.checks.log import read_metrics
from activemimic_training.trainer.checks.validation import read_validations
from activemimic_training.trainer.train import train
from training_runs import QUIET, configured, losses
from two_ranks import SETTINGS

SCRIPT = Path(__file__).with_name("two_ranks.py")


def launch(dataset, *outs, die=0):
    """Trains in `outs` one after the other, by two processes; with `die` the last one is killed after that step."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", str(SCRIPT)]
    words = [str(dataset), ",".join(map(str, outs)), str(die)]
    return subprocess.run([*command, *words], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def runs(dataset, tmp_path_factory):
    """Runs of 5 steps: of one process; two; two by blocks; two that were killed after step 3, saved after step 2."""
    root = tmp_path_factory.mktemp("ranks")
    train(configured(dataset, root / "one", **SETTINGS), QUIET)
    killed = launch(dataset, root / "killed", die=3)
    assert killed.returncode != 0
    assert "Signal 9" in killed.stderr, killed.stderr
    assert [metrics.step for metrics in read_metrics(root / "killed/metrics.csv")] == [1, 2, 3]
    shutil.copytree(root / "killed", root / "continued_by_one")
    done = launch(dataset, root / "killed", root / "two", root / "two_by_blocks")
    assert done.returncode == 0, done.stderr
    return root


@pytest.mark.parametrize("several", ["two", "two_by_blocks"])
def test_two_processes_learn_what_one_learns(runs, several):
    assert losses(runs / several) == pytest.approx(losses(runs / "one"), rel=1e-6)
    one, two = (load_checkpoint(runs / name / "checkpoint").weights for name in ("one", several))
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)
    errors = [
        [look.action_error for look in read_validations(runs / name / "validation.csv")] for name in ("one", several)
    ]
    assert errors[0] == pytest.approx(errors[1], rel=1e-5)


def test_two_killed_processes_go_on_to_the_same_losses_and_weights(runs):
    assert losses(runs / "killed") == losses(runs / "two")
    ours, theirs = (load_checkpoint(runs / name / "checkpoint").weights for name in ("killed", "two"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_one_process_goes_on_with_what_two_have_saved(runs, dataset):
    train(configured(dataset, runs / "continued_by_one", **SETTINGS), QUIET)
    assert losses(runs / "continued_by_one") == pytest.approx(losses(runs / "two"), rel=1e-6)


def test_a_batch_in_parts_gives_the_losses_of_a_whole_one(uninterrupted, dataset, tmp_path):
    """With some slots and steps that do not count, so that the parts do not weigh the same."""
    uneven = {
        "steps": 6,
        "slot_weights": {"left_gripper": 0.0},
        "policy": {"execution_horizon": 2, "max_delay_steps": 2},
    }
    train(configured(dataset, tmp_path / "whole", **uneven), QUIET)
    train(configured(dataset, tmp_path / "parts", accumulate=4, **uneven), QUIET)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)


def test_a_batch_that_cannot_be_cut_is_refused(dataset, tmp_path):
    with pytest.raises(ValueError, match=r"batch_size: expected a multiple of 3 \(accumulate x processes\), found 4"):
        train(configured(dataset, tmp_path, accumulate=3), QUIET)


def test_activations_that_are_computed_twice_change_nothing(uninterrupted, dataset, tmp_path):
    train(configured(dataset, tmp_path, steps=4, recompute=True), QUIET)
    train(configured(dataset, tmp_path / "kept", steps=4), QUIET)
    assert losses(tmp_path) == losses(tmp_path / "kept")


def test_in_bf16_the_losses_are_near_and_the_weights_stay_float32(uninterrupted, dataset, tmp_path):
    train(configured(dataset, tmp_path, steps=4, precision="bf16"), QUIET)
    train(configured(dataset, tmp_path / "wide", steps=4), QUIET)
    assert losses(tmp_path) == pytest.approx(losses(tmp_path / "wide"), rel=0.02)
    assert losses(tmp_path) != losses(tmp_path / "wide")
    assert {tensor.dtype for tensor in load_checkpoint(tmp_path / "checkpoint").weights.values()} == {torch.float32}
