"""Commands that make policies and try them: `train`, `losses`, `eval` and `compare`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from activemimic_bringup.cli.error_exit import UsageProblem

if TYPE_CHECKING:
    from activemimic_rollout.trials.trial_plan import TrialPlan


def train(
    config: Annotated[Path, typer.Argument(help="The run's YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Fields of it, such as optimizer.lr=0.0005.", metavar="[FIELD=VALUE]…")
    ] = None,
) -> None:
    """Train a policy, or go on with the run that its `out` folder holds. Needs no ROS.

    On several GPUs: torchrun --nproc-per-node N --no-python activemimic train CONFIG.
    """
    from activemimic_training.trainer.setup.train_config import load_train_config

    chosen = load_train_config(config, overrides or [])

    from activemimic_training.trainer.train import train as run  # seconds of torch, once the file is known good
    from rich.console import Console

    console = Console(quiet=os.environ.get("RANK", "0") != "0")  # of torchrun's processes, the first one tells
    summary = run(chosen, console)
    console.print(
        f"{summary.steps} steps, loss {summary.loss_first:.4f} to {summary.loss_last:.4f}, "
        f"{summary.frames_per_s:.0f} frames/s; checkpoint: {chosen.out / 'checkpoint'}",
        highlight=False,
    )


def losses(
    runs: Annotated[list[Path], typer.Argument(help="Folders of training runs.")],
    out: Annotated[Path, typer.Option(help="The picture, PNG.")] = Path("losses.png"),
) -> None:
    """Draw the losses of training runs over their steps: of all numbers, and of camera and wrists apart."""
    from activemimic_training.trainer.checks.learning_curves import plot_losses

    names = [run.name for run in runs]
    unique = len(set(names)) == len(names)
    picture = plot_losses({run.name if unique else str(run): run for run in runs})
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(picture)
    typer.echo(f"{len(runs)} runs: {out}")


def evaluate(
    task: Annotated[str, typer.Option(help="Restocking, reaching, finding or pouring.")] = "reaching",
    policy: Annotated[
        str, typer.Option(help="A checkpoint's folder or a shipped one's name, expert, hold, random or replay:EPISODE.")
    ] = "expert",
    trials: Annotated[int | None, typer.Option(min=1, help="The plan's first trials; default: all.")] = None,
    perturbation: Annotated[
        list[str] | None, typer.Option(help="A perturbation of the scene; may be repeated.")
    ] = None,
    plan: Annotated[Path | None, typer.Option(help="Trial plan; default: the one published for the task.")] = None,
    first_seed: Annotated[
        int | None,
        typer.Option(min=0, help="Instead of a plan: --trials scenes drawn by this seed and those that follow."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of results and report; default: out/evaluation/TASK_POLICY.")
    ] = None,
    contract: Annotated[str, typer.Option(help="Robot contract: a name or a YAML file.")] = "g1_sim",
    time_limit_s: Annotated[float | None, typer.Option(min=0.1, help="Longest trial; default: the task's own.")] = None,
    video: Annotated[bool, typer.Option(help="Keep a video of every trial.")] = True,
    workers: Annotated[int, typer.Option(min=1, help="Processes, in lock-step.")] = 2,
    latency_ms: Annotated[
        float, typer.Option(min=0.0, help="How late a checkpoint's chunks come, in lock-step.")
    ] = 0.0,
    rtc_mode: Annotated[
        str, typer.Option(help="How they go on from one another, in lock-step: replace, rtc_trained or rtc_guided.")
    ] = "replace",
    ablate_camera: Annotated[
        list[str] | None, typer.Option(help="A camera that the checkpoint is shown black; may be repeated.")
    ] = None,
    instruction: Annotated[
        str, typer.Option(help="What the checkpoint is told in every trial; default: each scene's own words.")
    ] = "",
    through_ros: Annotated[
        bool, typer.Option("--through-ros", help="In real time, through the nodes, instead of in lock-step.")
    ] = False,
) -> None:
    """Try a policy on a task's published trials: in lock-step (fast, repeatable), or in real time through the nodes.

    Trials that the folder holds are kept, so that a killed evaluation goes on. The result is OUT/report.html.
    """
    folder = out or Path("out/evaluation") / f"{task}_{Path(policy).name}"
    if first_seed is not None and plan is not None:
        raise UsageProblem("--plan and --first-seed: expected one of the two")
    if through_ros:
        if latency_ms or rtc_mode != "replace":
            raise UsageProblem("--latency-ms and --rtc-mode are for lock-step; through ROS delays are real")
        _evaluate_through_ros(
            task,
            policy,
            trials,
            perturbation or [],
            plan,
            first_seed,
            folder,
            contract,
            time_limit_s,
            video,
            ablate_camera or [],
            instruction,
        )
    else:
        served = (latency_ms, rtc_mode, tuple(ablate_camera or ()), instruction)
        _evaluate_in_lockstep(
            task,
            policy,
            _plan(task, plan, first_seed, trials),
            tuple(perturbation or ()),
            folder,
            contract,
            time_limit_s,
            video,
            workers,
            *served,
        )


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of one evaluation.")],
    second: Annotated[Path, typer.Argument(help="Folder of the other, on the same trials.")],
) -> None:
    """Compare two policies trial by trial, with an exact McNemar test."""
    from activemimic_rollout.trials.compare import compare as run
    from activemimic_rollout.trials.results import read_results
    from activemimic_rollout.trials.statistics import success_text
    from rich.console import Console
    from rich.table import Table

    results = [read_results(folder / "results.json") for folder in (first, second)]
    outcome = run(*results)
    console = Console(highlight=False)
    table = Table("", str(first), str(second))
    alone = (outcome.only_first, outcome.only_second)
    table.add_row("success", *(success_text(outcome.both + only, outcome.trials) for only in alone))
    table.add_row("points", str(outcome.points_first), str(outcome.points_second))
    table.add_row("succeeded alone", *map(str, alone))
    console.print(table)
    verdict = "different" if outcome.different else "not shown to be different"
    console.print(
        f"{outcome.trials} paired trials: both {outcome.both}, neither {outcome.neither}; "
        f"exact McNemar p = {outcome.p:.3g}: {verdict} at the 5 % level"
    )


def _plan(task: str, plan: Path | None, first_seed: int | None, trials: int | None) -> TrialPlan:
    from activemimic_rollout.trials.trial_plan import load_plan, published_plan, seed_series
    from activemimic_sim.tasks import make_task

    make_task(task)
    if first_seed is not None:
        return seed_series(task, first_seed, trials or 1)
    return (load_plan(plan, task) if plan else published_plan(task)).first(trials)


def _evaluate_in_lockstep(
    task: str,
    policy: str,
    plan: TrialPlan,
    perturbations: tuple[str, ...],
    out: Path,
    contract: str,
    time_limit_s: float | None,
    video: bool,
    workers: int,
    latency_ms: float,
    rtc_mode: str,
    ablated_cameras: tuple[str, ...],
    instruction: str,
) -> None:
    from activemimic_rollout.reports.report import chunks_text, write_report
    from activemimic_rollout.synchronous.trials_in_simulation import LockstepPlan
    from activemimic_rollout.synchronous.trials_in_simulation import evaluate as run
    from activemimic_rollout.trials.statistics import success_text
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(highlight=False)
    columns = (TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        shown = bar.add_task("trials", total=len(plan.trials))

        def progress(trial: Any) -> None:
            bar.advance(shown)
            outcome = "success" if trial.success else trial.failure
            bar.console.print(f"trial {trial.number}: {outcome} after {trial.time_s:.1f} s ({trial.stage})")

        served = (latency_ms, rtc_mode, ablated_cameras, instruction)
        tried = LockstepPlan(plan, policy, contract, perturbations, time_limit_s, video, *served)
        done = run(tried, out, workers, progress)
        bar.update(shown, completed=len(done))
    page = write_report(out)
    console.print(f"chunks: {chunks_text(done)}")
    console.print(f"{success_text(sum(trial.success for trial in done), len(done))}; {page}")


def _evaluate_through_ros(
    task: str,
    policy: str,
    trials: int | None,
    perturbations: list[str],
    plan: Path | None,
    first_seed: int | None,
    out: Path,
    contract: str,
    time_limit_s: float | None,
    video: bool,
    ablated_cameras: list[str],
    instruction: str,
) -> None:
    from activemimic_bringup.cli.robot import require_ros, run_graph

    require_ros()
    if policy in ("hold", "random") or policy.startswith("replay:"):
        raise UsageProblem(f"policy {policy!r} works in lock-step only; through ROS: a checkpoint's folder or expert")
    texts = {
        "mode": "expert" if policy == "expert" else "policy",
        "checkpoint": "" if policy == "expert" else policy,
        "contract": contract,
        "task": task,
        "trials": str(trials or 0),
        "perturbations": ",".join(perturbations),
        "results": str(out),
        "plan": str(plan or ""),
        "first_seed": str(-1 if first_seed is None else first_seed),
        "time_limit_s": str(time_limit_s or 0.0),
        "ablated_cameras": ",".join(ablated_cameras),
        "instruction": instruction,
        "episodes": str(out / "episodes") if video else "",
    }
    code = run_graph("evaluate", texts)
    if (out / "results.json").exists():
        from activemimic_rollout.reports.recorded_trial import write_videos
        from activemimic_rollout.reports.report import write_report

        write_videos(out)
        typer.echo(f"report: {write_report(out)}")
    raise typer.Exit(code)
