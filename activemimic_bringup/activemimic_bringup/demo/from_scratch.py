"""The whole loop for one task: record, generate, build, train, evaluate.

A stage whose result is there is not repeated, so a killed demo goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from activemimic_bringup.demo.demo_page import write_report
from activemimic_bringup.demo.trials import run_trials

FPS = 10  # rows a second in the dataset, and the policy's own rate
TRAINING = Path(__file__).parent.parent / "config" / "reaching_demo.yaml"


@dataclass(frozen=True)
class DemoPlan:
    """How much is done. The trials are the first of the published plan: no scene of it is ever demonstrated."""

    task: str = "reaching"
    recorded: range = range(0, 3)
    generated: range = range(100, 160)
    trials: int = 5
    training: tuple[str, ...] = ()  # overrides of the training configuration, such as "steps=100"


@dataclass(frozen=True)
class Stage:
    """One step of the demo: what it is, where its result appears, and what makes it."""

    name: str
    result: Path
    make: Callable[[], None]


def run(out: Path, console: Console | None = None, plan: DemoPlan | None = None) -> dict[str, object]:
    """Run all stages that are missing in `out`, write report.html and summary.json there, return the summary.

    Raises:
        DemoError: nodes ended or did not end in time; what was made so far stays.
    """
    console, plan = console or Console(), plan or DemoPlan()
    out.mkdir(parents=True, exist_ok=True)
    stages = (
        Stage("record", out / "recorded" / "results.json", lambda: _record(plan, out, console)),
        Stage("generate", out / "generated" / "done", lambda: _generate(plan, out, console)),
        Stage("build dataset", out / "dataset", lambda: _build(out, console)),
        Stage("train", out / "train" / "summary.json", lambda: _train(plan, out, console)),
        Stage("evaluate", out / "trials" / "results.json", lambda: _evaluate(plan, out, console)),
    )
    took = _load_times(out)
    for number, stage in enumerate(stages, start=1):
        heading = f"[bold]{number}/{len(stages)} {stage.name}[/bold]"
        if stage.name in took and stage.result.exists():
            console.print(f"{heading}: done before")
            continue
        console.print(heading)
        started_s = time.monotonic()
        stage.make()
        took[stage.name] = round(time.monotonic() - started_s, 1)
        (out / "times.json").write_text(json.dumps(took, indent=1))
    summary = write_report(out, took)
    console.print(f"report: {out / 'report.html'}")
    console.print_json(data=summary)
    return summary


def _record(plan: DemoPlan, out: Path, console: Console) -> None:
    console.print(f"The expert teleoperates {len(plan.recorded)} episodes in real time.")
    seeds = {"trials": str(len(plan.recorded)), "first_seed": str(plan.recorded.start)}
    run_trials(plan.task, "expert", out / "recorded", out / "nodes_expert.log", console, seeds)


def _evaluate(plan: DemoPlan, out: Path, console: Console) -> None:
    console.print(f"The policy tries {plan.trials} held-out scenes in real time.")
    trials = {"checkpoint": str(out / "train" / "checkpoint"), "trials": str(plan.trials)}
    run_trials(plan.task, "policy", out / "trials", out / "nodes_policy.log", console, trials)


def _generate(plan: DemoPlan, out: Path, console: Console) -> None:
    from activemimic_rollout.synchronous.demonstrations import DemonstrationPlan, generate

    console.print(f"The expert demonstrates {len(plan.generated)} more scenes, headless and faster than real time.")
    demonstrations = DemonstrationPlan(plan.task, camera_hz=FPS)
    with _progress(console, "episodes") as bar:
        task = bar.add_task("episodes", total=len(plan.generated))
        made = generate(demonstrations, out / "generated", list(plan.generated), progress=lambda _: bar.advance(task))
        bar.update(task, completed=len(plan.generated))
    failed = sum(not demonstration.success for demonstration in made)
    console.print(f"  {len(made)} made, {failed} of them failed and are left out of the dataset")
    (out / "generated" / "done").touch()


def _build(out: Path, console: Console) -> None:
    from activemimic_data.dataset import build_dataset

    with _progress(console, "episodes") as bar:
        task = bar.add_task("converting", total=None)
        result = build_dataset(
            [out / "recorded", out / "generated"],
            out / "dataset",
            fps=FPS,
            progress=lambda done, total, _: bar.update(task, completed=done, total=total),
        )
    for broken in result.broken:
        console.print(f"  left out: {broken.bag.name}: {broken.reason}", style="red", markup=False)
    for cut in result.cuts:
        console.print(f"  cut: {cut.bag}, {cut.from_s:.2f} to {cut.to_s:.2f} s: {cut.reason}", markup=False)
    console.print(f"  {result.episodes} episodes, {result.frames} rows at {FPS} a second")


def _train(plan: DemoPlan, out: Path, console: Console) -> None:
    from activemimic_training.trainer.setup.train_config import load_train_config
    from activemimic_training.trainer.train import train

    config = load_train_config(TRAINING, [f"dataset={out / 'dataset'}", f"out={out / 'train'}", *plan.training])
    train(config, console)


def _progress(console: Console, unit: str) -> Progress:
    columns = (TextColumn(f"  {unit}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def _load_times(out: Path) -> dict[str, float]:
    path = out / "times.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}
