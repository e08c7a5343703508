"""Chunks become one motion, continuous in position, velocity and acceleration, through every point."""

from __future__ import annotations

import numpy as np
import pytest
from activemimic_control.chunk_trajectory import Blend, Spline
from activemimic_control.player import ChunkPlayer
from activemimic_description.chunk import Chunk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

MS = 1_000_000
STEP_S = 0.1
NUMBERS = st.floats(-2, 2, allow_subnormal=False)
POINTS = st.integers(2, 20).flatmap(lambda count: arrays(np.float64, (count, 2), elements=NUMBERS))


@given(POINTS)
def test_a_spline_passes_every_point_and_has_no_jump_in_position_velocity_or_acceleration(points: np.ndarray) -> None:
    spline = Spline(points, STEP_S)
    for k, point in enumerate(points):
        np.testing.assert_allclose(spline.at(k * STEP_S)[0], point, atol=1e-9)
        before, after = spline.at(k * STEP_S - 1e-9), spline.at(k * STEP_S + 1e-9)
        for derivative, scale in enumerate((1, 10, 1000)):
            np.testing.assert_allclose(before[derivative], after[derivative], atol=1e-4 * scale)


@given(POINTS, st.floats(-0.05, 2.0))
def test_velocity_and_acceleration_are_the_derivatives(points: np.ndarray, at_s: float) -> None:
    spline, d = Spline(points, STEP_S), 1e-5
    before, now, after = (spline.at(at_s + shift)[0] for shift in (-d, 0, d))
    _, velocity, acceleration = spline.at(at_s)
    scale = max(1.0, float(np.abs(acceleration).max()))
    np.testing.assert_allclose((after - before) / (2 * d), velocity, atol=1e-4 * scale)
    # Across a point the acceleration has a kink.
    np.testing.assert_allclose((after - 2 * now + before) / d**2, acceleration, atol=2e-2 * scale)


@given(POINTS)
def test_between_two_points_it_departs_from_the_straight_line_by_no_more_than_the_documented_bound(
    points: np.ndarray,
) -> None:
    spline = Spline(points, STEP_S)
    bound = 3 / 8 * np.abs(np.diff(points, 2, axis=0)).max(initial=0.0)
    for time_s in np.linspace(0, (len(points) - 1) * STEP_S, 101):
        straight = [np.interp(time_s, STEP_S * np.arange(len(points)), column) for column in points.T]
        assert np.abs(spline.at(time_s)[0] - straight).max() <= bound + 1e-9


def test_what_a_robot_can_follow_is_not_overshot_by_more_than_a_thousandth() -> None:
    """An arm that brakes at 5 rad/s² onto a place: the spline swings through by next to nothing."""
    time_s = STEP_S * np.arange(16)
    place = np.where(time_s < 1.0, time_s - time_s**2 / 2, 0.5)
    swing = np.array([Spline(place[:, None], STEP_S).at(t)[0, 0] for t in np.linspace(0, 1.5, 500)])
    assert swing.max() < 0.5 + 1e-3


def test_parabolas_and_lines_are_themselves_also_before_the_first_point() -> None:
    time_s = STEP_S * np.arange(6)[:, None]
    for points, at in ((1 + 2 * time_s, lambda t: 1 + 2 * t), (3 * time_s**2, lambda t: 3 * t**2)):
        spline = Spline(points, STEP_S)
        for t in (-0.1, -0.03, 0.0, 0.17, 0.5):
            assert spline.at(t)[0, 0] == pytest.approx(at(t))


@given(arrays(np.float64, (3, 2), elements=NUMBERS), st.floats(0.05, 0.5))
def test_a_blend_goes_from_one_motion_to_another_in_position_velocity_and_acceleration(
    difference: np.ndarray, duration_s: float
) -> None:
    blend = Blend(difference, duration_s)
    np.testing.assert_allclose(blend.at(0.0), difference, atol=1e-9)
    end = blend.at(duration_s * (1 - 1e-9))
    assert end is not None
    np.testing.assert_allclose(end, 0.0, atol=1e-3)
    assert blend.at(duration_s) is None


@given(st.floats(0.05, 0.5))
def test_a_difference_in_position_fades_without_swinging_at_less_than_twice_its_mean_speed(duration_s: float) -> None:
    blend = Blend(np.array([[1.0], [0.0], [0.0]]), duration_s)
    motion = np.array([blend.at(t) for t in np.linspace(0, duration_s, 200, endpoint=False)])
    assert np.all(np.diff(motion[:, 0, 0]) <= 1e-12)
    assert motion[:, 0, 0].min() >= 0
    assert np.abs(motion[:, 1, 0]).max() <= 15 / 8 / duration_s + 1e-9


@settings(max_examples=50)
@given(
    chunks=arrays(np.float64, (5, 8, 2), elements=NUMBERS),
    lates_ms=st.lists(st.integers(0, 250), min_size=5, max_size=5),
    period_ms=st.integers(40, 400),
)
def test_where_chunks_join_position_velocity_and_acceleration_go_on_as_they_were(
    chunks: np.ndarray, lates_ms: list[int], period_ms: int
) -> None:
    """Looked at every 10 µs around each join: before and after it, the differences of positions agree."""
    us = 1000
    player = ChunkPlayer(("a", "b"))
    player.reset([0.0, 0.0])
    for join, (points, late_ms) in enumerate(zip(chunks, lates_ms, strict=True)):
        join_ns = join * period_ms * MS
        if join:
            for t in range(join_ns - (period_ms - 1) * MS, join_ns - MS, 5 * MS):
                player.sample(t)
        before = [player.sample(join_ns - t * us) for t in (30, 20, 10)]
        player.accept(Chunk(join_ns - late_ms * MS, 100 * MS, points))
        after = [player.sample(join_ns + t * us) for t in (0, 10, 20)]
        if None in before:
            continue
        wanted = [*before, *after]
        positions, velocities = (np.array([getattr(w, name) for w in wanted]) for name in ("position", "velocity"))
        np.testing.assert_allclose(np.diff(positions, axis=0) / 1e-5, velocities[1:], atol=0.1)
        accelerations = np.diff(velocities, axis=0) / 1e-5
        # The jerk that joins places metres apart in 0.2 s is up to some 1e5 per s³, and acts for 40 µs.
        np.testing.assert_allclose(accelerations[1:], accelerations[:-1], atol=20.0)


def test_a_chunk_that_goes_on_from_what_is_executed_changes_nothing_before_it_differs() -> None:
    time_s = STEP_S * np.arange(1, 31)
    path = np.sin(2 * time_s)[:, None]
    alone, joined = ChunkPlayer(("a",)), ChunkPlayer(("a",))
    for player in (alone, joined):
        player.accept(Chunk(0, 100 * MS, path[:16]))
    off = []
    for t in range(0, 1500, 10):
        if t == 560:
            joined.accept(Chunk(500 * MS, 100 * MS, path[5:21]))
        a, b = alone.sample(t * MS), joined.sample(t * MS)
        assert a is not None
        assert b is not None
        off.append(abs(a.velocity[0] - b.velocity[0]))
    assert max(off) < 0.02 * 3.14  # of an arm joint's limit; the sine is at 2 rad/s


def test_latched_grippers_are_not_splined() -> None:
    player = ChunkPlayer(("a", "gripper"), ("gripper",))
    player.accept(Chunk(0, 100 * MS, np.array([[0, 0], [0, 0], [0, 1], [0, 1], [0, 1]], dtype=float)))
    wanted = [player.sample(t * MS) for t in range(0, 500, 10)]
    assert {w.position[1] for w in wanted if w} == {0.0, 1.0}
    assert {w.velocity[1] for w in wanted if w} == {0.0}
