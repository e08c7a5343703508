"""Trajectories on disk, and the chunk-relative targets made of them."""

from dataclasses import replace

import numpy as np
import pytest
from activemimic_training.egocentric.episodes.targets import (
    ABSENT,
    chunk_targets,
    states,
    statistics,
    wrist_only,
)
from activemimic_training.egocentric.spatial.geometry import poses_of_action, se3_exp
from activemimic_training.egocentric.spatial.pose_trajectory import STEP_NS, EgoTrajectory
from activemimic_training.egocentric_error import EgocentricError
from ego_motion import at_work, changed

HORIZON = 5


def rows(*lengths):
    """Episodes one after the other: poses, which there are, and the last row of each row's episode."""
    episodes = [at_work(length, phase) for phase, length in enumerate(lengths)]
    bodies, valid = (np.concatenate([getattr(it, name) for it in episodes]) for name in ("bodies", "bodies_valid"))
    return bodies, valid, np.repeat(np.cumsum(lengths) - 1, lengths)


def test_a_trajectory_comes_back_as_it_was_saved(tmp_path):
    poses = at_work().bodies
    poses[3, 1] = np.nan
    trajectory = changed(at_work(), poses)
    trajectory.save(tmp_path / "trajectory.npz")
    back = EgoTrajectory.load(tmp_path / "trajectory.npz")
    for name in vars(trajectory):
        np.testing.assert_array_equal(getattr(back, name), getattr(trajectory, name))
    assert [path.name for path in tmp_path.iterdir()] == ["trajectory.npz"]


def _with(name, index, value):
    trajectory = at_work(12)
    values = getattr(trajectory, name).copy()
    values[index] = value
    return replace(trajectory, **{name: values})


@pytest.mark.parametrize(
    ("trajectory", "expected"),
    [
        (_with("time_ns", 7, 7 * STEP_NS + 1), "time_ns: expected a grid of 100000000 ns, found .* after frame 6"),
        (_with("T_world_camera", (2, 0, 0), 1.7), "T_world_camera: expected rigid transforms .* first frame 2"),
        (_with("T_world_wrist", (4, 1), np.nan), "T_world_wrist: expected rigid .* not so in 1, first frame 4, right"),
        (_with("wrist_valid", (5, 0), False), "T_world_wrist: expected NaN where not valid"),
        (_with("wrist_confidence", (5, 0), 1.5), "wrist_confidence: expected numbers from 0 to 1"),
        (_with("camera_confidence", 0, np.nan), "camera_confidence: expected numbers from 0 to 1"),
        (replace(at_work(12), camera_valid=np.ones(11, bool)), r"camera_valid: expected \(12,\) bool, found \(11,\)"),
        (at_work(12).between(0, 0), "time_ns: .* at least one frame"),
    ],
)
def test_a_trajectory_that_contradicts_itself_is_not_written(trajectory, expected, tmp_path):
    with pytest.raises(EgocentricError, match=f"bad.npz: {expected}"):
        trajectory.save(tmp_path / "bad.npz")
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_trajectory_are_named(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.raises(EgocentricError, match=r"x.npz: missing"):
        EgoTrajectory.load(path)
    path.write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(EgocentricError, match=r"x.npz: cannot be read"):
        EgoTrajectory.load(path)
    np.savez(path, time_ns=np.arange(3), poses=np.zeros(3))
    with pytest.raises(EgocentricError, match=r"missing: T_world_camera.*unknown: poses"):
        EgoTrajectory.load(path)


def test_targets_are_the_poses_seen_from_the_chunks_first_camera():
    bodies, valid, last = rows(12, 9)
    targets, mask = chunk_targets(bodies, valid, last, np.array([3, 13]), HORIZON)
    assert targets.shape == mask.shape == (2, HORIZON, 27)
    assert mask.all()
    for chunk, start in enumerate((3, 13)):
        absolute = bodies[start, 0] @ poses_of_action(targets[chunk])
        np.testing.assert_allclose(absolute, bodies[start + 1 : start + 1 + HORIZON], atol=1e-12)


def test_what_is_not_there_does_not_count():
    bodies, valid, last = rows(12, 9)
    bodies[5, 2], valid[5, 2] = np.nan, False  # the right hand unseen in one frame
    bodies[7, 0], valid[7, 0] = np.nan, False  # and the camera in another
    targets, mask = chunk_targets(bodies, valid, last, np.array([3, 7, 9, 11]), HORIZON)
    assert np.isfinite(targets).all()
    assert mask[0, :, 0].tolist() == [True, True, True, False, True]
    assert mask[0, :, 9].all()
    assert mask[0, :, 18].tolist() == [True, False, True, True, True]
    assert not mask[1].any(), "there is no frame to see the chunk from"
    assert mask[2].all(axis=1).tolist() == [True, True, False, False, False], "the next episode is another's"
    assert not mask[3].any()
    np.testing.assert_array_equal(targets[~mask], np.broadcast_to(ABSENT, targets.shape)[~mask])


def test_states_are_the_hands_as_the_camera_sees_them():
    bodies, valid, _ = rows(6)
    bodies[2, 1], valid[2, 1] = np.nan, False
    found = states(bodies, valid)
    np.testing.assert_allclose(poses_of_action(found[0]), np.linalg.inv(bodies[0, 0]) @ bodies[0], atol=1e-12)
    np.testing.assert_array_equal(found[2, 9:18], ABSENT[9:18])


def test_wrist_only_is_a_view():
    bodies, valid, last = rows(12)
    targets, _ = chunk_targets(bodies, valid, last, np.array([0]), HORIZON)
    wrists = wrist_only(targets)
    assert wrists.shape == (1, HORIZON, 18)
    assert np.shares_memory(wrists, targets)


def test_statistics_are_those_of_what_counts_whatever_the_parts():
    bodies, valid, last = rows(40, 30)
    bodies[:, :, :3, 3] += 1000.0  # nothing of the world may be left in them
    hidden = np.random.default_rng(0).random((70, 2)) < 0.3
    bodies[:, 1:][hidden], valid[:, 1:][hidden] = np.nan, False
    starts = np.arange(70)
    targets, mask = chunk_targets(bodies, valid, last, starts, HORIZON)
    found = statistics(chunk_targets(bodies, valid, last, part, HORIZON) for part in np.array_split(starts, 9))
    for slot in (0, 9, 26):
        counted = targets[..., slot][mask[..., slot]]
        assert found.count[slot] == len(counted)
        np.testing.assert_allclose(
            [found.mean[slot], found.std[slot], found.min[slot], found.max[slot]],
            [counted.mean(), counted.std(), counted.min(), counted.max()],
            rtol=1e-10,
        )


def test_a_hand_that_is_never_seen_has_no_spread():
    bodies, valid, last = rows(20)
    bodies[:, 2], valid[:, 2] = np.nan, False
    table = statistics([chunk_targets(bodies, valid, last, np.arange(20), HORIZON)]).table()
    assert table["right_wrist_x"] == {"count": 0, "mean": 0.0, "std": 0.0, "min": 0.0, "max": 0.0}
    assert table["left_wrist_x"]["std"] > 0


def test_targets_of_another_world_are_the_same():
    bodies, valid, last = rows(12)
    starts = np.arange(11)
    here, _ = chunk_targets(bodies, valid, last, starts, HORIZON)
    there, _ = chunk_targets(se3_exp(np.array([5.0, 0, -3, 1, 2, 0.3])) @ bodies, valid, last, starts, HORIZON)
    np.testing.assert_allclose(here, there, atol=1e-12)
