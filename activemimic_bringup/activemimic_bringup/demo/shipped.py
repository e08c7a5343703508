"""The policies that come with this installation, each trying its task once, in real time through ROS 2."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from activemimic_policy.checked_policy import SHIPPED
from activemimic_policy.checkpoint import describe_checkpoint
from activemimic_rollout.agents.agents import weights_digest
from activemimic_rollout.publishing import SUCCESS_HEAD, published_evaluations, success_row, withheld
from activemimic_rollout.reports.figures import draw_times
from activemimic_rollout.reports.html import render
from activemimic_rollout.trials.results import read_results
from rich.console import Console

from activemimic_bringup.demo.demo_page import Trials, TrialView, draw_trials, machine, read_trials
from activemimic_bringup.demo.trials import run_trials
from activemimic_bringup.launching.graph import TASKS


@dataclass(frozen=True)
class ShippedView:
    """What `templates/shipped.html` shows.

    Attributes:
        tasks: the trials of each task.
        evaluations: of the same policies on published plans, rows under `evaluation_head`.
        policies: rows of task, demonstrations and training steps.
        machine: what it ran on.
    """

    tasks: Mapping[str, Sequence[TrialView]]
    evaluation_head: Sequence[str]
    evaluations: Sequence[Sequence[str]]
    policies: Sequence[Sequence[str]]
    machine: str


def run(out: Path, console: Console | None = None, tasks: tuple[str, ...] | None = None) -> None:
    """The first published trial of every task that a policy ships for; those in `out` of the same weights stay.

    Writes `out/report.html`.

    Raises:
        DemoError: nodes ended or did not end in time.
    """
    console = console or Console()
    tasks = tasks or tuple(task for task in TASKS if (SHIPPED / task).is_dir())
    out.mkdir(parents=True, exist_ok=True)
    for number, task in enumerate(tasks, start=1):
        heading = f"[bold]{number}/{len(tasks)} {task}[/bold]"
        if _done(out / task, task):
            console.print(f"{heading}: done before")
            continue
        console.print(heading)
        shutil.rmtree(out / task, ignore_errors=True)  # of another policy
        texts = {"checkpoint": task, "trials": "1"}
        run_trials(task, "policy", out / task, out / f"nodes_{task}.log", console, texts)
    console.print("drawing videos and figures")
    trials = {task: read_trials(out / task / "results.json") for task in tasks}
    view = _view({task: draw_trials(task, tried, out / "media") for task, tried in trials.items()})
    _draw_times(trials, out / "media" / "times.png")
    (out / "report.html").write_text(render(__package__, "shipped.html", view), encoding="utf-8")
    console.print(f"report: {out / 'report.html'}")


def _done(folder: Path, policy: str) -> bool:
    path = folder / "results.json"
    return path.exists() and read_results(path).protocol.weights == weights_digest(policy)


def _draw_times(trials: dict[str, Trials], path: Path) -> None:
    recorded = [trial for tried in trials.values() for _, trial in tried]
    draw_times(
        np.concatenate([trial.inference_ms for trial in recorded]),
        np.concatenate([trial.chunk_latency_ms for trial in recorded]),
        np.concatenate([trial.command_periods_ms for trial in recorded]),
        path,
    )


def _view(tasks: Mapping[str, Sequence[TrialView]]) -> ShippedView:
    policies, evaluations = [], []
    for task in tasks:
        training = describe_checkpoint(SHIPPED / task)["training"]
        policies.append((task, str(training["dataset"]["episodes"]), str(training["steps_done"])))
        known = published_evaluations(SHIPPED / task).values()
        evaluations += [(task, *success_row(results)) for results in known if not withheld(results.protocol)]
    return ShippedView(tasks, ("task", *SUCCESS_HEAD), evaluations, policies, machine())
