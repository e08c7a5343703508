"""What can be mended in one body's track: false poses, short gaps, noise; and hands that were taken for each other.

A track is poses (T, 4, 4) on the grid, NaN where there is none, in a world that stands still. Nothing here judges an
episode as a whole; `quality.py` does.
"""

from __future__ import annotations

import itertools

import numpy as np

from activemimic_training.egocentric.spatial.geometry import (
    Floats,
    interpolate,
    inverse,
    is_known,
    rotation_angle,
    se3_exp,
    se3_log,
)
from activemimic_training.egocentric.spatial.pose_trajectory import FPS, Flags

_CROSSED_M = 0.005  # what a frame costs in which the left wrist is right of the right one: arms do cross for a while
_SWAPPED_M = 0.001  # and one whose hands are exchanged: without a reason they are not
_SWITCH_M = 0.15  # and every time that an exchange begins or ends
_FAR_M = 0.25  # more than this tells no more about who is who
_APPEARS_M = 0.25  # what it costs that a hand is seen which never was: else a lone hand's leap would be free
_UNSEEN_M = 0.05  # that a hand may travel for nothing in every frame in which it is not seen


def speeds(poses: Floats, frames: np.ndarray) -> tuple[Floats, Floats]:
    """m/s and rad/s between each of the poses (K, 4, 4) at the frames (K,) and the next: (K - 1,) each."""
    seconds = np.diff(frames) / FPS
    steps = inverse(poses[:-1]) @ poses[1:]
    return np.linalg.norm(steps[:, :3, 3], axis=1) / seconds, rotation_angle(steps[:, :3, :3]) / seconds


def plausible_runs(poses: Floats, valid: Flags, max_m_s: float, max_rad_s: float, max_gap: int) -> list[np.ndarray]:
    """The frames that a body can have been at, as runs within which it moves no faster than it can.

    Between two runs is a jump. The frames are chosen so that the fewest are lost, where a jump costs as much as
    `max_gap` frames: a false pose or a few of them are left out, while a track that goes on elsewhere is kept.
    """
    frames = np.flatnonzero(valid)
    if len(frames) == 0:
        return []
    linear, angular = speeds(poses[frames], frames)
    breaks = np.flatnonzero((linear > max_m_s) | (angular > max_rad_s)) + 1
    pieces = np.split(frames, breaks)
    first, last = (np.array([piece[index] for piece in pieces]) for index in (0, -1))
    # best[i]: the most frames, less jumps, of a choice that ends with piece i.
    best, before, joined = [float(len(pieces[0]))], [-1], [True]
    for index in range(1, len(pieces)):
        seconds = (first[index] - last[:index]) / FPS
        step = inverse(poses[last[:index]]) @ poses[first[index]]
        reachable = np.linalg.norm(step[:, :3, 3], axis=1) <= max_m_s * seconds
        reachable &= rotation_angle(step[:, :3, :3]) <= max_rad_s * seconds
        score = np.array(best) - np.where(reachable, 0, max_gap)
        former = int(index - 1 - score[::-1].argmax())  # of equals the nearest
        alone = score[former] <= 0
        best.append(len(pieces[index]) + max(float(score[former]), 0.0))
        before.append(-1 if alone else former)
        joined.append(bool(reachable[former]))
    runs: list[np.ndarray] = []
    index = int(np.argmax(best))
    tail: list[np.ndarray] = []
    while index >= 0:
        tail.insert(0, pieces[index])
        if before[index] < 0 or not joined[index]:
            runs.insert(0, np.concatenate(tail))
            tail = []
        index = before[index]
    return runs


def fill_gaps(poses: Floats, confidence: Floats, max_gap: int) -> tuple[Floats, Floats, Flags]:
    """Poses and confidence (T,) with every gap of at most `max_gap` frames filled, and which were (T,).

    What is filled in is the screw motion between the two ends, and is trusted as the worse of them.
    """
    poses, confidence = poses.copy(), confidence.copy()
    filled = np.zeros(len(poses), np.bool_)
    known = np.flatnonzero(is_known(poses))
    for before, after in itertools.pairwise(known):
        gap = after - before - 1
        if not 0 < gap <= max_gap:
            continue
        inside = slice(before + 1, after)
        fraction = np.arange(1, gap + 1) / (gap + 1)
        poses[inside] = interpolate(poses[before], poses[after], fraction)
        confidence[inside] = min(confidence[before], confidence[after])
        filled[inside] = True
    return poses, confidence, filled


def smoothed(poses: Floats, weights: Floats, half_window: int) -> Floats:
    """Each pose from the parabola through its neighbours, weighted by `weights` (T,) and by how near they are.

    The parabola is one of twists as seen from the pose itself: no frame is preferred, and steady acceleration stays.
    A pose with fewer than four such neighbours stays as it is.
    """
    if half_window < 1:
        return poses.copy()
    offsets = np.arange(-half_window, half_window + 1)
    at = np.arange(len(poses))[:, None] + offsets
    inside = (at >= 0) & (at < len(poses))
    at = np.clip(at, 0, len(poses) - 1)
    valid = is_known(poses)
    near = np.exp(-0.5 * (2 * offsets / half_window) ** 2)
    w = np.where(inside & valid[at] & valid[:, None], weights[at] * near, 0.0)
    twists = np.nan_to_num(se3_log(inverse(poses)[:, None] @ poses[at]))
    basis = (offsets[:, None] / half_window) ** np.arange(3)  # (W, 3)
    normal = np.einsum("tw,wi,wj->tij", w, basis, basis)
    right = np.einsum("tw,wi,twd->tid", w, basis, twists)
    enough = (w > 0).sum(axis=1) >= 5
    at_center = (np.linalg.pinv(normal, hermitian=True) @ right)[:, 0]
    return np.where(enough[:, None, None], poses @ se3_exp(np.where(enough[:, None], at_center, 0.0)), poses)


def swapped_hands(wrists_in_world: Floats, wrists_in_camera: Floats, max_gap: int) -> Flags:
    """In which frames (T,) left and right were taken for each other.

    Of all ways to exchange them or not, the one by which the hands travel least (Viterbi over two states), and cross
    as little as need be: seen from the camera, the left wrist is nearly always left of the right one.

    Args:
        wrists_in_world, wrists_in_camera: (T, 2, 4, 4), NaN where a hand is not seen.
        max_gap: frames after which a hand that is not seen can go no further for nothing.
    """
    places = wrists_in_world[..., :3, 3]
    apart_m = np.diff(wrists_in_camera[..., 0, 3], axis=1)[:, 0]  # how far right of the left wrist the right one is
    own = np.stack([_CROSSED_M * (apart_m < 0), _CROSSED_M * (apart_m > 0) + _SWAPPED_M], axis=1)  # as is, exchanged
    cost = np.zeros(2)
    last = np.full((2, 2, 3), np.nan)  # by state: where its left and right hand were last
    seen_at = np.full((2, 2), -np.inf)
    back = np.zeros((len(places), 2), np.int64)
    for frame, place in enumerate(places):
        if not np.isfinite(place).any():
            back[frame] = (0, 1)
            continue
        new = [place, place[::-1]]
        leeway = _UNSEEN_M * np.minimum(frame - 1 - seen_at, max_gap)
        travel = np.array(
            [[_travel(last[former], new[state], leeway[former]) for former in (0, 1)] for state in (0, 1)]
        )
        total = cost + travel + _SWITCH_M * (1 - np.eye(2))
        back[frame] = total.argmin(axis=1)
        cost = total.min(axis=1) + own[frame]
        last, seen_at = last[back[frame]], seen_at[back[frame]]
        for state in (0, 1):
            there = np.isfinite(new[state]).all(axis=1)
            last[state][there], seen_at[state][there] = new[state][there], frame
    state = int(cost.argmin())
    swapped = np.zeros(len(places), np.bool_)
    for frame in range(len(places) - 1, -1, -1):
        swapped[frame] = bool(state) and bool(np.isfinite(places[frame]).any())
        state = int(back[frame, state])
    return swapped


def _travel(before: Floats, now: Floats, leeway: Floats) -> float:
    """How far the hands (2, 3) went, m, beyond the leeway (2,) of those that were not seen for a while."""
    beyond = np.clip(np.linalg.norm(now - before, axis=1) - leeway, 0, _FAR_M)
    appears = np.isfinite(now).all(axis=1) & np.isnan(before).any(axis=1)
    return float(np.nansum(beyond) + _APPEARS_M * appears.sum())
