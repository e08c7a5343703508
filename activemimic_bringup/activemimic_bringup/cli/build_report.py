"""What the command line shows of a dataset that is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from activemimic_description.common.errors import FAILED

from activemimic_bringup.cli.error_exit import print_error

if TYPE_CHECKING:
    from activemimic_data.dataset import BuildResult


class BuildReport:
    """A bar while recordings are converted, and afterwards what became of them."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(soft_wrap=True, highlight=False)
        columns = (TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console)
        self._task = self._bar.add_task("episodes", total=None)

    def __enter__(self) -> BuildReport:
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
