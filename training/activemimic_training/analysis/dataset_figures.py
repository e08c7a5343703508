"""Pictures of a dataset: strips of frames, slots over time, distributions. All return PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from activemimic_data.dataset.read import Dataset, EpisodeRow
from activemimic_rollout.reports.html import png_of, png_of_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 5
_STRIP_FRAMES = 8
_STRIP_HEIGHT = 112
_BINS = 60


def strip(dataset: Dataset, camera: str, row: EpisodeRow) -> bytes:
    """Frames spread over an episode, side by side."""
    every = max(1, (row.stop - row.start) // _STRIP_FRAMES)
    images = list(dataset.frames(camera, row.index, every))[:_STRIP_FRAMES]
    height, width = images[0].shape[:2]
    size = (round(width * _STRIP_HEIGHT / height), _STRIP_HEIGHT)
    return png_of(np.hstack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]))


def slots_over_time(dataset: Dataset, row: EpisodeRow, least_span: Sequence[float]) -> bytes:
    """Measured (solid) and commanded (dashed) values of every slot; an axis shows at least the slot's `least_span`."""
    slots = dataset.interface["slots"]
    figure, axes = _grid(len(slots))
    time_s = np.arange(row.stop - row.start) / dataset.fps
    for index, slot in enumerate(slots):
        measured = dataset.state[row.start : row.stop, index]
        commanded = dataset.action[row.start : row.stop, index]
        axes[index].plot(time_s, measured, color="C0", linewidth=1)
        axes[index].plot(time_s, commanded, color="C1", linewidth=1, linestyle="--")
        low, high = min(measured.min(), commanded.min()), max(measured.max(), commanded.max())
        # A slot at rest is drawn as a line, not as a landscape of sensor noise.
        half = max(0.55 * (high - low), least_span[index] / 2)
        axes[index].set_ylim((low + high) / 2 - half, (low + high) / 2 + half)
        axes[index].set_title(f"{slot['name']} ({slot['unit']})", fontsize=9)
    figure.supxlabel("seconds; measured solid, commanded dashed", fontsize=9)
    return png_of_figure(figure)


def distributions(
    titles: Mapping[str, str],
    values: Mapping[str, Mapping[str, np.ndarray]],
    limits: Mapping[str, tuple[float, float]],
    caption: str,
) -> bytes:
    """A histogram a slot, the data sets over one another.

    Args:
        titles: slot -> what stands above its plot.
        values: data set -> slot -> (N,) values.
        limits: slot -> lower and upper, drawn as lines where they are in sight.
    """
    figure, axes = _grid(len(titles))
    for axis, (slot, title) in zip(axes, titles.items(), strict=False):
        present = {name: columns[slot] for name, columns in values.items() if slot in columns}
        low = min(float(column.min()) for column in present.values())
        high = max(float(column.max()) for column in present.values())
        margin = max(0.02 * (high - low), 1e-3)
        edges = np.linspace(low - margin, high + margin, _BINS + 1)
        for number, name in enumerate(values):
            if name in present:
                share = np.histogram(present[name], edges)[0] / len(present[name])
                axis.stairs(share, edges, fill=True, alpha=0.5, color=f"C{number}")
        for limit in limits.get(slot, ()):
            if edges[0] <= limit <= edges[-1]:
                axis.axvline(limit, color="#b3261e", linewidth=1)
        axis.set_yticks([])
        axis.set_title(title, fontsize=9)
    if len(values) > 1:
        from matplotlib.patches import Patch

        shown = [Patch(color=f"C{number}", alpha=0.5, label=name) for number, name in enumerate(values)]
        figure.legend(handles=shown, loc="lower right", ncols=len(values), fontsize=8)
    figure.supxlabel(caption, fontsize=9)
    return png_of_figure(figure)


def _grid(count: int) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure  # slow to import, and most users of this package never plot

    lines = -(-count // _COLUMNS)
    figure = Figure(figsize=(3 * _COLUMNS, 1.7 * lines + 0.3), dpi=70)
    # Fixed margins: a computed layout draws every label twice and takes seconds.
    room = 0.35 / (1.7 * lines + 0.3)
    figure.subplots_adjust(left=0.03, right=0.99, top=1 - room, bottom=2 * room, hspace=0.4, wspace=0.18)
    axes = figure.subplots(lines, _COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.locator_params(nbins=4)
        axis.tick_params(labelsize=7)
    for axis in axes[count:]:
        axis.axis("off")
    return figure, axes
