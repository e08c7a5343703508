"""What quality control finds, mends, splits and leaves alone."""

import json

import numpy as np
import pytest
from activemimic_training.egocentric.quality.quality import QualityConfig, check_quality
from activemimic_training.egocentric.spatial.geometry import rotation_angle, se3_exp
from activemimic_training.egocentric.spatial.pose_trajectory import EgoTrajectory
from ego_motion import at_work, changed, noisy

PLAIN = QualityConfig(smoothing_s=0)  # cleaned poses are then the measured ones
TRUTH = at_work(80)


def found(result, kind):
    return [(it.body, it.done, it.first, it.stop) for it in result.findings if it.kind == kind]


def position_error(trajectory, truth, body):
    return np.linalg.norm((trajectory.bodies - truth.bodies)[:, body, :3, 3], axis=1)


def test_a_good_trajectory_is_left_as_it_is():
    result = check_quality(TRUTH, PLAIN)
    assert result.findings == []
    (episode,) = result.episodes
    np.testing.assert_allclose(episode.trajectory.bodies, TRUTH.bodies, atol=1e-12)
    assert episode.shares()["left_wrist"] == {"observed": 1.0, "interpolated": 0.0, "missing": 0.0}


def test_short_gaps_are_filled_and_told_and_long_ones_of_a_hand_are_masked():
    poses = TRUTH.bodies
    poses[20:23, 1] = np.nan
    poses[40:55, 2] = np.nan
    confidence = np.full((80, 3), 0.9)
    confidence[23, 1] = 0.6
    (episode,) = (result := check_quality(changed(TRUTH, poses, confidence), PLAIN)).episodes
    clean = episode.trajectory
    assert found(result, "gap") == [("left_wrist", "interpolated", 20, 23)]
    assert found(result, "unseen") == [("right_wrist", "masked", 40, 55)]
    assert clean.wrist_valid[20:23, 0].all()
    assert not clean.wrist_observed[20:23, 0].any()
    assert (clean.wrist_confidence[20:23, 0] == 0.6).all(), "trusted as the worse end"
    assert position_error(clean, TRUTH, 1)[20:23].max() < 0.01
    assert not clean.wrist_valid[40:55, 1].any()
    assert not episode.raw.wrist_valid[20:23, 0].any(), "the raw one stays beside it"


def test_a_long_gap_of_the_camera_splits_and_a_stub_is_left_out():
    poses = TRUTH.bodies
    poses[50:60, 0] = np.nan
    poses[75:, 0] = np.nan
    result = check_quality(changed(TRUTH, poses), PLAIN)
    assert [(it.first, it.stop) for it in result.episodes] == [(0, 50)]
    assert found(result, "gap") == [("camera", "split", 50, 60)]
    assert found(result, "too short") == [("all", "left out", 60, 75)]
    np.testing.assert_array_equal(result.episodes[0].trajectory.time_ns, TRUTH.time_ns[:50])


def test_a_false_camera_pose_is_replaced_and_takes_the_hands_with_it():
    poses = TRUTH.bodies
    poses[30] = se3_exp(np.array([0.8, 0, 0, 0, 0.9, 0])) @ poses[30]  # camera wrong, hands seen rightly from it
    (episode,) = (result := check_quality(changed(TRUTH, poses), PLAIN)).episodes
    assert found(result, "implausible speed") == [("camera", "dropped", 30, 31)]
    for body in range(3):
        assert position_error(episode.trajectory, TRUTH, body)[30] < 0.01
    assert not episode.trajectory.camera_observed[30]
    assert episode.trajectory.wrist_observed[30].all(), "the hands were seen"


def test_a_turn_no_wrist_can_make_is_dropped():
    poses = TRUTH.bodies
    poses[30, 2] = poses[30, 2] @ se3_exp(np.array([0, 0, 0, 2.0, 0, 0]))
    (episode,) = (result := check_quality(changed(TRUTH, poses), PLAIN)).episodes
    assert found(result, "implausible speed") == [("right_wrist", "dropped", 30, 31)]
    error = np.linalg.inv(TRUTH.bodies[30, 2]) @ episode.trajectory.bodies[30, 2]
    assert rotation_angle(error[:3, :3]) < 0.05


@pytest.mark.parametrize("body", [0, 1])
def test_a_track_that_goes_on_elsewhere_splits_the_episode(body):
    poses = TRUTH.bodies
    affected = slice(None) if body == 0 else body
    poses[40:, affected] = se3_exp(np.array([0.6, 0, 0, 0, 0, 0])) @ poses[40:, affected]
    result = check_quality(changed(TRUTH, poses), PLAIN)
    assert [(it.first, it.stop) for it in result.episodes] == [(0, 40), (40, 80)]
    assert found(result, "jump") == [(("camera", "left_wrist")[body], "split", 39, 40)]
    assert all(it.trajectory.bodies_valid.all() for it in result.episodes)


def test_false_poses_all_over_a_track_leave_the_true_ones():
    rng = np.random.default_rng(1)
    poses = TRUTH.bodies
    false = np.sort(rng.choice(np.arange(1, 79), 20, replace=False))
    poses[false, 1, :3, 3] += rng.choice([-1, 1], (20, 3)) * rng.uniform(0.35, 0.5, (20, 3))
    result = check_quality(changed(TRUTH, poses), PLAIN)
    dropped = {frame for it in result.findings if it.done == "dropped" for frame in range(it.first, it.stop)}
    assert set(false.tolist()) <= dropped
    assert len(result.episodes) == 1
    assert np.nanmax(position_error(result.episodes[0].trajectory, TRUTH, 1)) < 0.03


@pytest.mark.parametrize("frames", [slice(25, 26), slice(20, 45), slice(60, 80), slice(0, 80)])
def test_exchanged_hands_are_exchanged_back(frames):
    poses = TRUTH.bodies
    poses[frames, 1:] = poses[frames, :0:-1]
    (episode,) = (result := check_quality(changed(TRUTH, poses), PLAIN)).episodes
    assert found(result, "swapped hands") == [("wrists", "exchanged", frames.start, frames.stop)]
    np.testing.assert_allclose(episode.trajectory.bodies, TRUTH.bodies, atol=1e-12)
    assert episode.trajectory.wrist_confidence[frames.start].tolist() == [0.5, 0.5]


def test_one_hand_under_the_others_name_goes_back():
    poses = TRUTH.bodies
    poses[30:34, 2], poses[30:34, 1] = poses[30:34, 1].copy(), np.nan
    (episode,) = check_quality(changed(TRUTH, poses), PLAIN).episodes
    assert position_error(episode.trajectory, TRUTH, 1)[30:34].max() < 1e-12
    assert position_error(episode.trajectory, TRUTH, 2)[30:34].max() < 0.02, "interpolated"


def test_arms_that_cross_for_three_seconds_stay_as_they_are():
    t = np.arange(80) / 10
    x = 0.2 * np.clip(np.abs(t - 4) - 1.5, -1, 1)  # the hands pass each other's front, 12 cm apart in depth
    poses = TRUTH.bodies
    for body, side, depth in ((1, -1, 0.4), (2, 1, 0.52)):
        in_camera = np.tile(np.eye(4), (80, 1, 1))
        in_camera[:, :3, 3] = np.stack([side * x, 0 * t + 0.2, 0 * t + depth], 1)
        poses[:, body] = poses[:, 0] @ in_camera
    assert found(check_quality(changed(TRUTH, poses), PLAIN), "swapped hands") == []


def test_a_hand_no_arm_can_reach_and_one_nobody_trusts_are_not_the_wearers():
    poses, confidence = TRUTH.bodies, np.full((80, 3), 0.9)
    poses[:30, 1, :3, 3] += TRUTH.bodies[:30, 0, :3, 2] * 1.5
    confidence[60:, 2] = 0.1
    (episode,) = (result := check_quality(changed(TRUTH, poses, confidence), PLAIN)).episodes
    assert found(result, "out of reach") == [("left_wrist", "dropped", 0, 30)]
    assert found(result, "low confidence") == [("right_wrist", "dropped", 60, 80)]
    assert not episode.trajectory.wrist_valid[:30, 0].any()
    assert not episode.trajectory.wrist_valid[60:, 1].any()


def test_an_episode_without_hands_or_without_a_sure_scale_is_left_out():
    poses = TRUTH.bodies
    poses[10:, 1:] = np.nan
    result = check_quality(changed(TRUTH, poses), PLAIN)
    assert not result.episodes
    assert [it.detail for it in result.findings] == ["a hand in 12% of the frames, at least 50%"]
    result = check_quality(TRUTH, PLAIN, scale_spread=0.5)
    assert not result.episodes
    assert found(result, "scale") == [("all", "left out", 0, 80)]
    assert check_quality(TRUTH, PLAIN, scale_spread=0.05).episodes


def test_smoothing_takes_noise_away_and_leaves_motion_and_the_raw():
    shaken = changed(TRUTH, noisy(TRUTH, 0.01, 0.05))
    (plain,), (smooth,) = (check_quality(shaken, config).episodes for config in (PLAIN, QualityConfig()))
    for body in range(3):
        before, after = (np.sqrt((position_error(it.trajectory, TRUTH, body) ** 2).mean()) for it in (plain, smooth))
        assert after < 0.8 * before
    np.testing.assert_array_equal(smooth.raw.bodies, shaken.bodies)
    (untouched,) = check_quality(TRUTH).episodes
    assert position_error(untouched.trajectory, TRUTH, 1).max() < 2e-3


def test_a_smoothed_pose_listens_to_those_that_are_trusted():
    poses, confidence = TRUTH.bodies, np.ones((80, 3))
    poses[40, 1, :3, 3] += 0.1
    confidence[40, 1] = 0.2
    errors = [
        position_error(check_quality(changed(TRUTH, poses, trust)).episodes[0].trajectory, TRUTH, 1)[40]
        for trust in (None, confidence)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_nothing_at_all_gives_no_episode():
    result = check_quality(changed(TRUTH, np.full((80, 3, 4, 4), np.nan)))
    assert result.episodes == []


def test_what_was_done_is_written_beside_the_episodes(tmp_path):
    poses = TRUTH.bodies
    poses[20:23, 1] = np.nan
    result = check_quality(changed(TRUTH, poses))
    result.write(tmp_path)
    report = json.loads((tmp_path / "quality.json").read_text())
    assert report["episodes"][0]["shares"]["left_wrist"]["interpolated"] == 3 / 80
    assert report["findings"][0]["kind"] == "gap"
    EgoTrajectory.load(tmp_path / "000/trajectory.npz")
    assert not EgoTrajectory.load(tmp_path / "000/raw.npz").wrist_valid[20, 0]


@pytest.mark.parametrize("rules", [{"max_gap": 3}, {"smoothing_s": 0.1}, {"camera": {"max_speed_m_s": 2}}])
def test_rules_that_are_none_are_refused(rules):
    with pytest.raises(ValueError, match=next(iter(rules))):
        QualityConfig.model_validate(rules)
