"""Commands about recorded episodes: `bag info`, `validate`, `recover` and `play`. All but the last need no ROS."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from activemimic_description.common.errors import FAILED

from activemimic_bringup.cli.error_exit import print_error

if TYPE_CHECKING:
    from activemimic_data.bags import EpisodeInfo, Verdict
    from rich.console import Console

app = typer.Typer(no_args_is_help=True, help="Look at recorded episodes, judge, mend and replay them.")

_OUTCOMES = {"success": "green", "failure": "yellow", "unknown": "dim"}
Episodes = Annotated[list[Path], typer.Argument(help="Episode folders, or folders that hold them.")]


@app.command()
def info(episodes: Episodes) -> None:
    """What episodes are about, and what was recorded of them. Exits with 1 if one cannot be read."""
    from activemimic_data.bags import BagError, EpisodeReader
    from rich.table import Table
    from rich.text import Text

    console = _console()
    table = Table("episode", "task", "seed", "outcome", "s", "MB", "lost", "instruction")
    read: list[EpisodeReader] = []
    errors = []
    for folder in _found(episodes):
        try:
            reader = EpisodeReader(folder)
            _ = reader.contract
        except BagError as error:
            errors.append(str(error))
            continue
        read.append(reader)
        about = reader.info
        megabytes = sum(file.stat().st_size for file in reader.files) / 1e6
        outcome = Text(about.outcome + (", recovered" if about.recovered else ""), _OUTCOMES[about.outcome])
        numbers = (f"{about.duration_s:.1f}", f"{megabytes:.1f}", Text(str(about.messages_lost), _alarm(about)))
        seed = "" if about.seed is None else str(about.seed)
        table.add_row(folder.name, about.task, seed, outcome, *numbers, about.instruction)
    if read:
        console.print(table)
        _print_topics(console, read)
    for text in errors:
        print_error(text)
    if errors:
        raise typer.Exit(FAILED)


@app.command()
def validate(
    episodes: Episodes,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Judge episodes: rates, gaps, stamps, frozen cameras, limits, losses, interventions. Exits with 1 on a bad one."""
    from activemimic_data.bags import BagError, load_episode_info
    from activemimic_data.bags import validate as judge

    folders = _found(episodes)
    verdicts = []
    fingerprint = None
    for folder in folders:
        verdicts.append(judge(folder, fingerprint))
        if fingerprint is None:
            try:
                fingerprint = load_episode_info(folder).fingerprint
            except BagError:
                continue  # the verdict says so
        if not as_json:
            _print_verdict(verdicts[-1])
    bad = sum(not verdict.good for verdict in verdicts)
    if as_json:
        import json

        typer.echo(json.dumps([verdict.as_dict() for verdict in verdicts], indent=2))
    else:
        _console().print(f"{len(verdicts)} episodes, {bad} bad")
    if bad:
        raise typer.Exit(FAILED)


@app.command()
def recover(
    episodes: Annotated[
        list[Path], typer.Argument(help="Folders NAME.recording, damaged episodes, or folders that hold them.")
    ],
) -> None:
    """Make episodes of what killed recorders and damaged files have left. Exits with 1 if one cannot be recovered."""
    from activemimic_data.bags import BagError
    from activemimic_data.bags import recover as run

    console, failed = _console(), False
    for folder in _found(episodes):
        try:
            recovered = run(folder)
        except BagError as error:
            print_error(str(error))
            failed = True
            continue
        if recovered is None:
            console.print(f"{folder}: whole; nothing to recover", style="dim", markup=False)
            continue
        about = recovered.info
        line = f"{recovered.folder}: {sum(about.messages.values())} messages, {about.duration_s:.1f} s, outcome unknown"
        console.print(line, markup=False)
        console.print(f"  not readable: {recovered.damage}", style="dim", markup=False)
        if recovered.original is not None:
            console.print(f"  the original is now {recovered.original}", markup=False)
    if failed:
        raise typer.Exit(FAILED)


@app.command()
def play(
    episode: Annotated[Path, typer.Argument(help="Folder of a recorded episode.")],
    topics: Annotated[
        list[str] | None,
        typer.Option("--topics", help="A topic to publish; may be repeated. Default: cameras and joint states."),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.01, max=100.0, help="Times the recorded speed.")] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end, until Ctrl-C.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Shift header stamps as if it happened now.")] = False,
) -> None:
    """Publish what a policy subscribes to, in its recorded timing. Commands are published only if named."""
    from activemimic_bringup.cli.robot import require_ros

    require_ros()
    from activemimic_data.bags import EpisodeReader

    from activemimic_bringup.launching.graph import discovery_environment, shared_environment

    # As the nodes: raw images do not fit into Fast DDS's default, and no robot in the network shall see them.
    os.environ.update({**shared_environment(), **discovery_environment()})
    from activemimic_bringup.nodes.bag_replay import Replay

    reader, console = EpisodeReader(episode), _console()
    with Replay(reader, topics, rate, now) as replay:
        console.print(f"publishing {', '.join(replay.topics)}", markup=False)
        try:
            for played in replay.rounds(loop):
                console.print(f"{played} messages in {reader.info.duration_s / rate:.1f} s", markup=False)
        except KeyboardInterrupt:
            pass


def _found(episodes: list[Path]) -> list[Path]:
    from activemimic_data.bags import BagError, find_episodes

    if not (folders := find_episodes(episodes)):
        raise BagError(f"no recorded episode at {', '.join(map(str, episodes))}")
    return folders


def _print_topics(console: Console, read: list) -> None:
    """Per topic over all the episodes; the lowest rate is red if it is too low."""
    from activemimic_data.bags.bag_validation import expected_rates
    from activemimic_data.bags.episode import LOW_RATE
    from rich.table import Table
    from rich.text import Text

    several = len(read) > 1
    table = Table("topic", "messages", "Hz, lowest" if several else "Hz", "contract", "lost")
    for topic in dict.fromkeys(topic for reader in read for topic in reader.info.messages):
        infos = [(reader.info, expected_rates(reader.info, reader.contract).get(topic)) for reader in read]
        rates = [about.messages.get(topic, 0) / (about.duration_s or 1.0) for about, _ in infos]
        share, (_, expected) = min(zip(rates, infos, strict=True), key=lambda pair: pair[0] / (pair[1][1] or 1.0))
        low = expected is not None and share < LOW_RATE * expected
        lost = [about.lost.get(topic) for about, _ in infos]
        table.add_row(
            topic,
            str(sum(about.messages.get(topic, 0) for about, _ in infos)),
            Text(f"{share:.1f}", "bold red" if low else ""),
            f"{expected:g}" if expected else "",
            "?" if all(count is None for count in lost) else str(sum(count or 0 for count in lost)),
        )
    console.print(table)


def _print_verdict(verdict: Verdict) -> None:
    console = _console()
    word, style = ("good", "bold green") if verdict.good else ("bad", "bold red")
    console.print(f"[{style}]{word:4}[/] ", end="")
    console.print(str(verdict.folder), markup=False)
    for text in verdict.problems:
        console.print(f"     {text}", style="red", markup=False)
    for text in verdict.remarks:
        console.print(f"     {text}", style="dim", markup=False)


def _alarm(about: EpisodeInfo) -> str:
    return "bold yellow" if about.messages_lost else ""


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)
