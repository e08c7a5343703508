"""Sim(3) alignment and the metric scale."""

import numpy as np
import pytest
from activemimic_training.egocentric.quality.scale import episode_scale, frame_scale, metric_path
from activemimic_training.egocentric.spatial.geometry import se3_exp
from activemimic_training.egocentric.spatial.similarity import Similarity, align, align_robustly
from activemimic_training.egocentric_error import EgocentricError, GeometryError

RNG = np.random.default_rng(3)
POINTS = RNG.normal(size=(60, 3))
MOTION = se3_exp(np.array([1.0, -2.0, 0.5, 0.4, -0.9, 2.0]))
TRUE = Similarity(2.5, MOTION[:3, :3], MOTION[:3, 3])


def test_an_exact_copy_is_found_whatever_its_scale():
    found = align(POINTS, TRUE.points(POINTS))
    assert found.scale == pytest.approx(2.5, abs=1e-12)
    np.testing.assert_allclose(found.rotation, TRUE.rotation, atol=1e-12)
    np.testing.assert_allclose(found.translation, TRUE.translation, atol=1e-12)
    rigid = Similarity(1.0, TRUE.rotation, TRUE.translation)
    assert align(POINTS, rigid.points(POINTS), with_scale=False).scale == 1.0


def test_flat_points_are_enough_and_are_not_mirrored():
    flat = POINTS * [1, 1, 0]
    found = align(flat, TRUE.points(flat))
    np.testing.assert_allclose(found.rotation, TRUE.rotation, atol=1e-12)


def test_points_without_weight_do_not_count():
    target = TRUE.points(POINTS)
    target[:20] += 100.0
    found = align(POINTS, target, np.r_[np.zeros(20), RNG.uniform(0.1, 1, 40)])
    assert found.scale == pytest.approx(2.5, abs=1e-9)


def test_outliers_move_the_robust_one_little():
    target = TRUE.points(POINTS) + RNG.normal(scale=0.01, size=POINTS.shape)
    target[:12] += RNG.normal(scale=5.0, size=(12, 3))
    plain, robust = align(POINTS, target), align_robustly(POINTS, target, huber=0.05)
    assert abs(robust.scale - 2.5) < 0.02
    assert abs(robust.scale - 2.5) < 0.2 * abs(plain.scale - 2.5)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (POINTS[:2], "at least 3 points with weight, found 2"),
        (np.linspace(0, 1, 9)[:, None] * [1.0, 2.0, 3.0], "one line"),
        (np.zeros((9, 3)), "one line or in one place"),
        (np.full((9, 3), np.nan), "finite"),
    ],
)
def test_what_leaves_a_rotation_open_is_refused(points, expected):
    with pytest.raises(GeometryError, match=expected):
        align(points, points)


def test_poses_keep_their_rotations_orthonormal():
    T = se3_exp(RNG.normal(size=(5, 6)))
    moved = TRUE.poses(T)
    np.testing.assert_allclose(moved[:, :3, 3], TRUE.points(T[:, :3, 3]), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(moved[:, :3, :3]), 1.0, atol=1e-12)


def test_the_scale_of_a_frame_is_the_median_over_usable_pixels():
    normalised = RNG.uniform(0.5, 2, size=(20, 30))
    metric = 3.0 * normalised
    usable = np.ones((20, 30), bool)
    metric[:8], usable[:8] = 0.4, False  # a hand
    metric[8, :5], normalised[9, :5], metric[10, :5] = np.nan, 0.0, -1.0
    assert frame_scale(metric, normalised, usable) == (pytest.approx(3.0), 12 * 30 - 15)
    few = np.zeros((20, 30), bool)
    few.flat[:99] = True
    assert np.isnan(frame_scale(3 * normalised, normalised, few)[0])


def test_the_scale_of_an_episode_tells_its_spread_and_is_never_made_up():
    frames = np.array([1.9, 2.0, 2.1, 2.0, np.nan, 2.0, 2.0, 9.0, 2.0, 2.0])
    found = episode_scale(frames, np.full(10, 500), "kitchen_3")
    assert found.scale == 2.0
    assert 0 < found.spread < 0.1
    assert episode_scale(np.array([1.0, 3.0] * 5), np.full(10, 500), "flicker").spread > 0.4
    frames[3] = np.nan
    with pytest.raises(EgocentricError, match=r"kitchen_3: metric scale: .* found them in 8 of 10"):
        episode_scale(frames, np.full(10, 500), "kitchen_3")


def test_only_positions_are_scaled():
    T = se3_exp(RNG.normal(size=(4, 6)))
    scaled = metric_path(T, 2.0)
    np.testing.assert_array_equal(scaled[:, :3, :3], T[:, :3, :3])
    np.testing.assert_array_equal(scaled[:, :3, 3], 2 * T[:, :3, 3])
    with pytest.raises(GeometryError, match="expected a positive number"):
        metric_path(T, float("nan"))
