"""The page of a corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from activemimic_rollout.reports.html import png_of_figure, render

from activemimic_training.egocentric.spatial.pose_trajectory import FPS
from activemimic_training.egocentric.viewer.corpus_view import STAGES, CorpusView

_LEAST = 1e-3  # m; a spread below is drawn as none


@dataclass(frozen=True)
class CorpusPage:
    """What `templates/corpus.html` shows.

    Attributes:
        durations: histograms (PNG) of segments, episodes, and what quality control kept; None of an empty corpus.
        scale_spread: a histogram (PNG), None where no episode needed a scale.
        fps: of the frames that are counted in `corpus`.
    """

    run: Path
    corpus: CorpusView
    durations: bytes | None
    scale_spread: bytes | None
    stages: Sequence[str] = STAGES
    fps: int = FPS


def write_corpus_page(run: Path, corpus: CorpusView, out: Path) -> None:
    """One HTML file with everything in it."""
    lengths = {"segments kept": corpus.segment_s, "episodes": corpus.episode_s, "after quality control": corpus.kept_s}
    page = CorpusPage(
        run,
        corpus,
        _histograms({name: it for name, it in lengths.items() if it}, "seconds"),
        _histograms({"episodes": corpus.scale_spread} if corpus.scale_spread else {}, "spread"),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render(__package__, "corpus.html", page), encoding="utf-8")


def _histograms(series: Mapping[str, Sequence[float]], unit: str) -> bytes | None:
    """PNG, a panel for each of `series`; None without any."""
    if not series:
        return None
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(4.2 * len(series), 2.4), dpi=85, layout="constrained")
    axes = figure.subplots(1, len(series), squeeze=False)[0]
    for axis, (name, values) in zip(axes, series.items(), strict=True):
        numbers = np.asarray(values)
        low, high = min(0.0, float(numbers.min())), float(numbers.max())
        axis.hist(numbers, np.linspace(low, max(high, low + _LEAST), 31), color="#4c8dae")
        axis.axvline(float(np.median(numbers)), color="#1d2733", linewidth=1)
        axis.set_title(f"{name}: {len(numbers)}, median {np.median(numbers):.3g}", fontsize=10)
        axis.set_xlabel(unit, fontsize=9)
        axis.tick_params(labelsize=8)
    return png_of_figure(figure)
