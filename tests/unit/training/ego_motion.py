"""A person's camera and two hands at work, exactly, and with what an estimator adds."""

import numpy as np
from activemimic_training.egocentric.spatial.geometry import se3_exp, so3_exp, transform, wrists_in_world
from activemimic_training.egocentric.spatial.pose_trajectory import FPS, STEP_NS, EgoTrajectory

AHEAD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # OpenCV axes of a camera that looks along the world's x


def at_work(frames=60, phase=0.0, start_ns=0):
    """A head that looks about, and hands in front of it."""
    t = np.arange(frames) / FPS + phase
    turns = so3_exp(np.stack([0.1 * np.sin(0.7 * t), 0.5 * np.sin(0.9 * t), 0.05 * np.sin(t)], -1))
    place = np.stack([0.1 * np.sin(0.5 * t), 0.2 * np.sin(0.3 * t), 1.6 + 0.03 * np.sin(t)], -1)
    camera = transform(AHEAD @ turns, place)
    hands = [
        transform(
            so3_exp(np.stack([0.4 * np.sin(t), x * np.cos(t), 0.3 * np.sin(0.5 * t)], -1)),
            np.stack([x + 0.08 * np.sin(1.3 * t), 0.2 + 0.05 * np.cos(2 * t), 0.45 + 0.08 * np.sin(t)], -1),
        )
        for x in (-0.2, 0.2)
    ]
    bodies = np.concatenate([camera[:, None], wrists_in_world(camera, np.stack(hands, 1))], 1)
    return EgoTrajectory.of(start_ns + np.arange(frames) * STEP_NS, bodies)


def changed(trajectory, bodies, confidence=None):
    """The same times with other poses (T, 3, 4, 4), NaN where none."""
    return EgoTrajectory.of(trajectory.time_ns, bodies, confidence)


def noisy(trajectory, metres, radians=0.0, seed=0):
    """Every pose off by a random motion of its own."""
    spread = np.repeat([metres, radians], 3)
    return trajectory.bodies @ se3_exp(np.random.default_rng(seed).normal(size=(len(trajectory), 3, 6)) * spread)
