"""The page of an episode: the video with what comes next drawn into it, the paths in space, and a timeline."""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from activemimic_rollout.reports.html import page, table

from activemimic_training.egocentric.quality.quality import BODY_NAMES
from activemimic_training.egocentric.spatial.geometry import Floats
from activemimic_training.egocentric.spatial.pose_trajectory import FPS
from activemimic_training.egocentric.viewer.episode_view import EpisodeView, Layer
from activemimic_training.egocentric.viewer.projection import axes, paths, upright

_STYLE = """
body { max-width: 1400px; }
.side { display: flex; gap: 14px; align-items: flex-start; flex-wrap: wrap; }
.film { position: relative; flex: 1 1 480px; min-width: 0; line-height: 0; }
.film video { width: 100%; background: #000; }
.film canvas { position: absolute; left: 0; top: 0; width: 100%; height: 100%; pointer-events: none; }
#space { flex: 1 1 420px; min-width: 0; height: 420px; border: 1px solid #e8ecef; cursor: grab; touch-action: none; }
#timeline { width: 100%; height: 190px; cursor: pointer; touch-action: none; }
.key span { display: inline-block; width: 0.8em; height: 0.8em; margin: 0 0.3em 0 1em; vertical-align: -0.05em; }
tr[data-frame] { cursor: pointer; } tr[data-frame]:hover { background: #f1f3f5; } button { min-width: 5em; }
"""
_KEY = (
    ("where the camera looks, 1 m ahead", "#d97706"),
    ("left wrist", "#0b7285"),
    ("right wrist", "#9c36b5"),
    ("axis x", "#e03131"),
    ("y", "#2f9e44"),
    ("z", "#1971c2"),
)
_TIMELINE_KEY = (
    ("observed", "#51cf66"),
    ("interpolated", "#ffd43b"),
    ("missing", "#e9ecef"),
    ("finding: dropped", "#e03131"),
    ("interpolated", "#f08c00"),
    ("masked", "#868e96"),
    ("exchanged", "#7048e8"),
    ("split", "#c2255c"),
    ("left out", "#343a40"),
)
_WHOM = {"camera": [0], "left_wrist": [1], "right_wrist": [2], "wrists": [1, 2], "all": [0, 1, 2]}


def write_episode_page(view: EpisodeView, out: Path) -> None:
    """One HTML file with everything in it."""
    script = Path(__file__).with_name("view.js").read_text(encoding="utf-8")
    # "<" would end the script if a task said so.
    data = json.dumps(page_data(view), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    film = base64.b64encode(view.film()).decode()
    parts = [
        f"<style>{_STYLE}</style>",
        f"<h1>{escape(view.task)}</h1><p class='lead'>{escape(view.name)}</p>",
        _remarks(view),
        "<div class='side'><div class='film'>",
        f"<video id='video' muted playsinline preload='auto' src='data:video/mp4;base64,{film}'></video>",
        "<canvas id='overlay'></canvas></div><canvas id='space'></canvas></div>",
        "<p><button id='play'>play</button> <select id='speed'><option value='1'>1x</option>"
        "<option value='0.5'>0.5x</option><option value='0.2'>0.2x</option></select> <span id='clock'></span> ",
        "<label style='float:right'><input type='checkbox' id='raw'> before quality control, dashed</label></p>",
        _key("In the image, the second that follows:", _KEY),
        "<canvas id='timeline'></canvas>",
        _key("Of each body whether it was seen, its confidence, what was found:", _TIMELINE_KEY),
        "<p>Click or drag on the timeline; arrow keys step, with shift by a second; space plays.</p>",
        "<h2>Shares of the frames</h2>",
        _shares(view.best),
        "<h2>Findings</h2>",
        _findings(view),
        "<h2>About</h2>",
        table((), [[name, value] for name, value in view.facts.items()]),
        f"<script>const data = {data};\n{script}</script>",
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page(f"{view.name}: {view.task}", "\n".join(parts)), encoding="utf-8")


def page_data(view: EpisodeView) -> dict[str, Any]:
    """What view.js draws; T frames, three bodies."""
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


def _remarks(view: EpisodeView) -> str:
    lines = [f"Left out at stage {stage}: {reason}" for stage, reason in view.left_out.items()]
    if view.cleaned is None:
        what = "no poses yet: only the images are shown" if view.estimate is None else "the estimate is shown as it is"
        lines.append(f"Not through quality control; {what}.")
    elif not view.pieces:
        lines.append("Quality control left nothing of this episode; the findings say why.")
    return "".join(f"<p class='bad'>{escape(line)}</p>" for line in lines)


def _key(title: str, entries: tuple[tuple[str, str], ...]) -> str:
    marks = "".join(f"<span style='background:{colour}'></span>{escape(text)}" for text, colour in entries)
    return f"<p class='key'>{escape(title)} {marks}</p>"


def _shares(layer: Layer) -> str:
    rows = [
        [body.replace("_", " "), *(f"{value:.1%}" for value in parts.values())]
        for body, parts in layer.shares().items()
    ]
    return table(("", "observed", "interpolated", "missing"), rows)


def _findings(view: EpisodeView) -> str:
    if not view.findings:
        return "<p>None.</p>"
    head = "".join(f"<th>{name}</th>" for name in ("from", "to", "body", "what", "done", ""))
    rows = [
        f"<tr data-frame='{min(it.first, len(view) - 1)}'><td class='number'>{it.first / FPS:.1f} s</td>"
        f"<td class='number'>{it.stop / FPS:.1f} s</td><td>{it.body.replace('_', ' ')}</td>"
        f"<td>{it.kind}</td><td>{it.done}</td><td>{escape(it.detail)}</td></tr>"
        for it in view.findings
    ]
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"
