"""The page that `inspect` writes: several datasets side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from activemimic_data.dataset.read import Dataset, EpisodeRow
from activemimic_rollout.reports.html import render

from activemimic_training.analysis.dataset_figures import distributions, slots_over_time, strip
from activemimic_training.analysis.inspect import (
    FAR,
    NEAR_CONSTANT,
    InspectReport,
    compare,
    fit_rows,
    relative_actions,
    slot_limits,
)

_EPISODES_SHOWN = 2
_APART = 2.0  # standard deviations between two datasets' means, to be called out by name
_Z_SHOWN = 8.0  # the histograms' ends; what lies beyond is counted in the last bin


@dataclass(frozen=True)
class EpisodeView:
    """An episode in pictures (PNG): what each camera saw, and every slot over time."""

    row: EpisodeRow
    strips: Mapping[str, bytes]
    slots: bytes


@dataclass(frozen=True)
class DatasetView:
    """One of the datasets, what is odd about it, a line each, and its first episodes."""

    name: str
    dataset: Dataset
    report: InspectReport
    remarks: Sequence[str]
    shown: Sequence[EpisodeView]


@dataclass(frozen=True)
class InspectView:
    """What `templates/inspect.html` shows.

    Attributes:
        names: of the datasets.
        commands, states, relative: histograms (PNG) of commands in slot units, and of states and relative commands as
            the first dataset's statistics normalise them.
        apart: what differs between the first dataset and the others, a line each.
        comparison: rows of dataset, slot, its mean and its spread measured by the first dataset.
    """

    names: Sequence[str]
    datasets: Sequence[DatasetView]
    commands: bytes
    states: bytes
    relative: bytes
    apart: Sequence[str]
    comparison: Sequence[Sequence[str]]


def write_page(path: Path, datasets: Sequence[Dataset], reports: Sequence[InspectReport]) -> None:
    """A self-contained page."""
    names = _names(datasets)
    views = [_dataset(*it) for it in zip(names, datasets, reports, strict=True)]
    view = InspectView(names, views, *_distributions(names, datasets), *_comparison(names, datasets))
    path.write_text(render(__package__, "inspect.html", view), encoding="utf-8")


def _names(datasets: Sequence[Dataset]) -> list[str]:
    names = [dataset.root.name or str(dataset.root) for dataset in datasets]
    return names if len(set(names)) == len(names) else [str(dataset.root) for dataset in datasets]


def _dataset(name: str, dataset: Dataset, report: InspectReport) -> DatasetView:
    least_span = [
        4 * NEAR_CONSTANT * (1.0 if np.isnan(slot.upper) else slot.upper - slot.lower) for slot in report.slots
    ]
    shown = [
        EpisodeView(
            row,
            {camera: strip(dataset, camera, row) for camera in dataset.cameras},
            slots_over_time(dataset, row, least_span),
        )
        for row in report.episodes[:_EPISODES_SHOWN]
    ]
    return DatasetView(name, dataset, report, _remarks(report), shown)


def _remarks(report: InspectReport) -> list[str]:
    lines = []
    if report.near_constant:
        lines.append(f"Nearly constant slots: {', '.join(report.near_constant)}")
    if report.out_of_range:
        lines.append(f"Commands beyond the limits: {', '.join(report.out_of_range)}")
    far = [f"{slot.name} ({slot.farthest_z:.0f} std)" for slot in report.slots if slot.farthest_z > FAR]
    if far:
        lines.append(f"States far from the mean: {', '.join(far)}")
    lines += [f"Skipped {entry['bag']}: {entry['reason']}" for entry in report.skipped]
    lines += [f"Cut {cut['bag']}, {cut['from_s']:.2f} to {cut['to_s']:.2f} s: {cut['reason']}" for cut in report.cuts]
    return lines


def _distributions(names: list[str], datasets: Sequence[Dataset]) -> tuple[bytes, bytes, bytes]:
    """PNG of what is commanded, and of states and commands as the network sees them by the first's normalisation."""
    first = datasets[0]
    slots = {slot["name"]: f"{slot['name']} ({slot['unit']})" for d in datasets for slot in d.interface["slots"]}
    limits = {
        slot: (float(low), float(high))
        for dataset in datasets
        for slot, (low, high) in zip(dataset.slots, slot_limits(dataset), strict=True)
        if not np.isnan(low)
    }
    raw = {
        name: dict(zip(dataset.slots, dataset.action.T, strict=True))
        for name, dataset in zip(names, datasets, strict=True)
    }
    statistics = fit_rows(first)
    z_slots = {slot: slot for slot in first.slots}
    states: dict[str, dict[str, np.ndarray]] = {}
    actions: dict[str, dict[str, np.ndarray]] = {}
    for name, dataset in zip(names, datasets, strict=True):
        shared = [slot for slot in first.slots if slot in dataset.slots]
        if not shared:
            continue
        ours, theirs = ([own.slots.index(slot) for slot in shared] for own in (first, dataset))
        for target, values, which in (
            (states, dataset.state, statistics.normalize_state),
            (actions, relative_actions(dataset), statistics.normalize_actions),
        ):
            # Columns in the first dataset's order; those that the other lacks are never shown.
            whole = np.zeros((len(values), len(first.slots)))
            whole[:, ours] = values[:, theirs]
            z = np.clip(which(whole), -_Z_SHOWN, _Z_SHOWN)
            target[name] = {slot: z[:, column] for slot, column in zip(shared, ours, strict=True)}
    normalised = f"standard deviations, cut at {_Z_SHOWN:g}"
    return (
        distributions(slots, raw, limits, "slot units; limits red"),
        distributions(z_slots, states, {}, normalised),
        distributions(z_slots, actions, {}, normalised),
    )


def _comparison(names: list[str], datasets: Sequence[Dataset]) -> tuple[list[str], list[list[str]]]:
    first = datasets[0]
    rows, apart = [], []
    for name, other in zip(names[1:], datasets[1:], strict=True):
        for found in compare(first, other):
            rows.append([name, found.slot, f"{found.mean_z:+.2f}", f"{found.spread:.2f}"])
            if abs(found.mean_z) > _APART:
                apart.append(f"{found.slot} of {name} lies {found.mean_z:+.1f} standard deviations from {names[0]}")
        alone = [slot for slot in first.slots if slot not in other.slots]
        theirs = [slot for slot in other.slots if slot not in first.slots]
        apart += [f"Only in {names[0]}: {', '.join(alone)}"] if alone else []
        apart += [f"Only in {name}: {', '.join(theirs)}"] if theirs else []
    return apart, rows
