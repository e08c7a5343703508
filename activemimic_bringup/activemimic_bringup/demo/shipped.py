"""The policies that come with this installation, each trying its task once, in real time through ROS 2."""

from __future__ import annotations

import shutil
from html import escape
from pathlib import Path

import numpy as np
from activemimic_policy.checked_policy import SHIPPED
from activemimic_policy.checkpoint import describe_checkpoint
from activemimic_rollout.agents.agents import weights_digest
from activemimic_rollout.publishing import SUCCESS_HEAD, published_evaluations, success_row, withheld
from activemimic_rollout.reports.figures import draw_times
from activemimic_rollout.reports.html import page, table
from activemimic_rollout.trials.results import read_results
from rich.console import Console

from activemimic_bringup.demo.demo_page import Trials, draw_trials, machine, read_trials, show_trials
from activemimic_bringup.demo.trials import run_trials
from activemimic_bringup.launching.graph import TASKS


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
    for task, tried in trials.items():
        draw_trials(task, tried, out / "media")
    _draw_times(trials, out / "media" / "times.png")
    (out / "report.html").write_text(_page(trials), encoding="utf-8")
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


def _page(trials: dict[str, Trials]) -> str:
    successes = sum(bool(entry["success"]) for tried in trials.values() for entry, _ in tried)
    count = sum(map(len, trials.values()))
    policies = []
    evaluations = []
    for task in trials:
        about = describe_checkpoint(SHIPPED / task)
        learnt = about["training"]["dataset"]
        policies.append((task, str(learnt["episodes"]), str(about["training"]["steps_done"])))
        known = published_evaluations(SHIPPED / task).values()
        evaluations += [(task, *success_row(results)) for results in known if not withheld(results.protocol)]
    tasks = "".join(f"<h2>{escape(task.capitalize())}</h2>{show_trials(task, tried)}" for task, tried in trials.items())
    body = f"""<h1>ActiveMimic: {escape(", ".join(trials))}</h1>
<p class="lead">Just now, in real time through ROS 2: <b>{successes} of {count}</b> trials succeeded, the first of each
task's published plan.</p>
<p>One trial says little; the table says how the same policies did in many, none of whose scenes they had seen. With
black cameras, without words or with other packagings they do worse, as their cards tell. Each is a network of 1.3 M
parameters that learnt on two CPU cores.</p>
{table(("task", *SUCCESS_HEAD), evaluations)}
{tasks}
<h2>Times</h2><figure><img src="media/times.png" alt="latency histograms">
<figcaption>Over the trials above; the red line is the median.</figcaption></figure>
<h2>What they learnt from</h2>{table(("task", "demonstrations", "steps of training"), policies)}
<p>Each has a card in activemimic_bringup/checkpoints. {escape(machine())}</p>"""
    return page("ActiveMimic demo", body)
