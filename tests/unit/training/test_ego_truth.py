"""The backends that know the truth give it exactly, or as much worse as they are asked to."""

from dataclasses import replace

import numpy as np
import pytest
from activemimic_training.egocentric.poses.truth import spoiled_camera, spoiled_wrists
from activemimic_training.egocentric.quality.repair import swapped_hands
from activemimic_training.egocentric.settings.pose_settings import TruthCamera, TruthWrists
from activemimic_training.egocentric.spatial.geometry import inverse, is_known, rotation_angle
from ego_motion import at_work

K = np.array([[250.0, 0, 159.5], [0, 250, 119.5], [0, 0, 1]])
TRUTH = at_work(2000)
IN_CAMERA = inverse(TRUTH.T_world_camera)[:, None] @ TRUTH.T_world_wrist


def wrists(truth=TRUTH, seed=0, **noise):
    settings = TruthWrists(backend="truth", folder="truth", **noise)
    return spoiled_wrists(settings, truth, K, (320, 240), np.random.default_rng(seed))


def camera(truth=TRUTH, seed=0, **noise):
    settings = TruthCamera(backend="truth", folder="truth", **noise)
    return spoiled_camera(settings, truth, np.random.default_rng(seed))


def test_without_noise_it_is_the_truth():
    found, path = wrists(), camera()
    np.testing.assert_array_equal(found.T_camera_wrist, IN_CAMERA)
    np.testing.assert_array_equal(path.T_world_camera, TRUTH.T_world_camera)
    assert len(path.frame_scales) == 0
    found.validate("wrists", 2000)
    path.validate("camera", 2000)


def test_noise_is_as_large_as_asked_and_the_same_for_a_seed():
    found = wrists(position_m=0.02, rotation_deg=3.0)
    error = inverse(IN_CAMERA) @ found.T_camera_wrist
    assert error[..., :3, 3].std() == pytest.approx(0.02, rel=0.05)
    assert np.degrees(np.sqrt((rotation_angle(error[..., :3, :3]) ** 2).mean() / 3)) == pytest.approx(3, rel=0.05)
    again, other = (wrists(position_m=0.02, rotation_deg=3.0, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(found.T_camera_wrist, again.T_camera_wrist)
    assert not np.allclose(found.T_camera_wrist, other.T_camera_wrist)


def test_drift_is_slow():
    error = (inverse(TRUTH.T_world_camera) @ camera(drift_m=0.05).T_world_camera)[:, :3, 3]
    assert error.std() == pytest.approx(0.05, rel=0.3)
    assert np.abs(np.diff(error, axis=0)).mean() < 0.1 * error.std()


def test_dropouts_come_in_bursts_of_the_asked_length():
    lost = ~is_known(wrists(dropout=0.2, burst_s=0.5).T_camera_wrist)
    assert lost.mean() == pytest.approx(0.2, abs=0.05)
    starts = np.count_nonzero(np.diff(lost.astype(int), axis=0) == 1)
    assert lost.sum() / starts == pytest.approx(5, rel=0.3)
    assert (~is_known(camera(dropout=1.0).T_world_camera)).all()


def test_a_jump_stays_and_a_spike_does_not():
    jumped = (inverse(TRUTH.T_world_camera) @ camera(jumps_per_min=1, jump_m=0.4).T_world_camera)[:, :3, 3]
    changes = np.linalg.norm(np.diff(jumped, axis=0), axis=1)
    assert np.unique(changes.round(6)).tolist() == [0.0, 0.4]
    spiky = (inverse(TRUTH.T_world_camera) @ camera(spikes=0.05, jump_m=0.4).T_world_camera)[:, :3, 3]
    off = np.linalg.norm(spiky, axis=1)
    assert np.unique(off.round(6)).tolist() == [0.0, 0.4]
    assert np.mean(off > 0.1) == pytest.approx(0.05, abs=0.02)


def test_left_is_taken_for_right_and_quality_control_sees_it():
    found = wrists(swapped=0.1).T_camera_wrist
    swapped = (found == IN_CAMERA[:, ::-1]).all(axis=(1, 2, 3))
    assert 0.04 < swapped.mean() < 0.17
    assert (swapped | (found == IN_CAMERA).all(axis=(1, 2, 3))).all()
    np.testing.assert_array_equal(swapped_hands(TRUTH.T_world_camera[:, None] @ found, found, 5), swapped)


def test_hands_out_of_view_are_not_found_unless_they_are_dreamt_of():
    unseen = TRUTH.wrist_observed.copy()
    unseen[500:1500, 1] = False
    truth = replace(TRUTH, wrist_observed=unseen)
    assert not is_known(wrists(truth).T_camera_wrist)[500:1500, 1].any()
    dreamt = wrists(truth, hallucinated=0.5).T_camera_wrist[500:1500, 1]
    there = is_known(dreamt)
    assert 0.3 < there.mean() < 0.7
    assert np.linalg.norm(dreamt[there] - IN_CAMERA[500:1500, 1][there], axis=(1, 2)).min() > 1e-3
    np.testing.assert_array_equal(wrists(truth, hallucinated=0.5).T_camera_wrist[:, 0], IN_CAMERA[:, 0])


def test_a_scale_that_drifts_is_made_metric_by_the_median_of_its_frames():
    drifting = camera(scale_drift=0.5)
    assert drifting.frame_scales.shape == (2000,)
    assert np.log(drifting.frame_scales).std() > 0.1
    steps, true = (np.diff(it.T_world_camera[:, :3, 3], axis=0) for it in (drifting, TRUTH))
    local = np.linalg.norm(steps, axis=1) / np.linalg.norm(true, axis=1)
    np.testing.assert_allclose(local * drifting.frame_scales[1:], np.median(drifting.frame_scales), rtol=1e-9)
    noisy = camera(scale_noise=0.1)
    assert np.log(noisy.frame_scales).std() == pytest.approx(0.1, rel=0.1)


def test_a_box_holds_its_wrist_inside_the_image():
    found = wrists()
    x, y, z = np.moveaxis(IN_CAMERA[..., :3, 3] @ K.T, -1, 0)
    known = np.isfinite(found.boxes_px).all(axis=-1)
    left, top, right, bottom = np.moveaxis(found.boxes_px, -1, 0)
    inside = known & (x / z > 0) & (x / z < 319) & (y / z > 0) & (y / z < 239)
    assert inside.mean() > 0.3
    assert ((left < x / z) & (x / z < right) & (top < y / z) & (y / z < bottom))[inside].all()
    assert (left[known] >= 0).all()
    assert (right[known] <= 319).all()


@pytest.mark.parametrize(("lost", "metres"), [(2, 0.2), (0, 0.24)])
def test_a_lone_hand_that_moves_fast_is_not_taken_for_the_other(lost, metres):
    """The other hand was never seen: that it should have been there all at once must not be the shorter way."""
    places = np.repeat(np.eye(4)[None], 14, axis=0)
    places[:5, :3, 3] = [0.4, 0.3, 0.9]
    places[5 : 5 + lost] = np.nan
    places[5 + lost :, :3, 3] = [0.4, 0.3, 0.9 + metres]
    hands = np.stack([places, np.full_like(places, np.nan)], axis=1)
    in_camera = inverse(at_work(14).T_world_camera)[:, None] @ hands
    assert not swapped_hands(hands, in_camera, 5).any()


def test_a_lone_hand_under_the_others_name_is_given_back():
    """The left hand alone is in view, and is called the right one for six frames."""
    places = np.stack([TRUTH.T_world_wrist[:30, 0], np.full((30, 4, 4), np.nan)], axis=1)
    wrong = np.zeros(30, np.bool_)
    wrong[12:18] = True
    places[wrong] = places[wrong, ::-1]
    in_camera = inverse(TRUTH.T_world_camera[:30])[:, None] @ places
    np.testing.assert_array_equal(swapped_hands(places, in_camera, 5), wrong)


def test_a_hand_that_comes_back_to_its_place_was_not_the_other_meanwhile():
    """The left hand rests, is lost for seven frames and is there again; the right one rests 0.2 m beside it."""
    hands = np.repeat(np.eye(4)[None, None], 20, axis=0).repeat(2, axis=1)
    hands[:, 0, :3, 3], hands[:, 1, :3, 3] = [0.38, 0.23, 0.88], [0.40, 0.03, 1.02]
    hands[0, 1], hands[3:10, 0], hands[17:, 1] = np.nan, np.nan, np.nan
    in_camera = inverse(at_work(20).T_world_camera)[:, None] @ hands
    assert not swapped_hands(hands, in_camera, 5).any()
