"""A policy's chunks on the observations of a recorded episode.

Axes: C chunks, T horizon, S slots, N rows of the episode.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from activemimic_data.dataset.read import Dataset
from activemimic_description.common.errors import InvalidInputError
from activemimic_description.interface import differences
from activemimic_policy.inference import Policy

from activemimic_training.egocentric.episodes.load import is_egocentric


class OpenLoopError(InvalidInputError):
    """A policy and a dataset that do not fit each other, or an episode that there is not."""


@dataclass(frozen=True)
class Prediction:
    """The chunks that a policy gives along one episode, in slot units.

    Attributes:
        starts: (C,) the episode's rows at which they were predicted.
        predicted: (C, T, S) targets; target k is due `stride * (k + 1)` rows after the start.
        recorded: (C, T, S) what was commanded for then; NaN past the end of the episode.
        state, action: (N, S) the episode's columns.
        images: by chunk, what the head camera showed, (H, W, 3) uint8 RGB; empty without one.
    """

    episode: int
    task: str
    starts: np.ndarray
    predicted: np.ndarray
    recorded: np.ndarray
    state: np.ndarray
    action: np.ndarray
    stride: int
    images: list[np.ndarray] = field(default_factory=list)

    @property
    def error(self) -> np.ndarray:
        """(C, T, S) distance between predicted and recorded; NaN past the end of the episode."""
        return np.abs(self.predicted - self.recorded)

    @property
    def staying_error(self) -> np.ndarray:
        """(C, T, S) the same for a policy that stays where it is: what an error has to be compared with."""
        return np.abs(self.state[self.starts][:, None] - self.recorded)


def check_fit(policy: Policy, dataset: Dataset) -> int:
    """How many rows of the dataset a step of the policy lasts. Raises OpenLoopError, naming every difference."""
    if is_egocentric(dataset):
        raise OpenLoopError(
            f"{dataset.root}: expected what a robot commanded; its targets have another frame for every chunk"
        )
    if found := differences(policy.spec.interface, dataset.interface, "the checkpoint", "the dataset"):
        raise OpenLoopError(f"{dataset.root} does not fit the checkpoint: {'; '.join(found)}")
    if dataset.fps % policy.spec.fps:
        raise OpenLoopError(
            f"{dataset.root}: fps: expected a multiple of the policy's {policy.spec.fps}, found {dataset.fps}"
        )
    return dataset.fps // policy.spec.fps


def predict_episode(policy: Policy, dataset: Dataset, index: int) -> Prediction:
    """The policy's chunks along an episode, as often as it would replan while nothing is late.

    The noise is drawn from the episode's number: the same checkpoint gives the same chunks.

    Raises:
        OpenLoopError: policy and dataset do not fit.
        DatasetError: the dataset is damaged.
    """
    stride = check_fit(policy, dataset)
    spec, episode = policy.spec, dataset.episodes[index]
    rows = slice(episode.start, episode.stop)
    state, action = dataset.state[rows].astype(np.float64), dataset.action[rows].astype(np.float64)
    every = spec.execution_horizon * stride
    random = np.random.default_rng([index, 23])
    starts, predicted, images = [], [], []
    streams = [dataset.frames(camera, index, every) for camera in spec.cameras]
    for start, shown in zip(range(0, len(state), every), zip(*streams, strict=True), strict=True):
        seen = dict(zip(spec.cameras, shown, strict=True))
        predicted.append(policy.infer(seen, state[start], episode.task, spec.draw_noise(random)))
        starts.append(start)
        if "head" in seen:
            images.append(seen["head"])
    # The action of a row is what was commanded by the next one.
    due = np.array(starts)[:, None] + stride * np.arange(1, spec.horizon + 1) - 1
    recorded = np.where((due < len(action))[..., None], action[np.minimum(due, len(action) - 1)], np.nan)
    return Prediction(
        index, episode.task, np.array(starts), np.array(predicted), recorded, state, action, stride, images
    )
