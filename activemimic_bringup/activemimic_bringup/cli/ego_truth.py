"""Commands that make videos with a known truth: `ego synthesize` and `ego hot3d`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from activemimic_description.common.errors import FAILED

from activemimic_bringup.cli.error_exit import print_error


def synthesize(
    out: Annotated[Path, typer.Option(help="Folder of the videos; those in it are kept.")],
    episodes: Annotated[int, typer.Option(min=1, help="Number of videos, one a seed, of about ten seconds.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first; the others follow.")] = 0,
    task: Annotated[
        list[str] | None, typer.Option(help="restocking, reaching, finding or pouring; repeatable; default: in turn.")
    ] = None,
    width: Annotated[int, typer.Option(min=64, help="Of the image, px; its height is three quarters of it.")] = 320,
    depth: Annotated[bool, typer.Option("--depth", help="Also the depth of every pixel, ten times a second.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Render a person's view of the four tasks, with camera, wrists and K known exactly."""
    from activemimic_sim.egocentric.tasks import TASKS
    from activemimic_training.egocentric.synthesis import synthesize as run
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(TextColumn("videos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        progress = bar.add_task("videos", total=episodes)
        made = run(out, episodes, seed, tuple(task or TASKS), width, depth, workers, lambda _: bar.advance(progress))
        bar.update(progress, completed=episodes)
    typer.echo(f"{out}: {len(made)} videos made, {episodes - len(made)} there before; truth in {out / 'truth'}")


def hot3d(
    archives: Annotated[list[Path], typer.Argument(help="Clips of HOT3D-Clips, clip-NNNNNN.tar, from Aria.")],
    out: Annotated[Path, typer.Option(help="Folder of the videos; those in it are kept.")],
) -> None:
    """Unpack HOT3D-Clips into folders that `ego run` reads, upright, with the truth for `ego evaluate` beside them."""
    from activemimic_training.egocentric.ingest.hot3d import convert

    failed = 0
    for reason in convert(archives, out):
        if reason:
            failed += 1
            print_error(reason)
    typer.echo(f"{out}: {len(archives) - failed} clips, {failed} left out; truth in {out / 'truth'}")
    if failed:
        raise typer.Exit(FAILED)
