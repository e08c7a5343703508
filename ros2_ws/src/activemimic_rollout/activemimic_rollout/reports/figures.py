"""Figures of trials and training, as PNG files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from activemimic_rollout.reports.recorded_trial import Motion, RecordedTrial
from activemimic_rollout.reports.trace import Trace

mpl.use("Agg")
_COMMANDED, _MEASURED, _SUCCESS = "#d1495b", "#30638e", "#1b7f4b"
_NEAR_MM, _OPEN = 80, 0.1  # a hand that is closed further than the latter has begun to grasp
_STILL = 0.02  # a slot that moved less than this (rad, m or fraction) is not drawn


def draw_motion(motion: Motion, slots: Sequence[str], path: Path) -> None:
    """Commanded and measured positions of every slot that moved."""
    moving = [index for index in range(len(slots)) if np.ptp(motion.measured[:, index]) > _STILL]
    columns = 4
    rows = max(1, -(-len(moving) // columns))
    figure = Figure(figsize=(11, 1.7 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten()
    for axis, index in zip(axes, moving, strict=False):
        axis.plot(motion.command_s, motion.command[:, index], color=_COMMANDED, lw=1.2, label="commanded")
        axis.plot(motion.measured_s, motion.measured[:, index], color=_MEASURED, lw=1.0, label="measured")
        axis.set_title(slots[index], fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    for axis in axes[len(moving) :]:
        axis.axis("off")
    if moving:
        axes[0].legend(fontsize=7)
    _save(figure, path)


def draw_strip(trial: RecordedTrial, cameras: tuple[str, ...], path: Path, moments: int = 8) -> None:
    """What the cameras saw, one above the other, at equally spaced moments of a trial; of one size."""
    views = list(trial.views(cameras))
    chosen = [views[round(index)] for index in np.linspace(0, len(views) - 1, moments)] if views else []
    width = trial.contract.cameras[cameras[0]].width
    stacked = [np.vstack(np.split(view, range(width, view.shape[1], width), axis=1)) for view in chosen]
    path.parent.mkdir(parents=True, exist_ok=True)
    if stacked:
        cv2.imwrite(str(path), cv2.cvtColor(np.hstack(stacked), cv2.COLOR_RGB2BGR))


def draw_loss(metrics: Path, path: Path) -> None:
    """The training loss by step, every step's and a running mean, from the trainer's metrics.csv."""
    with metrics.open() as file:
        rows = list(csv.DictReader(file))
    steps = np.array([int(row["step"]) for row in rows])
    loss = np.array([float(row["loss"]) for row in rows])
    width = max(1, len(loss) // 50)
    figure = Figure(figsize=(5.4, 2.8), layout="constrained")
    axis = figure.subplots()
    axis.plot(steps, loss, color=_MEASURED, alpha=0.25, lw=0.7)
    axis.plot(steps[width - 1 :], np.convolve(loss, np.ones(width) / width, "valid"), color=_COMMANDED, lw=1.5)
    axis.set(yscale="log", xlabel="step", ylabel="flow-matching loss")
    axis.grid(alpha=0.3, which="both")
    _save(figure, path)


def draw_times(inference_ms: np.ndarray, chunk_latency_ms: np.ndarray, period_ms: np.ndarray, path: Path) -> None:
    """Histograms of the policy's latencies and the controller's periods, in ms."""
    figure = Figure(figsize=(11, 2.4), layout="constrained")
    panels = (
        ("inference (ms)", inference_ms),
        ("camera stamp to chunk published (ms)", chunk_latency_ms),
        ("period between commands (ms)", period_ms),
    )
    for axis, (title, values) in zip(figure.subplots(1, 3), panels, strict=True):
        if len(values):
            axis.hist(values, bins=40, color=_MEASURED)
            axis.axvline(float(np.median(values)), color=_COMMANDED, lw=1.2)
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=7)
    _save(figure, path)


def draw_views(columns: Sequence[tuple[str, dict[str, np.ndarray]]], path: Path) -> None:
    """Titled columns of images, a row a camera."""
    cameras = list(columns[0][1])
    figure = Figure(figsize=(1.7 * len(columns), 1.72 * len(cameras) + 0.2), layout="constrained")
    axes = figure.subplots(len(cameras), len(columns), squeeze=False)
    for place, (title, images) in enumerate(columns):
        axes[0, place].set_title(title, fontsize=8)
        for row, camera in enumerate(cameras):
            axes[row, place].imshow(images[camera])
            axes[row, place].set(xticks=[], yticks=[])
            if place == 0:
                axes[row, place].set_ylabel(camera, fontsize=8)
    _save(figure, path)


def draw_funnel(stages: Sequence[str], counts: Sequence[int], path: Path) -> None:
    """How many trials came as far as each stage (`counts`, one more than stages: the last is success)."""
    names = [*stages, "success"]
    figure = Figure(figsize=(6.4, 0.42 * len(names) + 0.4), layout="constrained")
    axis = figure.subplots()
    bars = axis.barh(names, counts, color=[*[_MEASURED] * len(stages), _SUCCESS])
    axis.bar_label(bars, fontsize=8, padding=3)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.1 * max(1, counts[0]))
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def draw_head_traces(trials: Sequence[tuple[bool, Trace]], path: Path) -> None:
    """Head and waist over time, and below how many pixels of the target the head camera saw; a line a trial."""
    slots = list(trials[0][1].slots)
    figure = Figure(figsize=(10, 1.35 * (len(slots) + 1)), layout="constrained")
    axes = figure.subplots(len(slots) + 1, 1, squeeze=False, sharex=True)[:, 0]
    for success, trace in trials:
        colour = _SUCCESS if success else _COMMANDED
        columns: list[Sequence[float]] = [*trace.slots.values(), trace.target_px]
        for axis, values in zip(axes, columns, strict=True):
            axis.plot(trace.time_s, values, color=colour, lw=0.9, alpha=0.6)
            if trace.first_seen is not None:
                axis.plot(trace.time_s[trace.first_seen], values[trace.first_seen], "o", ms=3, color=colour)
    for axis, name in zip(axes, [*slots, "target (px)"], strict=True):
        axis.set_ylabel(name, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("s since the reset", fontsize=8)
    _save(figure, path)


def draw_grips(trials: Sequence[tuple[bool, Trace]], path: Path) -> None:
    """Where fingertips were to what they grasp: large dots where they began to close, small ones where they did not.

    From above and from the side of each hand, a row for each body that is to be grasped.
    """
    bodies = list(trials[0][1].grips)
    figure = Figure(figsize=(8, 3.4 * len(bodies)), layout="constrained")
    axes = figure.subplots(len(bodies), 2, squeeze=False)
    for body, row in zip(bodies, axes, strict=True):
        for success, trace in sorted(trials, key=lambda trial: not trial[0]):
            points_mm = 1000 * np.array([grip[1:4] for grip in trace.grips[body]])
            is_open = np.array([grip.closed < _OPEN for grip in trace.grips[body]])
            closes = np.append(is_open[:-1] & ~is_open[1:], False)
            for axis, across in zip(row, (1, 2), strict=True):
                colour = _SUCCESS if success else _COMMANDED
                axis.plot(points_mm[is_open, 0], points_mm[is_open, across], ".", ms=2, alpha=0.3, color=colour)
                axis.plot(points_mm[closes, 0], points_mm[closes, across], "o", ms=5, alpha=0.7, color=colour)
        for axis, direction in zip(row, ("aside", "above"), strict=True):
            axis.set(xlim=(-_NEAR_MM, _NEAR_MM), ylim=(-_NEAR_MM, _NEAR_MM), aspect="equal")
            axis.set_xlabel(f"fingertips beyond the {body} (mm)", fontsize=8)
            axis.set_ylabel(f"{direction} (mm)", fontsize=8)
            axis.tick_params(labelsize=7)
            axis.grid(alpha=0.3)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
