"""What was commanded and measured in an episode, from its bag or from a row of a dataset, to be replayed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from activemimic_data.dataset import Dataset
from activemimic_description.common.errors import InvalidInputError
from activemimic_description.contract import Contract, parse_contract

from activemimic_rollout.reports.recorded_trial import RecordedTrial

_NS = 1_000_000_000


class ReplayError(InvalidInputError):
    """An episode that cannot be replayed; the text says what was expected."""


@dataclass(frozen=True)
class RecordedActions:
    """One episode. Times are s since its first measurement.

    Attributes:
        name: the bag's, or the dataset's with the episode's number.
        seed: of the scene it was recorded in; None if that was no simulated one.
        command: (N, S) slot units; command k was sent at `command_s` k.
        measured: (M, S) slot units.
    """

    name: str
    contract: Contract
    task: str
    seed: int | None
    command_s: np.ndarray
    command: np.ndarray
    measured_s: np.ndarray
    measured: np.ndarray

    @property
    def duration_s(self) -> float:
        return float(self.command_s[-1])

    def commanded_at(self, time_s: float) -> np.ndarray:
        """(S,) the newest command at a time; before the first one, the first."""
        row = int(np.searchsorted(self.command_s, time_s + 1e-9, side="right")) - 1
        return self.command[max(row, 0)]

    def measured_at(self, times_s: np.ndarray) -> np.ndarray:
        """(K, S) the measurements, interpolated."""
        columns = [np.interp(times_s, self.measured_s, column) for column in self.measured.T]
        return np.stack(columns, axis=-1)


def is_recorded(text: str) -> bool:
    """Whether `text` names an episode's folder or, as FOLDER#NUMBER, one of a dataset."""
    folder, separator, number = text.rpartition("#")
    if separator and number.isdigit():
        return (Path(folder) / "meta/info.json").is_file()
    return (Path(text) / "episode.yaml").is_file()


def load_recorded(text: str) -> RecordedActions:
    """The episode that `text` names.

    Raises:
        ReplayError: there is no such episode, or nothing was commanded in it.
        BagError, DatasetError: it is damaged.
    """
    if not is_recorded(text):
        raise ReplayError(f"{text}: expected a recorded episode's folder, or a dataset's with #NUMBER behind it")
    folder, separator, number = text.rpartition("#")
    return _of_dataset(Path(folder), int(number)) if separator else _of_bag(text)


def _of_bag(folder: str) -> RecordedActions:
    trial = RecordedTrial(folder)
    motion = trial.motion
    # Contracts with several topics fill the vector one by one: it begins once all of it is known.
    commands = ~np.isnan(motion.command).any(axis=1)
    measured = ~np.isnan(motion.measured).any(axis=1)
    if not commands.any() or not measured.any():
        raise ReplayError(f"{folder}: expected commands and measurements of every slot, found none")
    start_s = motion.measured_s[measured][0]
    return RecordedActions(
        Path(folder).name,
        trial.contract,
        trial.info.task,
        trial.info.seed,
        motion.command_s[commands] - start_s,
        motion.command[commands],
        motion.measured_s[measured] - start_s,
        motion.measured[measured],
    )


def _of_dataset(root: Path, number: int) -> RecordedActions:
    dataset = Dataset(root)
    if number >= len(dataset.episodes):
        raise ReplayError(f"{root}#{number}: expected an episode from 0 to {len(dataset.episodes) - 1}")
    episode, bag = dataset.episodes[number], dataset.bags[number]
    rows = slice(episode.start, episode.stop)
    stamps = dataset.column("observation_stamp_ns")[rows]
    ages_ms = dataset.column("observation_age_ms")[rows, len(dataset.cameras) :].max(axis=1)
    measured_s = (stamps - stamps[0]) / _NS - ages_ms / 1e3
    start_s = measured_s[0]
    return RecordedActions(
        f"{root.name}#{number}",
        parse_contract(dataset.contract_yaml, str(root / "meta/activemimic.json")),
        bag["task"],
        bag["seed"],
        # A row's action is what was commanded by the next tick.
        (stamps - stamps[0]) / _NS + 1 / dataset.fps - start_s,
        dataset.action[rows].astype(np.float64),
        measured_s - start_s,
        dataset.state[rows].astype(np.float64),
    )
