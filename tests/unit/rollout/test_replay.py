"""A recorded episode, sent to the simulated robot again, goes as it went."""

from __future__ import annotations

from dataclasses import replace as changed
from pathlib import Path

import numpy as np
import pytest
from activemimic_data.dataset.video import frame_count
from activemimic_rollout.agents.recorded_actions import ReplayError, load_recorded
from activemimic_rollout.synchronous.demonstrations import DemonstrationPlan, generate
from activemimic_rollout.synchronous.replay_in_simulation import replay
from generated import Generated

NEAR = 0.06  # rad, m: what sampling commands at 10 Hz costs


def test_a_replayed_bag_succeeds_again_and_the_robot_goes_along(steady: Generated, tmp_path: Path) -> None:
    (made,) = steady.made
    report = replay(load_recorded(str(made.folder)), video=tmp_path / "replay.mp4")
    assert (report.success, report.failure) == (True, "")
    assert report.time_s == pytest.approx(made.time_s, abs=0.5)
    joints = [index for index, unit in enumerate(report.units) if unit != "fraction"]
    assert 0 < np.abs(report.error[:, joints]).max() < 0.04
    assert frame_count(tmp_path / "replay.mp4") == pytest.approx(report.time_s * 10, abs=2)


def test_a_row_of_a_dataset_replays_as_its_bag_does(slipping: Generated, dataset: Path) -> None:
    bag, row = load_recorded(str(slipping.made[0].folder)), load_recorded(f"{dataset}#0")
    assert (row.task, row.seed) == (bag.task, bag.seed)
    times_s = np.arange(1.0, bag.duration_s - 1.0, 0.1)
    np.testing.assert_allclose(row.measured_at(times_s), bag.measured_at(times_s), atol=NEAR)
    report = replay(row)
    assert report.success == slipping.made[0].success
    assert np.abs(report.error).mean() < 0.01


def test_an_episode_that_begins_in_the_midst_of_the_motion_begins_there_again(tmp_path: Path) -> None:
    plan = DemonstrationPlan("reaching", camera_hz=5, late_starts=1.0, action_noise=0.0)
    (made,) = generate(plan, tmp_path, [1], workers=1)
    recorded = load_recorded(str(made.folder))
    report = replay(recorded)
    assert np.abs(report.error[0]).max() < 1e-6
    assert (report.success, made.success) == (True, True)


def test_what_cannot_be_replayed_is_told(steady: Generated, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="expected an episode from 0 to 1"):
        load_recorded(f"{dataset}#2")
    with pytest.raises(ReplayError, match="expected a recorded episode's folder, or a dataset's"):
        load_recorded(str(tmp_path))
    with pytest.raises(ReplayError, match="has no seed"):
        replay(changed(load_recorded(str(steady.made[0].folder)), seed=None))
