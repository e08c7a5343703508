"""Losses of several runs over their steps, in one picture."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from activemimic_description.common.errors import InvalidInputError
from activemimic_rollout.reports.html import png_of_figure

from activemimic_training.trainer.checks.log import StepMetrics, read_metrics
from activemimic_training.trainer.checks.validation import FIGURES, read_validations

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 3


class PlotError(InvalidInputError):
    """Runs that cannot be drawn; the message names the run."""


def plot_losses(runs: Mapping[str, Path], smooth_steps: int = 20) -> bytes:
    """PNG: the loss, that of each body of the unified action, and the held-out action error, a line a run.

    Args:
        runs: what a run is called, and its folder.
        smooth_steps: of the running mean that is drawn.

    Raises PlotError: a folder holds no run.
    """
    from matplotlib.figure import Figure  # slow to import

    metrics = {name: _metrics(folder) for name, folder in runs.items()}
    panels: dict[str, dict[str, tuple[npt.ArrayLike, npt.ArrayLike]]] = {"loss": {}}
    for name, steps in metrics.items():
        at = [it.step for it in steps]
        panels["loss"][name] = at, _running_mean([it.loss for it in steps], smooth_steps)
        for part in steps[0].parts:
            losses = _running_mean([it.parts[part] for it in steps], smooth_steps)
            panels.setdefault(f"loss of {part.replace('_', ' ')}", {})[name] = at, losses
        looks = [it for it in read_validations(runs[name] / FIGURES) if it.action_error is not None]
        if looks:
            errors = [it.action_error or math.nan for it in looks]
            panels.setdefault("held-out action error, slot units", {})[name] = [it.step for it in looks], errors
    lines = -(-len(panels) // _COLUMNS)
    columns = min(_COLUMNS, len(panels))
    figure = Figure(figsize=(4.2 * columns, 3.0 * lines + 0.4), dpi=90, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, (title, curves) in zip(axes, panels.items(), strict=False):
        _draw(axis, title, curves, [*runs])
    for axis in axes[len(panels) :]:
        axis.axis("off")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(runs)), fontsize=9)
    return png_of_figure(figure)


def _draw(
    axis: Axes, title: str, curves: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]], runs: Sequence[str]
) -> None:
    for name, (steps, values) in curves.items():
        style = "o-" if title.startswith("held-out") else "-"
        axis.plot(steps, values, style, color=f"C{runs.index(name)}", label=name, linewidth=1.3, markersize=3)
    axis.set_yscale("log")
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("step", fontsize=9)
    axis.tick_params(which="both", labelsize=8)
    axis.grid(which="both", alpha=0.25)


def _metrics(folder: Path) -> list[StepMetrics]:
    path = folder / "metrics.csv"
    try:
        if found := read_metrics(path):
            return found
    except (OSError, ValueError, csv.Error) as error:
        raise PlotError(f"{path}: cannot be read: {error}") from None
    raise PlotError(f"{folder}: expected a training run's folder, found no steps in metrics.csv")


def _running_mean(values: Sequence[float], steps: int) -> npt.NDArray[np.float64]:
    """Over the last `steps`, of what is a number; as many as there are at the beginning."""
    numbers = np.asarray(values, np.float64)
    known = np.isfinite(numbers)
    sums, counts = (np.cumsum(np.append(0.0, it)) for it in (np.where(known, numbers, 0.0), known))
    last = np.arange(1, len(numbers) + 1)
    first = np.maximum(0, last - steps)
    count = counts[last] - counts[first]
    return np.divide(sums[last] - sums[first], count, where=count > 0, out=np.full(len(numbers), np.nan))
