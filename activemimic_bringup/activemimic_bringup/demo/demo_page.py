"""The demo's summary.json and report.html, made from the bags and files that the stages left."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from activemimic_data.dataset.read import Dataset
from activemimic_rollout.reports.figures import draw_loss, draw_motion, draw_strip, draw_times
from activemimic_rollout.reports.html import page, table
from activemimic_rollout.reports.recorded_trial import RecordedTrial
from activemimic_rollout.trials.statistics import success_text, wilson_interval


def write_report(out: Path, stage_times_s: dict[str, float]) -> dict[str, Any]:
    """Write `report.html`, its videos and figures, and `summary.json` into the demo's folder; return the summary."""
    recorded = read_trials(out / "recorded" / "results.json")
    trials = read_trials(out / "trials" / "results.json")
    dataset = Dataset(out / "dataset")
    training = json.loads((out / "train" / "summary.json").read_text())
    summary = _summary(recorded, trials, dataset, training, stage_times_s)
    media = out / "media"
    draw_trials("recorded", recorded, media)
    draw_trials("trial", trials, media)
    draw_loss(out / "train" / "metrics.csv", media / "loss.png")
    draw_times(
        _joined([trial.inference_ms for _, trial in trials]),
        _joined([trial.chunk_latency_ms for _, trial in trials]),
        _joined([trial.command_periods_ms for _, trial in [*recorded, *trials]]),
        media / "times.png",
    )
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    (out / "report.html").write_text(_page(summary, recorded, trials, stage_times_s))
    return summary


Trials = list[tuple[dict[str, Any], RecordedTrial]]


def read_trials(results: Path) -> Trials:
    """Every trial's entry in results.json with its recording; folders are looked for beside the file."""
    entries = json.loads(results.read_text())["trials"]
    return [(entry, RecordedTrial(results.parent / Path(entry["episode"]).name)) for entry in entries]


def draw_trials(kind: str, trials: Trials, media: Path) -> None:
    """Each trial's video, what head and right wrist saw at a few moments, and its joints, for `show_trials`."""
    for entry, trial in trials:
        name = f"{kind}_{entry['seed']}"
        trial.write_video(media / f"{name}.mp4")
        draw_strip(trial, ("head", "right_wrist"), media / f"{name}_strip.png")
        draw_motion(trial.motion, trial.contract.slots, media / f"{name}.png")


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


def _page(summary: dict[str, Any], recorded: Trials, trials: Trials, stage_times_s: dict[str, float]) -> str:
    success = success_text(summary["successes"], summary["trials"])
    what = {
        "record": f"{summary['episodes_recorded']} episodes of the expert in real time over ROS 2",
        "generate": "more episodes of the expert, headless and faster than real time",
        "build dataset": f"{summary['dataset_episodes']} episodes, {summary['dataset_frames']} rows (LeRobot v3)",
        "train": f"{summary['train_steps']} steps, {summary['policy_parameters']:,} parameters, "
        f"{summary['train_frames_per_s']:.0f} rows/s",
        "evaluate": f"{summary['trials']} trials in real time, policy node to controller node to simulator",
    }
    stages = [(name, what[name], f"{seconds:.0f} s") for name, seconds in stage_times_s.items()]
    numbers = [(key, str(value)) for key, value in summary.items() if key != "stage_seconds"]
    body = f"""<h1>ActiveMimic demo: Reaching</h1>
<p class="lead">The policy picked up the cube behind the obstacle in <b>{escape(success)}</b> held-out trials.</p>
<p>Each trial starts from a scene that no demonstration started from. The robot has to rise until it sees over the
24 cm obstacle, reach over it, and lift the 5 cm cube by 10 cm without toppling the obstacle.</p>
<h2>What ran</h2>{table(("stage", "what", "took"), stages)}<p>{escape(machine())}</p>
<h2>Trials of the policy</h2>{show_trials("trial", trials)}
<h2>Training</h2><figure><img src="media/loss.png" alt="training loss" width="540">
<figcaption>Loss of every step, and its running mean. A falling loss proves nothing; the trials above do.</figcaption>
</figure>
<h2>Times</h2><figure><img src="media/times.png" alt="latency histograms">
<figcaption>Over all real-time trials; the red line is the median.</figcaption></figure>
<h2>Numbers</h2>{table(("name", "value"), numbers)}
<h2>Recorded demonstrations</h2>{show_trials("recorded", recorded)}"""
    return page("ActiveMimic demo", body)


def machine() -> str:
    """What it ran on, in words."""
    packages = ("torch", "mujoco", "numpy", "ros-rclpy")
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    return f"Python {platform.python_version()} on {platform.machine()}; {versions}"


def show_trials(kind: str, trials: Trials) -> str:
    """Trials that `draw_trials` drew to media, as HTML."""
    return "".join(_show_trial(f"{kind}_{entry['seed']}", entry, trial) for entry, trial in trials)


def _show_trial(name: str, entry: dict[str, Any], trial: RecordedTrial) -> str:
    outcome, style = ("success", "good") if entry["success"] else ("no success", "bad")
    stage = entry["failure"] or f"got as far as: {entry['stage']}"
    told = "" if entry["success"] else f" ({escape(stage)})"
    cameras = ", ".join(trial.contract.cameras)
    return f"""<div class="trial"><h3>Seed {entry["seed"]}: <span class="{style}">{outcome}</span>
after {entry["time_s"]:.1f} s{told}</h3>
<video src="media/{name}.mp4" controls loop muted preload="metadata" width="1008"></video>
<figcaption>{escape(cameras)}. Below: head and right wrist at eight moments.</figcaption>
<img src="media/{name}_strip.png" alt="head and right wrist camera over time">
<details><summary>commanded and measured joints</summary><img src="media/{name}.png" alt="joints"></details></div>"""


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
