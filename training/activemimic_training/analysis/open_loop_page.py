"""The page about a policy on recorded observations."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from activemimic_data.dataset.read import Dataset
from activemimic_description.robot import ROBOTS_FOLDER, Robot, load_robot
from activemimic_policy.inference import load_policy
from activemimic_policy.spec import PolicySpec
from activemimic_rollout.reports.html import png_of, png_of_figure, render

from activemimic_training.analysis.predict import OpenLoopError, Prediction, check_fit, predict_episode
from activemimic_training.analysis.traces import draw_traces

_COLUMNS = 4  # of the small plots
_TRACES, _TRACE_COLUMNS = 6, 3  # images an episode
_LEAST_SPAN = 0.04  # of an axis, slot units: a slot at rest is drawn as a line, not as a landscape of noise
_STEPS_SHOWN = 8


@dataclass(frozen=True)
class OpenLoopReport:
    """How far a policy is from what was recorded, in slot units.

    Attributes:
        error: (T, S) mean distance by step of the chunk.
        staying_error: (S,) mean distance of a policy that stays where it is.
    """

    slots: list[str]
    units: list[str]
    error: np.ndarray
    staying_error: np.ndarray
    page: Path


@dataclass(frozen=True)
class EpisodeView:
    """An episode in pictures (PNG).

    Attributes:
        plot: every slot over time.
        traces: where the wrists go, and
        times: from which moments on; None and empty where the robot or its head camera is not known.
    """

    number: int
    task: str
    plot: bytes
    traces: bytes | None = None
    times: str = ""


@dataclass(frozen=True)
class OpenLoopView:
    """What `templates/open_loop.html` shows.

    Attributes:
        steps: when the tabulated steps of a chunk are due.
        errors: rows of slot, unit, error of each of `steps`, mean, error of a policy that stays, and a remark.
    """

    checkpoint: str
    dataset: str
    chunks: int
    horizon: int
    fps: int
    steps: list[str]
    errors: Sequence[Sequence[str]]
    episodes: Sequence[EpisodeView]


def run_openloop(
    checkpoint: Path | str,
    dataset: Path | str,
    out: Path | str,
    episodes: Sequence[int] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> OpenLoopReport:
    """Predict along `episodes` (the first five if None) and write `index.html`, `errors.csv` and the pictures to `out`.

    Raises:
        CheckpointError, DatasetError, OpenLoopError: one of the two cannot be used, or they do not fit each other.
    """
    read, folder = Dataset(dataset), Path(out)
    policy = load_policy(checkpoint, seed=0)
    check_fit(policy, read)
    chosen = list(range(min(5, len(read.episodes)))) if episodes is None else list(episodes)
    if unknown := [index for index in chosen if not 0 <= index < len(read.episodes)]:
        raise OpenLoopError(f"{dataset}: episode {unknown[0]}: expected one from 0 to {len(read.episodes) - 1}")
    predictions = []
    for done, index in enumerate(chosen, start=1):
        predictions.append(predict_episode(policy, read, index))
        progress(done, len(chosen))
    folder.mkdir(parents=True, exist_ok=True)
    units = [slot["unit"] for slot in read.interface["slots"]]
    errors = np.concatenate([prediction.error for prediction in predictions])
    staying = np.concatenate([prediction.staying_error for prediction in predictions])
    report = OpenLoopReport(
        read.slots, units, np.nanmean(errors, axis=0), np.nanmean(staying, axis=(0, 1)), folder / "index.html"
    )
    _write_csv(folder / "errors.csv", report, policy.spec)
    robot, spec = _robot(read, policy.spec), policy.spec
    view = OpenLoopView(
        str(checkpoint),
        str(dataset),
        len(errors),
        spec.horizon,
        spec.fps,
        *_error_table(report, spec),
        [_episode(prediction, read, robot, folder) for prediction in predictions],
    )
    report.page.write_text(render(__package__, "open_loop.html", view), encoding="utf-8")
    return report


def _robot(dataset: Dataset, spec: PolicySpec) -> Robot | None:
    """The robot whose hands can be drawn on its head camera's image, if the dataset is of one that is described."""
    name = dataset.interface["robot"]
    if "head" not in spec.cameras or not (ROBOTS_FOLDER / f"{name}.yaml").is_file():
        return None
    return load_robot(name)


def _error_table(report: OpenLoopReport, spec: PolicySpec) -> tuple[list[str], list[list[str]]]:
    steps = np.unique(np.linspace(0, spec.horizon - 1, _STEPS_SHOWN).round().astype(int))
    rows = []
    for column, (slot, unit) in enumerate(zip(report.slots, report.units, strict=True)):
        mean, staying = float(np.nanmean(report.error[:, column])), float(report.staying_error[column])
        numbers = [f"{report.error[step, column]:.4f}" for step in steps]
        rows.append([slot, unit, *numbers, f"{mean:.4f}", f"{staying:.4f}", "worse than staying" * (mean > staying)])
    return [f"{(step + 1) / spec.fps:.1f} s" for step in steps], rows


def _write_csv(path: Path, report: OpenLoopReport, spec: PolicySpec) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["due_s", *report.slots])
        for step, errors in enumerate(report.error):
            writer.writerow([f"{(step + 1) / spec.fps:.6g}", *(f"{error:.6g}" for error in errors)])


def _episode(prediction: Prediction, dataset: Dataset, robot: Robot | None, folder: Path) -> EpisodeView:
    name = f"episode_{prediction.episode:06d}"
    plot = _plot(prediction, dataset)
    (folder / f"{name}.png").write_bytes(plot)
    if robot is None:
        return EpisodeView(prediction.episode, prediction.task, plot)
    chosen = np.unique(np.linspace(0, len(prediction.starts) - 1, _TRACES).round().astype(int))
    images = [
        draw_traces(
            robot,
            prediction.images[chunk],
            prediction.state[prediction.starts[chunk]],
            prediction.predicted[chunk],
            prediction.recorded[chunk],
        )
        for chunk in chosen
    ]
    images += [np.full_like(images[0], 255)] * (-len(images) % _TRACE_COLUMNS)
    rows = [np.hstack(images[at : at + _TRACE_COLUMNS]) for at in range(0, len(images), _TRACE_COLUMNS)]
    traces = png_of(np.vstack(rows))
    (folder / f"{name}_traces.png").write_bytes(traces)
    times = ", ".join(f"{prediction.starts[chunk] / dataset.fps:.1f}" for chunk in chosen)
    return EpisodeView(prediction.episode, prediction.task, plot, traces, times)


def _plot(prediction: Prediction, dataset: Dataset) -> bytes:
    """Every slot over time: measured, commanded, and the predicted chunks over them."""
    from matplotlib.figure import Figure  # slow to import

    slots = dataset.interface["slots"]
    lines = -(-len(slots) // _COLUMNS)
    figure = Figure(figsize=(3.4 * _COLUMNS, 1.7 * lines), dpi=80)
    figure.subplots_adjust(left=0.04, right=0.99, top=0.96, bottom=0.08, hspace=0.4, wspace=0.2)
    axes = figure.subplots(lines, _COLUMNS, squeeze=False, sharex=True).ravel()
    row_s = np.arange(len(prediction.state)) / dataset.fps
    steps_s = (np.arange(prediction.predicted.shape[1]) + 1) * prediction.stride / dataset.fps
    for column, slot in enumerate(slots):
        axis = axes[column]
        axis.plot(row_s, prediction.state[:, column], color="0.7", linewidth=2.5)
        axis.plot(row_s + 1 / dataset.fps, prediction.action[:, column], color="#28a05a", linewidth=1.2)
        for start, chunk in zip(prediction.starts, prediction.predicted[:, :, column], strict=True):
            axis.plot(row_s[start] + steps_s, chunk, color="#d63c46", linewidth=0.7, alpha=0.6)
        axis.set_title(f"{slot['name']} ({slot['unit']})", fontsize=9)
        axis.tick_params(labelsize=7)
        low, high = axis.get_ylim()
        if high - low < _LEAST_SPAN:
            axis.set_ylim((low + high - _LEAST_SPAN) / 2, (low + high + _LEAST_SPAN) / 2)
        axis.set_xlim(0, row_s[-1] + 1 / dataset.fps)
    for axis in axes[len(slots) :]:
        axis.axis("off")
    figure.supxlabel("seconds; measured grey, commanded green, predicted chunks red", fontsize=9)
    return png_of_figure(figure)
