"""What quality control makes of estimates that are wrong in a known way.

    python benchmarks/egocentric_truth.py [--videos 12] [--figure docs/images/egocentric_quality.png]

The truth is that of synthetic people (`ego synthesize`); it is spoiled by the backend `truth`, one kind of error at a
time, and held against itself before and after `check_quality`. Prints a table of Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from activemimic_sim.egocentric.person import EgocentricScene
from activemimic_sim.egocentric.tasks import TASKS
from activemimic_training.egocentric.poses.truth import spoiled_camera, spoiled_wrists
from activemimic_training.egocentric.quality.comparison import Compared, compare
from activemimic_training.egocentric.quality.metrics import PoseErrors, accelerations
from activemimic_training.egocentric.quality.quality import QualityResult, check_quality
from activemimic_training.egocentric.quality.scale import episode_scale
from activemimic_training.egocentric.settings.pose_settings import TruthCamera, TruthWrists
from activemimic_training.egocentric.spatial.geometry import wrists_in_world
from activemimic_training.egocentric.spatial.pose_trajectory import EgoTrajectory
from activemimic_training.egocentric.synthesis import truth
from matplotlib.figure import Figure

# Body, what is wrong, and how much of it.
CASES: list[tuple[str, str, dict[str, float]]] = [
    ("wrists", "nothing", {}),
    ("wrists", "noise 1 cm, 3°", {"position_m": 0.01, "rotation_deg": 3}),
    ("wrists", "noise 3 cm, 10°", {"position_m": 0.03, "rotation_deg": 10}),
    ("wrists", "drift 3 cm, 6°", {"drift_m": 0.03, "drift_deg": 6}),
    ("wrists", "lost 10 %, 0.3 s", {"dropout": 0.1, "burst_s": 0.3}),
    ("wrists", "lost 40 %, 0.5 s", {"dropout": 0.4, "burst_s": 0.5}),
    ("wrists", "spikes 2 %", {"spikes": 0.02, "jump_m": 0.4}),
    ("wrists", "spikes 10 %", {"spikes": 0.1, "jump_m": 0.4}),
    ("wrists", "swapped 10 %", {"swapped": 0.1, "burst_s": 0.5}),
    ("wrists", "swapped 30 %", {"swapped": 0.3, "burst_s": 0.5}),
    ("wrists", "hallucinated 20 %", {"hallucinated": 0.2, "burst_s": 0.5}),
    ("wrists", "hallucinated 60 %", {"hallucinated": 0.6, "burst_s": 1.0}),
    ("camera", "nothing", {}),
    ("camera", "noise 0.5 cm, 0.5°", {"position_m": 0.005, "rotation_deg": 0.5}),
    ("camera", "noise 2 cm, 2°", {"position_m": 0.02, "rotation_deg": 2}),
    ("camera", "drift 3 cm, 3°", {"drift_m": 0.03, "drift_deg": 3}),
    ("camera", "lost 10 %, 0.3 s", {"dropout": 0.1, "burst_s": 0.3}),
    ("camera", "spikes 5 %", {"spikes": 0.05, "jump_m": 0.4}),
    ("camera", "2 jumps a minute", {"jumps_per_min": 2, "jump_m": 0.4}),
    ("camera", "scale drift 10 % in 10 s", {"scale_drift": 0.1, "scale_noise": 0.05}),
    ("camera", "scale drift 50 % in 10 s", {"scale_drift": 0.5, "scale_noise": 0.1}),
    ("camera", "scale noise 60 %", {"scale_noise": 0.6}),
]
CLOSE = (0.10, np.radians(20.0))  # within which a frame counts as right
FAR_M = 0.20  # and from which an estimate is wrong


@dataclass(frozen=True)
class Figures:
    """Of the camera or of both wrists. `kept`: share of the true frames with an estimate; `close`: with a good one;
    `far`: share of the estimates that are wrong; `rpe_cm`: over 1 s, of the camera; jitter in m/s²."""

    kept: float
    close: float
    far: float
    cm: float
    degrees: float
    jitter: float
    rpe_cm: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=12)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    scenes = [EgocentricScene([*TASKS][seed % len(TASKS)], seed) for seed in range(arguments.videos)]
    truths = [truth(scene) for scene in scenes]
    print(f"{len(truths)} videos, {sum(map(len, truths)) / 10:.0f} s\n")
    print("| error | close | far | median | jitter | RPE 1 s |\n|---|---|---|---|---|---|")
    rows = []
    for body, kind, noise in CASES:
        before, after = case(scenes, truths, body, noise)
        rows.append((f"{body}: {kind}", before, after))
        print(row(f"{body}: {kind}", before, after), flush=True)
    if arguments.figure:
        draw(rows, arguments.figure)


def case(
    scenes: Sequence[EgocentricScene], truths: Sequence[EgoTrajectory], body: str, noise: dict[str, Any]
) -> tuple[Figures, Figures]:
    """Before and after quality control."""
    before, after = [], []
    for number, (scene, true) in enumerate(zip(scenes, truths, strict=True)):
        raw, result = checked(scene, true, body, noise, number)
        before.append(compare(str(number), true, [raw], 5.0, 1.0))
        after.append(compare(str(number), true, [it.trajectory for it in result.episodes], 5.0, 1.0))
    bodies = (0,) if body == "camera" else (1, 2)
    return figures(before, bodies), figures(after, bodies)


def checked(
    scene: EgocentricScene, true: EgoTrajectory, body: str, noise: dict[str, Any], number: int
) -> tuple[EgoTrajectory, QualityResult]:
    """The spoiled trajectory, and what quality control makes of it."""
    of_wrists, of_camera = (noise, {}) if body == "wrists" else ({}, noise)
    numbers = np.random.default_rng(number)
    common = {"backend": "truth", "folder": Path("truth")}
    wrists = spoiled_wrists(
        TruthWrists.model_validate(common | of_wrists), true, scene.K, (scene.width, scene.height), numbers
    )
    camera = spoiled_camera(TruthCamera.model_validate(common | of_camera), true, numbers)
    spread = None
    if len(camera.frame_scales):
        spread = episode_scale(camera.frame_scales, np.ones(len(true), np.int64), str(number)).spread
    in_world = wrists_in_world(camera.T_world_camera, wrists.T_camera_wrist)
    confidence = np.column_stack([camera.confidence, wrists.confidence])
    raw = EgoTrajectory.of(true.time_ns, np.concatenate([camera.T_world_camera[:, None], in_world], 1), confidence)
    return raw, check_quality(raw, scale_spread=spread)


def figures(compared: Sequence[Compared], bodies: Sequence[int]) -> Figures:
    errors = PoseErrors.join([it.errors[body] for it in compared for body in bodies])
    known = np.isfinite(errors.position_m)
    metres, angles = errors.position_m[known], errors.angle_rad[known]
    pieces = [accelerations(piece.estimated[:, body]) for it in compared for piece in it.pieces for body in bodies]
    jitter = np.concatenate([*pieces, [np.nan]])
    paths = [path.rpe_m["raw"] for it in compared for path in it.paths]
    return Figures(
        kept=float(known.mean()),
        close=float(((errors.position_m <= CLOSE[0]) & (errors.angle_rad <= CLOSE[1])).mean()),
        far=float((metres > FAR_M).mean()) if known.any() else np.nan,
        cm=float(np.median(metres) * 100) if known.any() else np.nan,
        degrees=float(np.degrees(np.median(angles))) if known.any() else np.nan,
        jitter=float(np.nanmedian(jitter)) if np.isfinite(jitter).any() else np.nan,
        rpe_cm=float(np.nanmedian(paths) * 100) if np.isfinite(paths).any() else np.nan,
    )


def row(name: str, before: Figures, after: Figures) -> str:
    columns = [
        (f"{100 * it.close:.0f} of {100 * it.kept:.0f} %" for it in (before, after)),
        (f"{100 * it.far:.1f} %" for it in (before, after)),
        (f"{it.cm:.1f} cm, {it.degrees:.1f}°" for it in (before, after)),
        (f"{it.jitter:.1f}" for it in (before, after)),
        (f"{it.rpe_cm:.1f} cm" for it in (before, after)) if name.startswith("camera") else ("", ""),
    ]
    return f"| {name} | " + " | ".join(" → ".join(pair) if any(pair) else "" for pair in map(tuple, columns)) + " |"


def draw(rows: Sequence[tuple[str, Figures, Figures]], path: Path) -> None:
    """The share of close frames and of wrong estimates, before (hollow) and after (full)."""
    figure = Figure(figsize=(9, 0.3 * len(rows) + 1.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(rows))[::-1]
    for axes, name, title in (
        (left, "close", "within 10 cm and 20°, % of the truth"),
        (right, "far", "wrong by 20 cm, %"),
    ):
        values = 100 * np.array([[getattr(it, name) for it in (before, after)] for _, before, after in rows])
        axes.hlines(places, values[:, 0], values[:, 1], color="0.75", linewidth=2)
        axes.plot(values[:, 0], places, "o", markerfacecolor="white", color="tab:blue", label="before")
        axes.plot(values[:, 1], places, "o", color="tab:blue", label="after quality control")
        axes.set_xlabel(title)
        axes.grid(axis="x", alpha=0.3)
    left.set_yticks(places, [name for name, _, _ in rows])
    right.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
