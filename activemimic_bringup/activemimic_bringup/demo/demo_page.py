"""The demo's summary.json and report.html, made from the bags and files that the stages left."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from activemimic_data.dataset.read import Dataset
from activemimic_rollout.reports.figures import draw_loss, draw_motion, draw_strip, draw_times
from activemimic_rollout.reports.html import render
from activemimic_rollout.reports.recorded_trial import RecordedTrial
from activemimic_rollout.trials.statistics import success_text, wilson_interval

Trials = list[tuple[dict[str, Any], RecordedTrial]]


@dataclass(frozen=True)
class TrialView:
    """A trial whose video and figures are in the folder `media` of the page, as `media`.mp4, .png and _strip.png.

    Attributes:
        outcome: why it failed, or how far it came; empty for a success.
    """

    media: str
    seed: int
    success: bool
    time_s: float
    outcome: str
    cameras: Sequence[str]


@dataclass(frozen=True)
class DemoView:
    """What `templates/from_scratch.html` shows.

    Attributes:
        success: how many trials of the policy succeeded, with the interval.
        stages: rows of a stage, what it made, and how long it took.
        metrics: what summary.json holds.
        machine: what it ran on.
    """

    success: str
    stages: Sequence[tuple[str, str, str]]
    machine: str
    trials: Sequence[TrialView]
    recorded: Sequence[TrialView]
    metrics: Mapping[str, Any]


def write_report(out: Path, stage_times_s: dict[str, float]) -> dict[str, Any]:
    """Write `report.html`, its videos and figures, and `summary.json` into the demo's folder; return the summary."""
    recorded = read_trials(out / "recorded" / "results.json")
    trials = read_trials(out / "trials" / "results.json")
    dataset = Dataset(out / "dataset")
    training = json.loads((out / "train" / "summary.json").read_text())
    summary = _summary(recorded, trials, dataset, training, stage_times_s)
    media = out / "media"
    view = DemoView(
        success_text(summary["successes"], summary["trials"]),
        _stages(summary),
        machine(),
        draw_trials("trial", trials, media),
        draw_trials("recorded", recorded, media),
        {name: value for name, value in summary.items() if name != "stage_seconds"},
    )
    draw_loss(out / "train" / "metrics.csv", media / "loss.png")
    draw_times(
        _joined([trial.inference_ms for _, trial in trials]),
        _joined([trial.chunk_latency_ms for _, trial in trials]),
        _joined([trial.command_periods_ms for _, trial in [*recorded, *trials]]),
        media / "times.png",
    )
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    (out / "report.html").write_text(render(__package__, "from_scratch.html", view), encoding="utf-8")
    return summary


def read_trials(results: Path) -> Trials:
    """Every trial's entry in results.json with its recording; folders are looked for beside the file."""
    entries = json.loads(results.read_text())["trials"]
    return [(entry, RecordedTrial(results.parent / Path(entry["episode"]).name)) for entry in entries]


def draw_trials(kind: str, trials: Trials, media: Path) -> list[TrialView]:
    """Write each trial's video, what head and right wrist saw at a few moments, and its joints to `media`."""
    views = []
    for entry, trial in trials:
        name = f"{kind}_{entry['seed']}"
        trial.write_video(media / f"{name}.mp4")
        draw_strip(trial, ("head", "right_wrist"), media / f"{name}_strip.png")
        draw_motion(trial.motion, trial.contract.slots, media / f"{name}.png")
        stage = entry["failure"] or f"got as far as: {entry['stage']}"
        outcome = "" if entry["success"] else stage
        views.append(
            TrialView(name, entry["seed"], entry["success"], entry["time_s"], outcome, [*trial.contract.cameras])
        )
    return views


def _summary(
    recorded: Trials,
    trials: Trials,
    dataset: Dataset,
    training: dict[str, Any],
    stage_times_s: dict[str, float],
) -> dict[str, Any]:
    bags = [trial for _, trial in [*recorded, *trials]]
    periods = _joined([trial.command_periods_ms for trial in bags])
    inference = _joined([trial.inference_ms for _, trial in trials])
    latency = _joined([trial.chunk_latency_ms for _, trial in trials])
    factors = _joined([trial.real_time_factors for trial in bags])
    successes = sum(bool(entry["success"]) for entry, _ in trials)
    low, high = wilson_interval(successes, len(trials))
    return {
        "episodes_recorded": len(recorded),
        "episodes_recorded_successful": sum(bool(entry["success"]) for entry, _ in recorded),
        "messages_recorded": sum(sum(trial.info.messages.values()) for trial in bags),
        "messages_lost": sum(trial.info.messages_lost for trial in bags),
        "dataset_episodes": len(dataset.episodes),
        "dataset_frames": len(dataset),
        "train_steps": training["steps"],
        "train_frames_per_s": round(training["frames_per_s"], 1),
        "policy_parameters": training["parameters"],
        "loss_first": training["loss_first"],
        "loss_last": training["loss_last"],
        "trials": len(trials),
        "successes": successes,
        "success_wilson_95": [round(low, 3), round(high, 3)],
        "control_rate_hz": round(1e3 / float(np.mean(periods)), 3) if len(periods) else None,
        "control_period_p99_ms": _percentile(periods, 99, 2),
        "inference_p50_ms": _percentile(inference, 50, 1),
        "inference_p99_ms": _percentile(inference, 99, 1),
        "chunk_latency_p50_ms": _percentile(latency, 50, 1),
        "real_time_factor": round(float(np.mean(factors)), 4) if len(factors) else None,
        "stage_seconds": stage_times_s,
    }


def _stages(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    what = {
        "record": f"{summary['episodes_recorded']} episodes of the expert in real time over ROS 2",
        "generate": "more episodes of the expert, headless and faster than real time",
        "build dataset": f"{summary['dataset_episodes']} episodes, {summary['dataset_frames']} rows (LeRobot v3)",
        "train": f"{summary['train_steps']} steps, {summary['policy_parameters']:,} parameters, "
        f"{summary['train_frames_per_s']:.0f} rows/s",
        "evaluate": f"{summary['trials']} trials in real time, policy node to controller node to simulator",
    }
    return [(name, what[name], f"{seconds:.0f} s") for name, seconds in summary["stage_seconds"].items()]


def machine() -> str:
    """What it ran on, in words."""
    packages = ("torch", "mujoco", "numpy", "ros-rclpy")
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    return f"Python {platform.python_version()} on {platform.machine()}; {versions}"


def _percentile(values: np.ndarray, percent: float, digits: int) -> float | None:
    """None where nothing was measured: a policy that refused every observation published no inference."""
    return round(float(np.percentile(values, percent)), digits) if len(values) else None


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.array([])


def _version(name: str) -> str:
    try:
        return version(name)
    except Exception:
        return "from the system"
