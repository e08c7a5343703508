"""What is in a dataset, at a glance: a page to look at, and the same as plain data."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np
from activemimic_description.robot import load_robot

from activemimic_training.dataset.read import Dataset, EpisodeRow

# A slot that moves less than this share of its range, q01 to q99, teaches nothing and makes normalisation explode.
NEAR_CONSTANT = 0.005
# Beyond a limit by more than this share of the range: more than a controller's overshoot.
BEYOND = 0.01

_PLOTTED_EPISODES = 2
_STRIP_FRAMES = 8
_STRIP_HEIGHT = 112
_TABLE_ROWS = 200


@dataclass(frozen=True)
class SlotSummary:
    """One slot's commanded values over the whole dataset, in slot units."""

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

    @property
    def near_constant(self) -> list[str]:
        return [slot.name for slot in self.slots if slot.near_constant]

    @property
    def out_of_range(self) -> list[str]:
        return [slot.name for slot in self.slots if slot.rows_out_of_range]


def inspect_dataset(root: Path | str, html_path: Path | str) -> InspectReport:
    """Write a self-contained page about the dataset at `root` to `html_path`, and return its numbers.

    Raises:
        DatasetError: the dataset is incomplete or contradicts itself.
    """
    dataset = Dataset(root)
    ages = dataset.column("observation_age_ms")
    report = InspectReport(
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
    )
    Path(html_path).write_text(_page(dataset, report), encoding="utf-8")
    return report


def _slot_summaries(dataset: Dataset) -> list[SlotSummary]:
    action = dataset.action.astype(np.float64)
    low, high = np.quantile(action, [0.01, 0.99], axis=0)
    summaries = []
    for index, slot in enumerate(load_robot(dataset.interface["robot"]).slots):
        values, span = action[:, index], slot.upper - slot.lower
        beyond = (values < slot.lower - BEYOND * span) | (values > slot.upper + BEYOND * span)
        summaries.append(
            SlotSummary(
                name=slot.name,
                unit=slot.unit,
                lower=slot.lower,
                upper=slot.upper,
                minimum=float(values.min()),
                q01=float(low[index]),
                mean=float(values.mean()),
                q99=float(high[index]),
                maximum=float(values.max()),
                std=float(values.std()),
                near_constant=bool(high[index] - low[index] < NEAR_CONSTANT * span),
                rows_out_of_range=int(beyond.sum()),
            )
        )
    return summaries


def _page(dataset: Dataset, report: InspectReport) -> str:
    seconds = report.rows / report.fps
    parts = [
        f"<h1>{escape(report.root.name)}</h1>",
        f"<p>{len(report.episodes)} episodes, {report.rows} rows, {seconds / 60:.1f} min at {report.fps} Hz. "
        f"Robot {escape(dataset.interface['robot'])}, fingerprint {dataset.fingerprint[:12]}. "
        f"{report.masked_rows} rows masked.</p>",
        _findings(report),
        "<h2>Episodes</h2>",
        _table(
            ("episode", "bag", "task", "rows", "seconds"),
            (
                (
                    row.index,
                    dataset.bags[row.index]["bag"],
                    row.task,
                    row.stop - row.start,
                    f"{_length_s(row, report):.1f}",
                )
                for row in report.episodes[:_TABLE_ROWS]
            ),
        ),
        "<h2>What was commanded, slot by slot</h2>",
        _table(
            ("slot", "unit", "limits", "min", "q01", "mean", "q99", "max", "std", ""),
            (
                (
                    slot.name,
                    slot.unit,
                    f"{slot.lower:.2f} … {slot.upper:.2f}",
                    *(f"{v:.3f}" for v in (slot.minimum, slot.q01, slot.mean, slot.q99, slot.maximum, slot.std)),
                    "; ".join(_slot_remarks(slot)),
                )
                for slot in report.slots
            ),
        ),
        "<h2>Age of the messages a row saw</h2>",
        _table(
            ("source", "mean ms", "largest ms"),
            ((name, f"{mean:.1f}", f"{largest:.1f}") for name, (mean, largest) in report.ages_ms.items()),
        ),
    ]
    for row in report.episodes[:_PLOTTED_EPISODES]:
        parts.append(f"<h2>Episode {row.index}: {escape(row.task)}</h2>")
        for camera in dataset.cameras:
            parts.append(f"<p>{escape(camera)}</p>{_image(_strip(dataset, camera, row))}")
        parts.append(_image(_plot(dataset, row)))
    return _HTML.format(title=escape(report.root.name), body="\n".join(parts))


def _findings(report: InspectReport) -> str:
    lines = []
    if report.near_constant:
        lines.append(f"Nearly constant slots: {', '.join(report.near_constant)}")
    if report.out_of_range:
        lines.append(f"Commands beyond the limits: {', '.join(report.out_of_range)}")
    lines += [f"Skipped {entry['bag']}: {entry['reason']}" for entry in report.skipped]
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _slot_remarks(slot: SlotSummary) -> Iterable[str]:
    if slot.near_constant:
        yield "nearly constant"
    if slot.rows_out_of_range:
        yield f"{slot.rows_out_of_range} rows beyond the limits"


def _length_s(row: EpisodeRow, report: InspectReport) -> float:
    return (row.stop - row.start) / report.fps


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _strip(dataset: Dataset, camera: str, row: EpisodeRow) -> bytes:
    """Frames spread over an episode, side by side, as PNG."""
    images = list(dataset.frames(camera, row.index, every=max(1, (row.stop - row.start) // _STRIP_FRAMES)))
    height, width = images[0].shape[:2]
    size = (round(width * _STRIP_HEIGHT / height), _STRIP_HEIGHT)
    strip = np.hstack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images])
    return cv2.imencode(".png", cv2.cvtColor(strip, cv2.COLOR_RGB2BGR))[1].tobytes()


def _plot(dataset: Dataset, row: EpisodeRow) -> bytes:
    """Measured (solid) and commanded (dashed) values of every slot over an episode, as PNG."""
    from matplotlib.figure import Figure  # slow to import, and most users of this package never plot

    columns = 5
    lines = -(-len(dataset.slots) // columns)
    figure = Figure(figsize=(3 * columns, 1.7 * lines), dpi=70)
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True).ravel()
    # Fixed margins: a computed layout draws every label twice and takes seconds.
    figure.subplots_adjust(left=0.03, right=0.99, top=0.96, bottom=0.09, hspace=0.35, wspace=0.18)
    time_s = np.arange(row.stop - row.start) / dataset.fps
    for index, slot in enumerate(load_robot(dataset.interface["robot"]).slots):
        measured = dataset.state[row.start : row.stop, index]
        commanded = dataset.action[row.start : row.stop, index]
        axes[index].plot(time_s, measured, color="C0", linewidth=1)
        axes[index].plot(time_s, commanded, color="C1", linewidth=1, linestyle="--")
        low, high = min(measured.min(), commanded.min()), max(measured.max(), commanded.max())
        # A slot at rest is drawn as a line, not as a landscape of sensor noise.
        half = max(0.55 * (high - low), 2 * NEAR_CONSTANT * (slot.upper - slot.lower))
        axes[index].set_ylim((low + high) / 2 - half, (low + high) / 2 + half)
        axes[index].set_title(f"{slot.name} ({slot.unit})", fontsize=9)
        axes[index].locator_params(nbins=4)
        axes[index].tick_params(labelsize=7)
    for axis in axes[len(dataset.slots) :]:
        axis.axis("off")
    figure.supxlabel("seconds; measured solid, commanded dashed", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _image(png: bytes) -> str:
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}">'


_HTML = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 14px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222; }}
table {{ border-collapse: collapse; margin: 1em 0; }}
th, td {{ text-align: left; padding: 2px 12px 2px 0; border-bottom: 1px solid #ddd; }}
img {{ max-width: 100%; }}
li {{ color: #a33; }}
</style>
<body>
{body}
</body>
</html>
"""
