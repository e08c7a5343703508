"""The page that `inspect` writes: several datasets side by side."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from activemimic_data.dataset.read import Dataset
from activemimic_rollout.reports.html import bullets, page, picture, table

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
_TABLE_ROWS = 200
_APART = 2.0  # standard deviations between two datasets' means, to be called out by name
_Z_SHOWN = 8.0  # the histograms' ends; what lies beyond is counted in the last bin


def write_page(path: Path, datasets: Sequence[Dataset], reports: Sequence[InspectReport]) -> None:
    """A self-contained page."""
    names = _names(datasets)
    parts = [f"<h1>{escape(' and '.join(names))}</h1>"]
    for name, dataset, report in zip(names, datasets, reports, strict=True):
        parts.append(_about(name, dataset, report, len(datasets) > 1))
    parts += _distributions(names, datasets)
    if len(datasets) > 1:
        parts.append(_comparison(datasets, names))
    for name, dataset, report in zip(names, datasets, reports, strict=True):
        parts += _details(name, dataset, report, len(datasets) > 1)
    path.write_text(page(" and ".join(names), "\n".join(parts)), encoding="utf-8")


def _names(datasets: Sequence[Dataset]) -> list[str]:
    names = [dataset.root.name or str(dataset.root) for dataset in datasets]
    return names if len(set(names)) == len(names) else [str(dataset.root) for dataset in datasets]


def _about(name: str, dataset: Dataset, report: InspectReport, several: bool) -> str:
    heading = f"<h2>{escape(name)}</h2>" if several else ""
    facts = (
        f"<p>{len(report.episodes)} episodes, {report.rows} rows, {report.rows / report.fps / 60:.1f} min at "
        f"{report.fps} Hz. Robot {escape(dataset.interface['robot'])}, fingerprint {dataset.fingerprint[:12]}. "
        f"{report.masked_rows} rows masked.</p>"
    )
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
    return heading + facts + f'<div class="bad">{bullets(lines)}</div>'


def _distributions(names: list[str], datasets: Sequence[Dataset]) -> list[str]:
    """What is commanded, and what the network sees of it by the first dataset's normalisation."""
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
    by_whom = f" by {escape(names[0])}" if len(datasets) > 1 else ""
    return [
        "<h2>Distributions</h2>",
        "<h3>Commanded, slot units</h3>",
        picture(distributions(slots, raw, limits, "slot units; limits red")),
        f"<h3>States, normalised{by_whom}</h3>",
        picture(distributions(z_slots, states, {}, f"standard deviations, cut at {_Z_SHOWN:g}")),
        f"<h3>Commands relative to their row's state, normalised{by_whom}</h3>",
        picture(distributions(z_slots, actions, {}, f"standard deviations, cut at {_Z_SHOWN:g}")),
    ]


def _comparison(datasets: Sequence[Dataset], names: list[str]) -> str:
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
    heads = ("dataset", "slot", f"mean, in std of {names[0]}", "spread, as a share of it")
    return f"<h2>Against {escape(names[0])}</h2><div class='bad'>{bullets(apart)}</div>{table(heads, rows)}"


def _details(name: str, dataset: Dataset, report: InspectReport, several: bool) -> list[str]:
    prefix = f"{escape(name)}: " if several else ""
    episodes = [
        [
            str(row.index),
            dataset.bags[row.index]["bag"],
            row.task,
            str(row.stop - row.start),
            f"{(row.stop - row.start) / report.fps:.1f}",
        ]
        for row in report.episodes[:_TABLE_ROWS]
    ]
    slots = [
        [
            slot.name,
            slot.unit,
            "" if np.isnan(slot.lower) else f"{slot.lower:.2f} … {slot.upper:.2f}",
            *(f"{v:.3f}" for v in (slot.minimum, slot.q01, slot.mean, slot.q99, slot.maximum, slot.std)),
            "; ".join(slot.remarks),
        ]
        for slot in report.slots
    ]
    ages = [[source, f"{mean:.1f}", f"{largest:.1f}"] for source, (mean, largest) in report.ages_ms.items()]
    parts = [
        f"<h2>{prefix}episodes</h2>",
        table(("episode", "bag", "task", "rows", "seconds"), episodes),
        f"<h2>{prefix}what was commanded, slot by slot</h2>",
        table(("slot", "unit", "limits", "min", "q01", "mean", "q99", "max", "std", ""), slots),
        f"<h2>{prefix}age of the messages a row saw</h2>",
        table(("source", "mean ms", "largest ms"), ages),
    ]
    least_span = [
        4 * NEAR_CONSTANT * (1.0 if np.isnan(slot.upper) else slot.upper - slot.lower) for slot in report.slots
    ]
    for row in report.episodes[:_EPISODES_SHOWN]:
        parts.append(f"<h2>{prefix}episode {row.index}, {escape(row.task)}</h2>")
        parts += [f"<p>{escape(camera)}</p>{picture(strip(dataset, camera, row))}" for camera in dataset.cameras]
        parts.append(picture(slots_over_time(dataset, row, least_span)))
    return parts
