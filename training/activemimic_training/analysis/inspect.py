"""What is in datasets, at a glance: a page to look at, and the same as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from activemimic_data.dataset.dataset_error import DatasetError
from activemimic_data.dataset.read import Dataset, EpisodeRow
from activemimic_description.robot import ROBOTS_FOLDER, load_robot
from activemimic_policy.normalization import Normalization, fit_statistics
from activemimic_policy.transforms import RelativeActions, Sample

# A slot that moves less than this share of its range, q01 to q99, teaches nothing and makes normalisation explode.
NEAR_CONSTANT = 0.005
# Beyond a limit by more than this share of the range: more than a controller's overshoot.
BEYOND = 0.01
# A network that was trained on values within a few standard deviations has not learned what to do with these.
FAR = 6.0


@dataclass(frozen=True)
class SlotSummary:
    """One slot's commanded values over the whole dataset, in slot units. Limits are NaN where none are known.

    Attributes:
        farthest_z: the largest distance of a state from the mean, in standard deviations as the network sees it.
    """

    name: str
    unit: str
    lower: float
    upper: float
    minimum: float
    q01: float
    mean: float
    q99: float
    maximum: float
    std: float
    near_constant: bool
    rows_out_of_range: int
    farthest_z: float

    @property
    def remarks(self) -> list[str]:
        remarks = ["nearly constant"] if self.near_constant else []
        if self.rows_out_of_range:
            remarks.append(f"{self.rows_out_of_range} rows beyond the limits")
        if self.farthest_z > FAR:
            remarks.append(f"a state {self.farthest_z:.0f} standard deviations from the mean")
        return remarks


@dataclass(frozen=True)
class InspectReport:
    """A dataset in numbers."""

    root: Path
    fps: int
    rows: int
    tasks: list[str]
    episodes: list[EpisodeRow]
    slots: list[SlotSummary]
    ages_ms: dict[str, tuple[float, float]]  # source -> mean and largest age of its message at a row
    masked_rows: int
    skipped: list[dict[str, str]]
    cuts: list[dict[str, Any]]

    @property
    def near_constant(self) -> list[str]:
        return [slot.name for slot in self.slots if slot.near_constant]

    @property
    def out_of_range(self) -> list[str]:
        return [slot.name for slot in self.slots if slot.rows_out_of_range]


@dataclass(frozen=True)
class Difference:
    """Where another dataset's slot lies in the first one's, in the first one's standard deviations."""

    dataset: str
    slot: str
    mean_z: float
    spread: float  # its standard deviation over the first one's


def inspect_datasets(roots: Sequence[Path | str], html_path: Path | str) -> list[InspectReport]:
    """Write a self-contained page about datasets, which need not be of one robot, to `html_path`; return their numbers.

    Raises:
        DatasetError: a dataset is incomplete or contradicts itself, or has no rows.
    """
    from activemimic_training.analysis.inspect_page import write_page

    datasets = [Dataset(root) for root in roots]
    for dataset in datasets:
        if not len(dataset):
            raise DatasetError(f"{dataset.root}: expected at least one row, found none")
    reports = [_report(dataset) for dataset in datasets]
    write_page(Path(html_path), datasets, reports)
    return reports


def fit_rows(dataset: Dataset) -> Normalization:
    """The normalisation by the dataset's own rows; actions relative to their row's state, grippers absolute.

    The trainer's is over whole chunks, whose length belongs to the policy.
    """
    return Normalization(
        slots=tuple(dataset.slots),
        state=fit_statistics([dataset.state]),
        action=fit_statistics([relative_actions(dataset)]),
    )


def relative_actions(dataset: Dataset) -> np.ndarray:
    """(N, S) commands minus the state of their row; grippers as they are."""
    relative = tuple(slot["unit"] not in ("fraction", "raw") for slot in dataset.interface["slots"])
    actions = RelativeActions(relative)(Sample({}, dataset.state, dataset.action[:, None])).actions
    assert actions is not None
    return actions[:, 0]


def slot_limits(dataset: Dataset) -> np.ndarray:
    """(S, 2) lower and upper in slot units; NaN where the robot is not described."""
    name = dataset.interface["robot"]
    if not (ROBOTS_FOLDER / f"{name}.yaml").is_file():
        return np.full((len(dataset.slots), 2), np.nan)
    slots = {slot.name: slot for slot in load_robot(name).slots}
    return np.array([(slots[slot].lower, slots[slot].upper) for slot in dataset.slots])


def compare(first: Dataset, other: Dataset) -> list[Difference]:
    """Every slot that both have."""
    table = fit_rows(first)
    scale = np.maximum(np.array(table.state.std), table.std_floor)
    found = []
    for column, slot in enumerate(first.slots):
        if slot in other.slots:
            values = other.state[:, other.slots.index(slot)].astype(np.float64)
            mean_z = (values.mean() - table.state.mean[column]) / scale[column]
            found.append(Difference(other.root.name, slot, float(mean_z), float(values.std() / scale[column])))
    return found


def _report(dataset: Dataset) -> InspectReport:
    ages = dataset.column("observation_age_ms")
    return InspectReport(
        root=dataset.root,
        fps=dataset.fps,
        rows=len(dataset),
        tasks=dataset.tasks,
        episodes=dataset.episodes,
        slots=_slot_summaries(dataset),
        ages_ms={
            name: (float(ages[:, column].mean()), float(ages[:, column].max()))
            for column, name in enumerate(dataset.features["observation_age_ms"]["names"])
        },
        masked_rows=int((dataset.column("loss_weight") == 0).sum()),
        skipped=dataset.skipped,
        cuts=dataset.cuts,
    )


def _slot_summaries(dataset: Dataset) -> list[SlotSummary]:
    action = dataset.action.astype(np.float64)
    low, high = np.quantile(action, [0.01, 0.99], axis=0)
    limits = slot_limits(dataset)
    table = fit_rows(dataset)
    farthest = np.abs(table.normalize_state(dataset.state)).max(axis=0)
    summaries = []
    for index, slot in enumerate(dataset.interface["slots"]):
        values, (lower, upper) = action[:, index], limits[index]
        # Of a robot that is not described, a whole unit stands for the range; nothing is beyond limits of NaN.
        span = 1.0 if np.isnan(upper) else upper - lower
        beyond = (values < lower - BEYOND * span) | (values > upper + BEYOND * span)
        summaries.append(
            SlotSummary(
                name=slot["name"],
                unit=slot["unit"],
                lower=float(lower),
                upper=float(upper),
                minimum=float(values.min()),
                q01=float(low[index]),
                mean=float(values.mean()),
                q99=float(high[index]),
                maximum=float(values.max()),
                std=float(values.std()),
                near_constant=bool(high[index] - low[index] < NEAR_CONSTANT * span),
                rows_out_of_range=int(beyond.sum()),
                farthest_z=float(farthest[index]),
            )
        )
    return summaries
