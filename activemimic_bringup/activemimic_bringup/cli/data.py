"""Commands about datasets. They need no ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from activemimic_description.common.errors import FAILED

from activemimic_bringup.cli.build_report import BuildReport
from activemimic_bringup.cli.error_exit import UsageProblem

app = typer.Typer(no_args_is_help=True, help="Turn recorded episodes into a dataset, and look at it.")
imports = typer.Typer(no_args_is_help=True, help="Make a dataset of others' recordings.")
app.add_typer(imports, name="import")


@app.command()
def build(
    episodes: Annotated[list[Path], typer.Argument(help="Episode folders, or folders that hold them.")],
    out: Annotated[Path, typer.Option(help="The dataset's folder; must not exist.")],
    fps: Annotated[int, typer.Option(min=1, max=200, help="Rows per second.")] = 30,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    all_outcomes: Annotated[bool, typer.Option("--all", help="Also episodes whose outcome is not success.")] = False,
    max_gap_s: Annotated[
        float, typer.Option(min=0.01, help="An image, state or command older than this ends a segment.")
    ] = 0.3,
    min_seconds: Annotated[float, typer.Option(min=0.0, help="Shorter segments are left out.")] = 0.5,
    version: Annotated[str, typer.Option("--format", help="Layout of LeRobot: v3.0 or v2.1.")] = "v3.0",
    max_episodes: Annotated[
        int | None, typer.Option(min=1, help="Only the first ones that would be in; default: all.")
    ] = None,
    imitate_policy: Annotated[
        bool, typer.Option("--imitate-policy", help="Learn also from what a policy did, not from corrections alone.")
    ] = False,
) -> None:
    """Convert episodes to a LeRobotDataset folder; split them at gaps. Exits with 1 if a bag could not be read."""
    from activemimic_data.dataset import build_dataset

    with BuildReport() as report:
        result = build_dataset(
            episodes,
            out,
            fps,
            workers,
            not all_outcomes,
            report.progress,
            max_gap_s=max_gap_s,
            min_seconds=min_seconds,
            version=version,
            most_episodes=max_episodes,
            imitate_policy=imitate_policy,
        )
    report.show(result)


@imports.command("agibot-world")
def import_agibot(
    source: Annotated[Path, typer.Argument(help="Folder of task_info, observations and proprio_stats.")],
    out: Annotated[Path, typer.Option(help="The dataset's folder; must not exist.")],
    fps: Annotated[int, typer.Option(min=1, max=30, help="Rows per second; a divisor of 30.")] = 30,
    contract: Annotated[str, typer.Option(help="Robot contract whose cameras and slots it shall have.")] = "g1_hal",
    gripper_open: Annotated[float, typer.Option(help="Gripper state where it is open.")] = 35.0,
    gripper_closed: Annotated[float, typer.Option(help="Gripper state where it is closed.")] = 120.0,
    gripper_action: Annotated[
        str, typer.Option(help="Fraction (0 open, 1 closed), or raw, as the state.")
    ] = "fraction",
    waist: Annotated[str, typer.Option(help="Columns of the waist: pitch-lift or lift-pitch.")] = "pitch-lift",
    lift_unit: Annotated[str, typer.Option(help="Of the lift: m or cm.")] = "m",
    head_unit: Annotated[str, typer.Option(help="Of the head: rad or deg.")] = "rad",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    max_gap_s: Annotated[float, typer.Option(min=0.05, help="A longer pause between two frames ends a segment.")] = 0.3,
    min_seconds: Annotated[float, typer.Option(min=0.0, help="Shorter segments are left out.")] = 0.5,
    version: Annotated[str, typer.Option("--format", help="Layout of LeRobot: v3.0 or v2.1.")] = "v3.0",
) -> None:
    """Import AgiBot-World. Sources disagree on some units and orders of it: those are options."""
    from activemimic_data.importers import AgibotOptions, import_agibot_world

    options = AgibotOptions(
        contract,
        gripper_open,
        gripper_closed,
        _one_of("--gripper-action", gripper_action, "fraction", "raw"),
        _one_of("--waist", waist, "pitch-lift", "lift-pitch"),
        _one_of("--lift-unit", lift_unit, "m", "cm"),
        _one_of("--head-unit", head_unit, "rad", "deg"),
    )
    with BuildReport() as report:
        result = import_agibot_world(
            source, out, fps, options, workers, max_gap_s, min_seconds, version, report.progress
        )
    report.show(result)


@imports.command("egomimic")
def import_ego(
    source: Annotated[Path, typer.Argument(help="The HDF5 file, of a person or of the robot.")],
    out: Annotated[Path, typer.Option(help="The dataset's folder; must not exist.")],
    instruction: Annotated[str, typer.Option(help="What is done in it; the file does not say.")],
    fps: Annotated[int, typer.Option(min=1, max=200, help="Its rows per second; the file does not say.")] = 30,
    split: Annotated[str, typer.Option(help="Train or valid, by the file's masks, or all.")] = "train",
    arm: Annotated[str, typer.Option(help="Left or right: whose data a file of one hand holds.")] = "right",
    image_order: Annotated[str, typer.Option(help="Of its colour channels: rgb or bgr.")] = "rgb",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    min_seconds: Annotated[float, typer.Option(min=0.0, help="Shorter demonstrations are left out.")] = 0.5,
    version: Annotated[str, typer.Option("--format", help="Layout of LeRobot: v3.0 or v2.1.")] = "v3.0",
) -> None:
    """Import EgoMimic's demonstrations."""
    from activemimic_data.importers import EgomimicOptions, import_egomimic

    options = EgomimicOptions(
        instruction,
        fps,
        _one_of("--arm", arm, "left", "right"),
        _one_of("--image-order", image_order, "rgb", "bgr"),
        _one_of("--split", split, "train", "valid", "all"),
    )
    with BuildReport() as report:
        result = import_egomimic(source, out, options, workers, min_seconds, version, report.progress)
    report.show(result)


@app.command()
def inspect(
    datasets: Annotated[list[Path], typer.Argument(help="Folders; several are shown side by side, against the first.")],
    html: Annotated[Path | None, typer.Option(help="Where the page goes; default: inside the first dataset.")] = None,
) -> None:
    """Write a page to look at, and print what stands out."""
    from activemimic_training.analysis.inspect import inspect_datasets
    from rich.console import Console
    from rich.table import Table

    page = html or datasets[0] / "inspect.html"
    console = Console(highlight=False)
    for report in inspect_datasets(datasets, page):
        facts = f"{len(report.episodes)} episodes, {report.rows} rows at {report.fps} per second"
        console.print(f"{report.root}: {facts}", markup=False)
        table = Table("slot", "unit", "min", "mean", "max", "std", "remark")
        for slot in report.slots:
            numbers = (f"{value:.3f}" for value in (slot.minimum, slot.mean, slot.maximum, slot.std))
            table.add_row(slot.name, slot.unit, *numbers, ", ".join(slot.remarks))
        console.print(table)
        for source, (mean_ms, max_ms) in report.ages_ms.items():
            console.print(f"age of {source}: mean {mean_ms:.0f} ms, at most {max_ms:.0f} ms", markup=False)
        if report.cuts:
            seconds = sum(cut["to_s"] - cut["from_s"] for cut in report.cuts)
            console.print(f"{len(report.cuts)} stretches were cut, {seconds:.1f} s in all", style="yellow")
    console.print(f"page: {page}", markup=False)


@app.command()
def replay(
    episode: Annotated[str, typer.Argument(help="A recorded episode's folder, or DATASET#NUMBER.")],
    perturbation: Annotated[
        list[str] | None, typer.Option(help="A perturbation it was recorded with; repeatable.")
    ] = None,
    video: Annotated[Path | None, typer.Option(help="Film it to this .mp4 file.")] = None,
) -> None:
    """Send an episode's actions to the simulated robot, in its own scene: does it go along, does the task succeed?

    In lock-step, as `activemimic eval --policy replay:EPISODE`, which tries them in other scenes. Exits with 1 if the
    task did not succeed.
    """
    import numpy as np
    from activemimic_rollout.agents.recorded_actions import load_recorded
    from activemimic_rollout.synchronous.replay_in_simulation import replay as run
    from rich.console import Console
    from rich.table import Table

    recorded = load_recorded(episode)
    console = Console(highlight=False)
    with console.status(f"replaying {recorded.duration_s:.1f} s"):
        report = run(recorded, tuple(perturbation or ()), video)
    table = Table("slot", "unit", "mean error", "largest", title="measured in the replay minus in the recording")
    for name, unit, errors in zip(report.slots, report.units, np.abs(report.error).T, strict=True):
        table.add_row(name, unit, f"{errors.mean():.4f}", f"{errors.max():.4f}")
    console.print(table)
    outcome = "success" if report.success else report.failure or f"not done ({report.stage})"
    console.print(f"{recorded.task}, seed {recorded.seed}: {outcome} after {report.time_s:.1f} s", markup=False)
    if video:
        console.print(f"video: {video}", markup=False)
    if not report.success:
        raise typer.Exit(FAILED)


@app.command()
def openloop(
    checkpoint: Annotated[str, typer.Argument(help="The checkpoint's folder, or a shipped one's name.")],
    dataset: Annotated[Path, typer.Argument(help="The dataset's folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the page, the pictures and errors.csv.")],
    episodes: Annotated[str, typer.Option(help="Numbers and ranges, such as 0,3,10-12; default: the first five.")] = "",
) -> None:
    """Run a policy on recorded observations, and draw its chunks over what was recorded."""
    from activemimic_policy.checked_policy import checkpoint_folder
    from activemimic_training.analysis import run_openloop
    from rich.console import Console
    from rich.progress import Progress

    folder = checkpoint_folder(checkpoint)
    chosen = _numbers("--episodes", episodes) if episodes else None
    console = Console(highlight=False)
    with Progress(console=console) as bar:
        task = bar.add_task("episodes", total=None)
        report = run_openloop(
            folder, dataset, out, chosen, lambda done, total: bar.update(task, completed=done, total=total)
        )
    for unit in dict.fromkeys(report.units):
        columns = [index for index, found in enumerate(report.units) if found == unit]
        error, staying = report.error[:, columns].mean(), report.staying_error[columns].mean()
        console.print(f"{unit}: mean error {error:.4f}; of a policy that stays where it is {staying:.4f}")
    console.print(f"page: {report.page}", markup=False)


def _numbers(option: str, text: str) -> list[int]:
    """The numbers in a list such as 0,3,10-12. Raises UsageProblem."""
    found: list[int] = []
    for part in text.split(","):
        first, separator, last = part.strip().partition("-")
        if not first.isdigit() or (separator and not last.isdigit()):
            raise UsageProblem(f"{option} {text!r}: expected numbers and ranges, such as 0,3,10-12")
        found += range(int(first), int(last or first) + 1)
    return found


def _one_of(option: str, value: str, *choices: str) -> Any:
    """Raises UsageProblem for a value that is none of the choices."""
    if value not in choices:
        raise UsageProblem(f"{option} {value!r}: expected {', '.join(choices)}")
    return value
