"""Commands about datasets: `dataset build` and `dataset inspect`. They need no ROS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from activemimic_bringup.cli.errors import FAILED, print_error

if TYPE_CHECKING:
    from activemimic_training.dataset import BuildResult

app = typer.Typer(no_args_is_help=True, help="Turn recorded episodes into a dataset, and look at it.")


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
) -> None:
    """Convert episodes to a LeRobotDataset folder; split them at gaps. Exits with 1 if a bag could not be read."""
    from activemimic_training.dataset import build_dataset

    with _Report() as report:
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
        )
    report.show(result)


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


class _Report:
    """A bar while recordings are converted, and afterwards what became of them."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(soft_wrap=True, highlight=False)
        columns = (TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console)
        self._task = self._bar.add_task("episodes", total=None)

    def __enter__(self) -> _Report:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def progress(self, done: int, total: int, name: str) -> None:
        self._bar.update(self._task, completed=done, total=total)

    def show(self, result: BuildResult) -> None:
        """Print what was left out and why; ends the command with 1 if something could not be read."""
        for cut in result.cuts:
            text = f"cut: {cut.bag}, {cut.from_s:.2f} to {cut.to_s:.2f} s: {cut.reason}"
            self._console.print(text, style="yellow", markup=False)
        for skipped in result.skipped:
            if not skipped.broken:
                self._console.print(f"left out: {skipped.bag}: {skipped.reason}", style="yellow", markup=False)
        for broken in result.broken:
            print_error(f"{broken.bag}: {broken.reason}")
        self._console.print(f"{result.root}: {result.episodes} episodes, {result.frames} frames", markup=False)
        if result.broken:
            raise typer.Exit(FAILED)
