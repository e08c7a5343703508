"""The page of an episode: the video with what comes next drawn into it, the paths in space, and a timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from activemimic_rollout.reports.html import render

from activemimic_training.egocentric.quality.quality import BODY_NAMES, Finding
from activemimic_training.egocentric.spatial.geometry import Floats
from activemimic_training.egocentric.spatial.pose_trajectory import FPS
from activemimic_training.egocentric.viewer.episode_view import EpisodeView, Layer
from activemimic_training.egocentric.viewer.projection import axes, paths, upright

_WHOM = {"camera": [0], "left_wrist": [1], "right_wrist": [2], "wrists": [1, 2], "all": [0, 1, 2]}


@dataclass(frozen=True)
class EpisodePage:
    """What `templates/episode.html` shows.

    Attributes:
        remarks: why it is not all there, a line each.
        video: MP4.
        shares: by body, how many of the frames were observed, interpolated and missing.
        data: what episode.js draws.
    """

    name: str
    task: str
    remarks: Sequence[str]
    video: bytes
    shares: Mapping[str, Mapping[str, float]]
    findings: Sequence[Finding]
    facts: Mapping[str, str]
    data: Mapping[str, Any]


def write_episode_page(view: EpisodeView, out: Path) -> None:
    """One HTML file with everything in it."""
    page = EpisodePage(
        view.name,
        view.task,
        _remarks(view),
        view.film(),
        view.best.shares(),
        view.findings,
        view.facts,
        page_data(view),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render(__package__, "episode.html", page), encoding="utf-8")


def page_data(view: EpisodeView) -> dict[str, Any]:
    """What episode.js draws; T frames, three bodies."""
    layer, K = view.best, view.K
    to_view = upright(layer)
    drawn = None
    if K is not None:
        drawn = [{"paths": paths(layer, K, t), "axes": axes(layer, K, t)} for t in range(len(view))]
    half = (np.array([view.width, view.height]) / (2 * K[0, 0])) if K is not None else np.array([0.5, 0.5])
    return {
        "frames": len(view),
        "fps": FPS,
        "width": view.width,
        "half_view": half.round(4).tolist(),
        "names": [name.replace("_", " ") for name in BODY_NAMES],
        "drawn": drawn or [None] * len(view),
        "poses": _rows(to_view @ layer.bodies, layer),
        "raw": None if view.estimate is None else _rows(to_view @ view.estimate.bodies, view.estimate, places=True),
        "state": (layer.valid.astype(int) + (layer.valid & layer.observed)).tolist(),
        "confidence": layer.confidence.round(3).tolist(),
        "pieces": [list(piece) for piece in view.pieces],
        "blurred": view.blurred.tolist(),
        "cut_after": view.cut_after.tolist(),
        "findings": [
            {"bodies": _WHOM[it.body], "done": it.done, "first": it.first, "stop": it.stop} for it in view.findings
        ],
    }


def _rows(bodies: Floats, layer: Layer, places: bool = False) -> list[list[list[float] | None]]:
    """(T, 3, 4, 4) as the upper rows' 12 numbers, or as places, None where there is no pose."""
    numbers = bodies[..., :3, 3] if places else bodies[..., :3, :].reshape(*bodies.shape[:2], 12)
    return [
        [body.round(4).tolist() if known else None for body, known in zip(frame, valid, strict=True)]
        for frame, valid in zip(numbers, layer.valid, strict=True)
    ]


def _remarks(view: EpisodeView) -> list[str]:
    lines = [f"Left out at stage {stage}: {reason}" for stage, reason in view.left_out.items()]
    if view.cleaned is None:
        what = "no poses yet: only the images are shown" if view.estimate is None else "the estimate is shown as it is"
        lines.append(f"Not through quality control; {what}.")
    elif not view.pieces:
        lines.append("Quality control left nothing of this episode; the findings say why.")
    return lines
