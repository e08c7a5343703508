"""The page of an evaluation: success rate, stages reached, head motion, grasp positions, every trial's video."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from activemimic_sim.tasks import make_task

from activemimic_rollout.reports.figures import draw_funnel, draw_grips, draw_head_traces
from activemimic_rollout.reports.html import render
from activemimic_rollout.reports.trace import read_trace
from activemimic_rollout.trials.results import Protocol, Results, Trial, read_results
from activemimic_rollout.trials.statistics import success_text


@dataclass(frozen=True)
class ReportView:
    """What `templates/report.html` shows.

    Attributes:
        success: how many trials succeeded, with the interval.
        facts: protocol and results as pairs of name and text.
        failures: why trials failed, and how many did.
        stages: of the task, in their order.
        media: figures and videos that there are, relative to the page.
    """

    protocol: Protocol
    trials: Sequence[Trial]
    success: str
    facts: Sequence[tuple[str, str]]
    failures: Sequence[tuple[str, int]]
    stages: Sequence[str]
    media: Sequence[str]


def write_report(out: Path) -> Path:
    """Write `out/report.html` and its figures from `out/results.json` and the traces beside it; returns the page.

    Raises ResultsError.
    """
    results = read_results(out / "results.json")
    stages = make_task(results.protocol.task).stages
    draw_funnel(stages, reached(results.trials, stages), out / "media" / "funnel.png")
    watched = [trial for trial in results.trials if (out / f"{trial.media}.csv").exists()]
    if watched:
        traces = [(trial.success, read_trace(out / f"{trial.media}.csv")) for trial in watched]
        draw_head_traces(traces, out / "media" / "head.png")
        if all(trace.grips for _, trace in traces):  # a folder may hold traces without them
            draw_grips(traces, out / "media" / "grips.png")
    path = out / "report.html"
    path.write_text(render(__package__, "report.html", _view(out, results, stages)), encoding="utf-8")
    return path


def reached(trials: Sequence[Trial], stages: Sequence[str]) -> list[int]:
    """How many trials came at least as far as each stage, and, last, how many succeeded."""
    place = {stage: index for index, stage in enumerate(stages)}
    counts = [sum(place[trial.stage] >= index for trial in trials) for index in range(len(stages))]
    return [*counts, sum(trial.success for trial in trials)]


def chunks_text(trials: Sequence[Trial]) -> str:
    """How many chunks the controller took, and for what reasons it rejected others."""
    counts: Counter[str] = Counter()
    for trial in trials:
        for name, count in trial.diagnostics.get("controller", {}).items():
            if name.startswith(("accepted_", "rejected_")):
                counts[name] += int(count)
    accepted = sum(count for name, count in counts.items() if name.startswith("accepted_"))
    rejected = {name.removeprefix("rejected_"): n for name, n in counts.items() if name.startswith("rejected_")}
    why = ", ".join(f"{kind} {count}" for kind, count in sorted(rejected.items()))
    return f"{accepted} accepted, {sum(rejected.values())} rejected" + (f" ({why})" if why else "")


def _view(out: Path, results: Results, stages: Sequence[str]) -> ReportView:
    protocol, trials = results.protocol, results.trials
    media = ["media/head.png", "media/grips.png", *(f"{trial.media}.mp4" for trial in trials)]
    return ReportView(
        protocol,
        trials,
        success_text(sum(trial.success for trial in trials), len(trials)),
        _facts(protocol, trials),
        Counter(trial.failure for trial in trials if trial.failure).most_common(),
        stages,
        [file for file in media if (out / file).exists()],
    )


def _facts(protocol: Protocol, trials: Sequence[Trial]) -> list[tuple[str, str]]:
    most = len(trials) * len(make_task(protocol.task).point_stages)
    return [
        ("Task", protocol.task),
        ("Policy", f"{protocol.policy} {protocol.weights}".strip()),
        ("Perturbations", ", ".join(protocol.perturbations) or "none"),
        ("Ablated cameras", ", ".join(protocol.ablated_cameras) or "none"),
        ("Instruction", protocol.instruction or "each scene's own"),
        ("Trial plan", f"{protocol.plan}, {len(trials)} trials"),
        ("Mode", "in lock-step with the simulator" if protocol.mode == "lockstep" else "in real time through ROS 2"),
        ("Time limit", f"{protocol.time_limit_s:g} s"),
        ("Points", f"{sum(trial.points for trial in trials)} of {most}"),
        ("Time to success", _spread([trial.time_s for trial in trials if trial.success], "s")),
        ("Action chunks", chunks_text(trials)),
        ("Target first seen after", _spread([t.first_seen_s for t in trials if t.first_seen_s is not None], "s")),
        ("Head travel", _spread([t.head_travel_rad for t in trials if t.head_travel_rad is not None], "rad")),
    ]


def _spread(values: Sequence[float], unit: str) -> str:
    if not values:
        return "never"
    ordered = sorted(values)
    middle, low, high = (f"{value:.1f} {unit}" for value in (ordered[len(ordered) // 2], ordered[0], ordered[-1]))
    return f"median {middle}, {low} to {high} ({len(ordered)} trials)"
