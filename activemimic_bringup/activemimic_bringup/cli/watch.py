"""Commands that look at a run: `top` while it goes on, `trace` afterwards."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from activemimic_description.common.errors import FAILED

from activemimic_bringup.cli.robot import require_ros

REFRESH_S = 0.5


def top(
    contract: Annotated[str, typer.Option(help="Robot contract: a name or a YAML file.")] = "g1_sim",
    once: Annotated[
        bool, typer.Option("--once", help="Print one frame and end; exit code 1 if no controller is heard.")
    ] = False,
    cameras: Annotated[
        bool, typer.Option(help="Count the cameras' images, undecoded. Not over a network that they would fill.")
    ] = True,
) -> None:
    """Watch a run: who moves the robot, rates, latencies by stage, interventions. It listens only; Ctrl-C ends it."""
    require_ros()
    from rich.console import Console
    from rich.live import Live

    from activemimic_bringup.launching.graph import shared_environment

    os.environ.update(shared_environment())  # as the nodes: raw images do not fit into Fast DDS's default
    from activemimic_bringup.monitor.view import view
    from activemimic_bringup.monitor.watcher import Watcher

    console = Console(highlight=False)
    with Watcher(contract, cameras) as watcher:
        if once:
            frame = watcher.once()
            console.print(view(frame))
            raise typer.Exit(0 if frame.mode else FAILED)
        try:
            with Live(view(watcher.listen(0.0)), console=console, screen=True, auto_refresh=False) as live:
                while True:
                    live.update(view(watcher.listen(REFRESH_S)), refresh=True)
        except KeyboardInterrupt:
            pass


def trace(
    episode: Annotated[Path, typer.Argument(help="Folder of a recorded episode.")],
    out: Annotated[Path, typer.Option(help="What to write: a .png, or a page .html with the figures in it.")],
) -> None:
    """Plot a recorded run: modes, latencies by stage, commands and motion around a chunk's join, interventions."""
    from activemimic_rollout.reports.run_trace import write_trace

    typer.echo(write_trace(episode, out))
