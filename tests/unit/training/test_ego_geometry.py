"""Rigid motions, rot6d and the chunk-relative action, in numpy."""

import numpy as np
import pytest
from activemimic_training.egocentric.spatial import geometry as g
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

EXACT = 1e-12
NEAR_HALF_TURN = np.pi - 1e-4
METRES = st.floats(-5, 5)


@st.composite
def motions(draw, *shape):
    """(*shape, 4, 4): turns of 0 to nearly half a turn, tiny ones among them."""
    count = int(np.prod(shape, dtype=int))
    axes = draw(arrays(np.float64, (count, 3), elements=st.floats(-1, 1)))
    axes = axes + np.array([0, 0, 1.5])  # never zero
    angles = draw(arrays(np.float64, count, elements=st.floats(0, NEAR_HALF_TURN)))
    w = axes / np.linalg.norm(axes, axis=1, keepdims=True) * angles[:, None]
    v = draw(arrays(np.float64, (count, 3), elements=METRES))
    return g.se3_exp(np.concatenate([v, w], axis=1)).reshape(*shape, 4, 4)


def same(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


@settings(max_examples=40)
@given(motions(4))
def test_exponential_and_logarithm_undo_each_other(T):
    assert g.is_rigid(T).all()
    same(g.se3_exp(g.se3_log(T)), T)
    same(g.inverse(T) @ T, np.broadcast_to(np.eye(4), T.shape))


@pytest.mark.parametrize("axis", np.vstack([np.eye(3), -np.eye(3), np.ones((1, 3)) / np.sqrt(3)]))
@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-8, 0.0999999, 0.1, 3.0, np.pi])
def test_the_logarithm_is_exact_from_no_turn_to_half_a_turn(axis, angle):
    T = g.se3_exp(np.concatenate([[1.0, -2.0, 3.0], axis * angle]))
    same(g.rotation_angle(T[:3, :3]), angle)
    same(g.se3_exp(g.se3_log(T)), T)


@settings(max_examples=40)
@given(motions(3), st.floats(0, 1))
def test_interpolation_meets_its_ends_and_does_not_care_about_the_frame(T, fraction):
    a, b, world = T
    same(g.interpolate(a, b, 0.0), a)
    same(g.interpolate(a, b, 1.0), b)
    same(g.interpolate(world @ a, world @ b, fraction), world @ g.interpolate(a, b, fraction), 1e-11)


@settings(max_examples=40)
@given(motions(2, 3))
def test_actions_and_poses_undo_each_other(bodies):
    action = g.action_of_poses(bodies)
    assert action.shape == (2, 27)
    same(g.poses_of_action(action), bodies)
    same(g.action_of_poses(g.poses_of_action(action)), action)


def test_rot6d_is_two_columns_one_after_the_other():
    R = np.arange(9.0).reshape(3, 3)
    assert g.rot6d(R).tolist() == [0, 3, 6, 1, 4, 7]


@given(arrays(np.float64, 6, elements=st.floats(-10, 10)))
def test_any_six_numbers_give_a_rotation_or_none(r6):
    R = g.rotation(r6)
    if np.isnan(R).any():
        assert np.isnan(R).all()
        a, b = np.linalg.norm(r6[:3]), np.linalg.norm(r6[3:])
        assert min(a, b) < 1e-150 or np.linalg.norm(np.cross(r6[:3] / a, r6[3:] / b)) < 2e-8
    else:
        same(R.T @ R, np.eye(3))
        same(np.linalg.det(R), 1.0)
        same(R[:, 0], r6[:3] / np.linalg.norm(r6[:3]))


@pytest.mark.parametrize(
    "r6",
    [
        [0, 0, 0, 0, 1, 0],
        [1, 0, 0, 0, 0, 0],
        [1, 2, 3, 2, 4, 6],
        [1, 2, 3, -1, -2, -3],
        [3e-161, 3e-161, 3e-161, 3e-161, 0, 3e-161],
        [np.nan, 0, 0, 0, 1, 0],
        [np.inf, 0, 0, 0, 1, 0],
        [0, 1, 0, 0, 0, np.nan],
    ],
)
def test_where_no_rotation_is_defined_there_is_none(r6):
    r6 = np.array(r6, dtype=np.float64)
    assert np.isnan(g.rotation(r6)).all()
    both = g.rotation(np.array([r6, [2.0, 0, 0, 1, 1, 0]]))
    assert np.isnan(both[0]).all()
    same(both[1], np.eye(3))


@settings(max_examples=40)
@given(motions(6), motions(2))
def test_a_hand_that_stands_still_under_a_moving_head_has_one_target(head, hands):
    in_camera = g.inverse(head)[:, None] @ hands
    world_hands = g.wrists_in_world(head, in_camera)
    bodies = np.concatenate([head[:, None], world_hands], axis=1)
    targets = g.action_of_poses(g.chunk_relative(head[0], bodies))
    same(targets[:, 9:], np.broadcast_to(targets[0, 9:], (6, 18)), 1e-11)
    same(targets[0, :9], [0, 0, 0, 1, 0, 0, 0, 1, 0])


@settings(max_examples=40)
@given(motions(5, 3), motions())
def test_targets_do_not_depend_on_the_world(bodies, moved):
    here = g.action_of_poses(g.chunk_relative(bodies[0, 0], bodies))
    there = moved @ bodies
    same(g.action_of_poses(g.chunk_relative(there[0, 0], there)), here, 1e-11)


@settings(max_examples=40)
@given(motions(4, 3))
def test_targets_lead_back_to_the_poses(bodies):
    start = bodies[0, 0]
    targets = g.action_of_poses(g.chunk_relative(start, bodies))
    same(start @ g.poses_of_action(targets), bodies)


def test_a_missing_pose_stays_missing():
    missing = np.full((4, 4), np.nan)
    assert np.isnan(g.se3_log(missing)).all()
    assert not g.is_rigid(missing)
