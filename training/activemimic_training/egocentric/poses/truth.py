"""Backends that know the truth and spoil it as asked: what the stages after them are worth is measured with these.

A trajectory's `wrist_observed` tells which hands are in view; the others are not found, unless they are hallucinated.
The same settings spoil the same clip in the same way. Without any noise the truth comes out as it is.
"""

from __future__ import annotations

import zlib

import numpy as np

from activemimic_training.egocentric.poses.clip import Clip
from activemimic_training.egocentric.poses.estimates import CameraEstimate, WristEstimate
from activemimic_training.egocentric.settings.pose_settings import PoseNoise, TruthCamera, TruthWrists
from activemimic_training.egocentric.spatial.geometry import Floats, inverse, is_known, se3_exp, transform
from activemimic_training.egocentric.spatial.pose_trajectory import FPS, EgoTrajectory, Flags

_DRIFT_S = 1.5  # drift changes within such a time
_HAND_M = 0.2  # around a wrist, what the hand may cover


def truth_wrists(settings: TruthWrists, clip: Clip) -> WristEstimate:
    """The true wrists in the camera's frame, as the settings spoil them. Raises EgocentricError."""
    numbers = _numbers(settings.seed, clip.name, "wrists")
    return spoiled_wrists(settings, _truth(settings, clip), clip.K, (clip.width, clip.height), numbers)


def truth_camera(settings: TruthCamera, clip: Clip, wrists: WristEstimate) -> CameraEstimate:
    """The true path, as the settings spoil it. Raises EgocentricError."""
    return spoiled_camera(settings, _truth(settings, clip), _numbers(settings.seed, clip.name, "camera"))


def spoiled_wrists(
    settings: TruthWrists, truth: EgoTrajectory, K: Floats, size: tuple[int, int], numbers: np.random.Generator
) -> WristEstimate:
    """Args: K: (3, 3); size: width and height of the image, px."""
    frames = len(truth)
    wrists = inverse(truth.T_world_camera)[:, None] @ truth.T_world_wrist
    seen = truth.wrist_observed & truth.camera_valid[:, None]
    for hand in range(2):
        poses = _noisy(wrists[:, hand], settings, numbers)
        dreamt = ~seen[:, hand] & _bursts(numbers, frames, settings.hallucinated, settings.burst_s)
        poses[dreamt] = _dreams(numbers, frames)[dreamt]
        poses[~(seen[:, hand] | dreamt)] = np.nan
        poses[_bursts(numbers, frames, settings.dropout, settings.burst_s)] = np.nan
        wrists[:, hand] = poses
    swapped = _bursts(numbers, frames, settings.swapped, settings.burst_s)
    wrists[swapped] = wrists[swapped, ::-1]
    return WristEstimate(truth.time_ns, wrists, is_known(wrists).astype(np.float64), _boxes(wrists, K, size))


def spoiled_camera(settings: TruthCamera, truth: EgoTrajectory, numbers: np.random.Generator) -> CameraEstimate:
    """What is lost is lost after the path has drifted; a path that drifts in scale is made metric as in Eq. 8."""
    frames = len(truth)
    poses = _noisy(truth.T_world_camera, settings, numbers)
    scales = np.zeros(0)
    if settings.scale_drift or settings.scale_noise:
        # Of the path as it was found, in m per m; what compares it with depths sees the inverse, and noise.
        local = np.exp(settings.scale_drift * np.cumsum(_slow(numbers, frames, 1)[:, 0]) / np.sqrt(10 * FPS * _DRIFT_S))
        scales = np.exp(settings.scale_noise * numbers.normal(size=frames)) / local
        steps = np.diff(poses[:, :3, 3], axis=0, prepend=poses[:1, :3, 3]) * local[:, None]
        poses[:, :3, 3] = poses[0, :3, 3] + np.cumsum(steps, axis=0) * np.median(scales)
    poses[_bursts(numbers, frames, settings.dropout, settings.burst_s)] = np.nan
    return CameraEstimate(truth.time_ns, poses, is_known(poses).astype(np.float64), scales)


def _truth(settings: PoseNoise, clip: Clip) -> EgoTrajectory:
    path = settings.folder / f"{clip.item.id}.npz"
    return EgoTrajectory.load(path).at(clip.time_ns, path)


def _numbers(seed: int, name: str, what: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(f"{name}/{what}".encode())])


def _noisy(poses: Floats, noise: PoseNoise, numbers: np.random.Generator) -> Floats:
    """Poses (T, 4, 4), each moved in its own axes, spikes and jumps among them; a new array."""
    frames = len(poses)
    white, drift = (
        np.repeat([metres, np.radians(degrees)], 3)
        for metres, degrees in ((noise.position_m, noise.rotation_deg), (noise.drift_m, noise.drift_deg))
    )
    twist = white * numbers.normal(size=(frames, 6)) + drift * _slow(numbers, frames, 6)
    twist[:, :3] += (numbers.random(frames) < noise.spikes)[:, None] * _anywhere(numbers, frames, noise.jump_m)
    begins = numbers.random(frames) < noise.jumps_per_min / 60 / FPS
    twist[:, :3] += np.cumsum(begins[:, None] * _anywhere(numbers, frames, noise.jump_m), axis=0)
    return poses @ se3_exp(twist) if twist.any() else poses.copy()


def _anywhere(numbers: np.random.Generator, count: int, metres: float) -> Floats:
    """(count, 3), each so far off in a direction of its own."""
    ways = numbers.normal(size=(count, 3))
    return metres * ways / np.linalg.norm(ways, axis=1, keepdims=True)


def _slow(numbers: np.random.Generator, frames: int, width: int) -> Floats:
    """(frames, width), each of deviation 1 and like those within _DRIFT_S."""
    reach = round(4 * _DRIFT_S * FPS)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (_DRIFT_S * FPS / np.sqrt(2))) ** 2)
    white = numbers.normal(size=(frames + 2 * reach, width))
    return np.stack([np.convolve(it, kernel, "valid") for it in white.T], axis=1) / np.linalg.norm(kernel)


def _bursts(numbers: np.random.Generator, frames: int, share: float, mean_s: float) -> Flags:
    """(frames,), set in a `share` of them on average, in stretches of `mean_s` on average."""
    draws = numbers.random(frames)
    ends = min(1.0, 1 / (mean_s * FPS))
    begins = 1.0 if share >= 1 else min(1.0, ends * share / (1 - share))
    found = np.zeros(frames, np.bool_)
    inside = bool(numbers.random() < share)
    for frame, draw in enumerate(draws):
        inside = bool(draw >= ends if inside and share < 1 else draw < begins)
        found[frame] = inside
    return found


def _dreams(numbers: np.random.Generator, frames: int) -> Floats:
    """Poses (frames, 4, 4) of a hand that is none: about a place before the camera, smooth, so that it looks real."""
    place = np.array([numbers.uniform(-0.25, 0.25), numbers.uniform(-0.1, 0.25), numbers.uniform(0.3, 0.7)])
    around = 0.05 * _slow(numbers, frames, 6)
    return transform(np.eye(3), place) @ se3_exp(around + np.array([0, 0, 0, *numbers.normal(size=3)]))


def _boxes(wrists: Floats, K: Floats, size: tuple[int, int]) -> Floats:
    """(T, 2, 4) px around wrists (T, 2, 4, 4) in the camera's frame, NaN where nothing of it is inside the image."""
    centre = wrists[..., :3, 3]
    depth = np.where(centre[..., 2] > 0.05, centre[..., 2], np.nan)
    middle = centre[..., :2] / depth[..., None] * K[[0, 1], [0, 1]] + K[:2, 2]
    half = _HAND_M / depth[..., None] * K[[0, 1], [0, 1]]
    edge = np.array(size, np.float64) - 1
    low, high = np.clip(middle - half, 0, edge), np.clip(middle + half, 0, edge)
    inside = (low < high).all(axis=-1)
    return np.where(inside[..., None], np.concatenate([low, high], axis=-1), np.nan)
