"""The page of an evaluation: how many succeeded, where the others ended, what the head did, every trial's video."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path

from activemimic_sim.tasks import make_task

from activemimic_rollout.reports.figures import draw_funnel, draw_grips, draw_head_traces
from activemimic_rollout.reports.html import page, table
from activemimic_rollout.reports.trace import read_trace
from activemimic_rollout.trials.results import Results, Trial, read_results
from activemimic_rollout.trials.statistics import success_text


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
    path.write_text(page(f"{results.protocol.task}: {results.protocol.policy}", _body(out, results, stages)))
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


def _body(out: Path, results: Results, stages: Sequence[str]) -> str:
    protocol, trials = results.protocol, results.trials
    successes = sum(trial.success for trial in trials)
    most = len(trials) * len(make_task(protocol.task).point_stages)
    facts = [
        ("task", protocol.task),
        ("policy", f"{protocol.policy} {protocol.weights}".strip()),
        ("perturbations", ", ".join(protocol.perturbations) or "none"),
        ("black cameras", ", ".join(protocol.ablated_cameras) or "none"),
        ("told", protocol.instruction or "each scene's own words"),
        ("trial plan", f"{protocol.plan}, {len(trials)} trials"),
        ("run", "in lock-step with the simulator" if protocol.mode == "lockstep" else "in real time through ROS 2"),
        ("time limit", f"{protocol.time_limit_s:g} s"),
        ("points", f"{sum(trial.points for trial in trials)} of {most}"),
        ("time of a success", _spread([trial.time_s for trial in trials if trial.success], "s")),
        ("chunks", chunks_text(trials)),
        ("target first seen", _spread([t.first_seen_s for t in trials if t.first_seen_s is not None], "s")),
        ("the head has turned", _spread([t.head_travel_rad for t in trials if t.head_travel_rad is not None], "rad")),
    ]
    failures = sorted({trial.failure for trial in trials if trial.failure})
    why = [(text, str(sum(trial.failure == text for trial in trials))) for text in failures]
    seen = ""
    if (out / "media" / "head.png").exists():
        seen = """<h2>What the head did, and what it saw</h2>
<img src="media/head.png" alt="head motion and target visibility">
<figcaption>One line a trial; green: success. The lowest panel is how much of the target the head camera saw; the dots
mark when it was seen first.</figcaption>"""
    if (out / "media" / "grips.png").exists():
        seen += """<h2>Where hands closed</h2>
<img src="media/grips.png" alt="fingertips from what they grasp, when they closed and while they were open">
<figcaption>The fingertips of the nearer hand, from the middle of what is to be grasped: a large dot where they began to
close, small ones ten times a second while they were open; green: success. Red dots that crowd in one place are hands
that hover there.</figcaption>"""
    return f"""<h1>{escape(protocol.task.capitalize())}</h1>
<p class="lead">{escape(protocol.policy)} succeeded in <b>{escape(success_text(successes, len(trials)))}</b> trials.</p>
{table((), facts)}
<h2>Where trials ended</h2><img src="media/funnel.png" alt="trials by stage reached" width="640">
{table(("failure", "trials"), why) if why else ""}
{seen}
<h2>Trials</h2>{"".join(_trial(out, trial, stages) for trial in trials)}"""


def _trial(out: Path, trial: Trial, stages: Sequence[str]) -> str:
    outcome, style = ("success", "good") if trial.success else ("no success", "bad")
    cell = "" if trial.cell is None else f", cell {trial.cell}"
    times = [(stage, f"{trial.stage_times_s[stage]:.1f} s") for stage in stages if stage in trial.stage_times_s]
    video = ""
    if (out / f"{trial.media}.mp4").exists():
        video = f'<video src="{trial.media}.mp4" controls loop muted preload="none" width="1008"></video>'
    told = f" ({escape(trial.failure)})" if trial.failure else ""
    return f"""<details><summary>{trial.number}: <span class="{style}">{outcome}</span> after {trial.time_s:.1f} s,
{escape(trial.stage)}{told}; seed {trial.seed}{cell}</summary>{table(("stage", "reached after"), times)}{video}
</details>"""


def _spread(values: Sequence[float], unit: str) -> str:
    if not values:
        return "never"
    ordered = sorted(values)
    middle, low, high = (f"{value:.1f} {unit}" for value in (ordered[len(ordered) // 2], ordered[0], ordered[-1]))
    return f"median {middle}, {low} to {high} ({len(ordered)} trials)"
