"""Commands about datasets: `dataset build` and `dataset inspect`. They need no ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from activemimic_bringup.cli.errors import FAILED, print_error

app = typer.Typer(no_args_is_help=True, help="Turn recorded episodes into a dataset, and look at it.")


@app.command()
def build(
    episodes: Annotated[list[Path], typer.Argument(help="Episode folders, or folders that hold them.")],
    out: Annotated[Path, typer.Option(help="The dataset's folder; must not exist.")],
    fps: Annotated[int, typer.Option(min=1, max=200, help="Rows per second.")] = 30,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    all_outcomes: Annotated[bool, typer.Option("--all", help="Also episodes whose outcome is not success.")] = False,
) -> None:
    """Convert episodes to a LeRobotDataset v3.0 folder. Exits with 1 if a bag could not be read."""
    from activemimic_training.dataset import build_dataset
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console()
    with Progress(TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), console=console) as bar:
        task = bar.add_task("episodes", total=None)
        result = build_dataset(
            episodes,
            out,
            fps=fps,
            workers=workers,
            only_success=not all_outcomes,
            progress=lambda done, total, _: bar.update(task, completed=done, total=total),
        )
    for skipped in result.skipped:
        if not skipped.broken:
            console.print(f"left out: {skipped.bag}: {skipped.reason}", style="yellow", markup=False)
    for broken in result.broken:
        print_error(f"{broken.bag}: {broken.reason}")
    console.print(f"{result.root}: {result.episodes} episodes, {result.frames} frames")
    if result.broken:
        raise typer.Exit(FAILED)


@app.command()
def inspect(
    dataset: Annotated[Path, typer.Argument(help="The dataset's folder.")],
    html: Annotated[Path | None, typer.Option(help="Where the page goes; default: inside the dataset.")] = None,
) -> None:
    """Write a page to look at, and print what stands out."""
    from activemimic_training.dataset import inspect_dataset
    from rich.console import Console
    from rich.table import Table

    page = html or dataset / "inspect.html"
    report = inspect_dataset(dataset, page)
    console = Console()
    console.print(f"{report.root}: {len(report.episodes)} episodes, {report.rows} rows at {report.fps} per second")
    table = Table("slot", "unit", "min", "mean", "max", "std", "remark")
    for slot in report.slots:
        remarks = ["hardly moves"] if slot.near_constant else []
        if slot.rows_out_of_range:
            remarks.append(f"{slot.rows_out_of_range} rows beyond the limits")
        numbers = (f"{value:.3f}" for value in (slot.minimum, slot.mean, slot.maximum, slot.std))
        table.add_row(slot.name, slot.unit, *numbers, ", ".join(remarks))
    console.print(table)
    for source, (mean_ms, max_ms) in report.ages_ms.items():
        console.print(f"age of {source}: mean {mean_ms:.0f} ms, at most {max_ms:.0f} ms", markup=False)
    console.print(f"page: {page}")
