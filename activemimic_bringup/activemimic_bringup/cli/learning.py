"""Commands about policies: `train`, `eval` and `policy inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from activemimic_bringup.cli.errors import UsageProblem

policy_app = typer.Typer(no_args_is_help=True, help="Look at a checkpoint.")


def train(
    config: Annotated[Path, typer.Argument(help="The run's YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Fields of it, such as optimizer.lr=0.0005.", metavar="[FIELD=VALUE]…")
    ] = None,
) -> None:
    """Train a policy, or go on with the run that its `out` folder holds. Needs no ROS."""
    from activemimic_training.trainer.config import load_train_config

    chosen = load_train_config(config, overrides or [])

    from activemimic_training.trainer.train import train as run  # seconds of torch, once the file is known good
    from rich.console import Console

    console = Console()
    summary = run(chosen, console)
    console.print(
        f"{summary.steps} steps, loss {summary.loss_first:.4f} to {summary.loss_last:.4f}, "
        f"{summary.frames_per_s:.0f} frames/s; checkpoint: {chosen.out / 'checkpoint'}",
        highlight=False,
    )


def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="The checkpoint's folder; empty: the task's expert.")] = "",
    task: Annotated[str, typer.Option(help="Task of the simulator.")] = "reaching",
    trials: Annotated[int, typer.Option(min=1, help="Number of trials, one a seed.")] = 10,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first trial; the others follow.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of results.json; trials in it are kept.")] = Path("out/evaluation"),
    contract: Annotated[str, typer.Option(help="Robot contract: a name or a YAML file.")] = "g1_sim",
    time_limit_s: Annotated[float | None, typer.Option(help="Longest trial; default: the task's own.")] = None,
    black: Annotated[list[str] | None, typer.Option(help="A camera that the policy sees black.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, in lock-step.")] = 2,
    through_ros: Annotated[
        bool, typer.Option("--through-ros", help="In real time, through the nodes, instead of in lock-step.")
    ] = False,
) -> None:
    """Try a policy in the simulator: in lock-step (fast, repeatable), or in real time through the nodes."""
    if through_ros:
        if black:
            raise UsageProblem("--black works in lock-step only")
        _evaluate_through_ros(checkpoint, task, trials, first_seed, out, contract, time_limit_s)
        return
    from rich.console import Console

    from activemimic_bringup.evaluation.lockstep import LockstepPlan
    from activemimic_bringup.evaluation.lockstep import evaluate as run
    from activemimic_bringup.evaluation.statistics import success_text

    console = Console(highlight=False)
    plan = LockstepPlan(task, contract, checkpoint or None, tuple(black or ()), time_limit_s)

    def progress(trial: Any) -> None:
        console.print(f"seed {trial.seed}: {'success' if trial.success else 'no success'} after {trial.time_s:.1f} s")

    seeds = range(first_seed, first_seed + trials)
    done = run(plan, seeds, out / "results.json", workers, progress)
    console.print(f"{success_text(sum(trial.success for trial in done), len(done))}; {out / 'results.json'}")


@policy_app.command()
def inspect(
    checkpoint: Annotated[Path, typer.Argument(help="The checkpoint's folder.")],
) -> None:
    """Print what a checkpoint needs and gives, how it was trained, and which slots its data hardly moved."""
    from activemimic_policy.checkpoint import describe_checkpoint
    from rich.console import Console
    from rich.table import Table

    about = describe_checkpoint(checkpoint)
    slots = about.pop("normalization")
    console = Console(highlight=False)
    facts = Table(show_header=False)
    for name, value in about.items():
        facts.add_row(name, _plain(value))
    console.print(facts)
    columns = list(slots[0])
    table = Table(*columns)
    for row in slots:
        table.add_row(*(_plain(row[column]) for column in columns))
    console.print(table)


def _evaluate_through_ros(
    checkpoint: str,
    task: str,
    trials: int,
    first_seed: int,
    out: Path,
    contract: str,
    time_limit_s: float | None,
) -> None:
    from activemimic_bringup.cli.robot import run_graph

    texts = {
        "mode": "policy" if checkpoint else "expert",
        "checkpoint": checkpoint,
        "contract": contract,
        "task": task,
        "trials": str(trials),
        "first_seed": str(first_seed),
        "results": str(out),
    }
    if time_limit_s is not None:
        texts["time_limit_s"] = str(time_limit_s)
    run_graph("evaluate", texts)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_plain(entry)}" for key, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
