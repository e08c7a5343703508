"""Commands that simulate: `sim demos`, `sim sheet` and `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="The simulated G1, without ROS and faster than real time.")


@app.command()
def demos(
    out: Annotated[Path, typer.Option(help="Folder of the episodes; those in it are kept.")] = Path("out/demos"),
    task: Annotated[str, typer.Option(help="Task of the simulator.")] = "reaching",
    episodes: Annotated[int, typer.Option(min=1, help="Number of episodes, one a seed.")] = 50,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first episode; the others follow.")] = 1000,
    camera_hz: Annotated[
        int | None, typer.Option(min=1, help="How often the cameras are stored; default: the contract's rate.")
    ] = None,
    perturbation: Annotated[
        list[str] | None, typer.Option(help="A perturbation of the scenes; may be repeated.")
    ] = None,
    cell: Annotated[
        list[int] | None,
        typer.Option(help="Only scenes of this cell of the task's trial plan; may be repeated, and they take turns."),
    ] = None,
    contract: Annotated[str, typer.Option(help="Robot contract: a name or a YAML file.")] = "g1_sim",
    late_starts: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the episodes that begin in the first 5 s of the motion.")
    ] = 0.75,
    action_noise: Annotated[
        float,
        typer.Option(min=0.0, max=10.0, help="How often a second the arms get action noise; marked, and not imitated."),
    ] = 0.4,
    policy: Annotated[
        str, typer.Option(help="A checkpoint that moves in turns with the expert, who goes on from where it gets to.")
    ] = "",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Let the task's expert demonstrate, headless, into the same bags that the recorder writes."""
    from activemimic_rollout.synchronous.demonstrations import DemonstrationPlan, generate
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    plan = DemonstrationPlan(
        task,
        contract,
        tuple(perturbation or ()),
        tuple(cell or ()),
        camera_hz,
        late_starts,
        action_noise=action_noise,
        policy=policy,
    )
    seeds = list(range(first_seed, first_seed + episodes))
    failed: list[int] = []
    with Progress(TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        progress = bar.add_task("episodes", total=episodes)

        def done(demonstration: Any) -> None:
            if not demonstration.success:
                failed.append(demonstration.seed)
            bar.advance(progress)

        made = generate(plan, out, seeds, workers, done)
        bar.update(progress, completed=episodes)
    there = episodes - len(made)
    typer.echo(f"{out}: {len(made)} made, {there} there before, {len(failed)} of the new ones failed")


@app.command()
def sheet(
    task: Annotated[str, typer.Option(help="Task of the simulator.")] = "reaching",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scene.")] = 0,
    perturbation: Annotated[
        list[str] | None, typer.Option(help="A perturbation of the scene; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The picture; default: out/sheets/TASK.png.")] = None,
) -> None:
    """Draw what the cameras see when the expert reaches each stage of a task."""
    from activemimic_rollout.reports.contact_sheet import draw_sheet

    path = out or Path("out/sheets") / f"{task}.png"
    success = draw_sheet(task, seed, path, tuple(perturbation or ()))
    typer.echo(f"{path}: the expert {'succeeded' if success else 'did not succeed'}")


def demo(
    out: Annotated[Path, typer.Option(help="Folder of everything the demo makes.")] = Path("out/demo"),
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Record, generate, train, serve and evaluate, in ten minutes.")
    ] = False,
) -> None:
    """Let the policies that come with this try their tasks in real time through ROS 2; see OUT/report.html."""
    from activemimic_bringup.cli.robot import require_ros

    require_ros()
    if from_scratch:
        from activemimic_bringup.demo.from_scratch import run as run_from_scratch

        run_from_scratch(out)
    else:
        from activemimic_bringup.demo.shipped import run as run_shipped

        run_shipped(out)
