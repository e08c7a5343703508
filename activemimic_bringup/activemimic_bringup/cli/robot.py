"""Commands that start nodes: `up` and `record`."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from activemimic_description.common.errors import FAILED, ROS_MISSING

from activemimic_bringup.cli.error_exit import UsageProblem, print_error

if TYPE_CHECKING:
    from activemimic_bringup.launching.graph import Argument
    from activemimic_bringup.launching.processes import Output

NODE_COLOURS = ("cyan", "green", "magenta", "yellow", "blue")


def up(
    graph: Annotated[str, typer.Argument(help="sim, policy, record or evaluate.")] = "sim",
    arguments: Annotated[
        list[str] | None, typer.Argument(help="name:=value, as for ros2 launch.", metavar="[NAME:=VALUE]…")
    ] = None,
    show_args: Annotated[bool, typer.Option("--show-args", help="List the graph's arguments and end.")] = False,
) -> None:
    """Start a graph of nodes; Ctrl-C ends them all. The same as `ros2 launch activemimic_bringup GRAPH.launch.py`."""
    from activemimic_bringup.launching import graph as graphs

    chosen = graphs.graph(graph)
    if show_args:
        _print_arguments(chosen.arguments)
        return
    raise typer.Exit(run_graph(graph, assignments(arguments or [])))


_BY_ITSELF = ("out", "episodes", "time_limit_s")  # of `record`, where nobody presses keys


def record(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder of the recorded episodes.")] = Path("out/episodes"),
    task: Annotated[str, typer.Option(help="Task of the simulator.")] = "reaching",
    episodes: Annotated[int, typer.Option(min=1, help="Number of episodes, one a seed.")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first episode; the others follow.")] = 0,
    time_limit_s: Annotated[float, typer.Option(help="An episode ends after this; 0: the task's own limit.")] = 0.0,
    manual: Annotated[
        bool,
        typer.Option("--manual", help="Start, judge, discard and redo episodes of a running recorder by keys."),
    ] = False,
) -> None:
    """Record episodes in real time: the simulator's expert by itself, or by hand with --manual.

    Seeds that OUT/results.json holds already are not repeated: raise --episodes or --first-seed for more.
    """
    if manual:
        sources = {name: context.get_parameter_source(name) for name in _BY_ITSELF}
        if given := [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]:
            options = ", ".join("--" + name.replace("_", "-") for name in given)
            raise UsageProblem(f"{options}: not with --manual; the recorder that runs has its folder, keys do the rest")
        require_ros()
        from activemimic_bringup.cli.manual import record_by_keys

        record_by_keys(task, first_seed)
        return
    texts = {
        "mode": "expert",
        "task": task,
        "trials": str(episodes),
        "first_seed": str(first_seed),
        "time_limit_s": str(time_limit_s),
        "results": str(out),
        "episodes": str(out),
    }
    raise typer.Exit(run_graph("evaluate", texts))


def run_graph(name: str, texts: Mapping[str, str]) -> int:
    """Run a graph in the foreground and return its exit code. A graph with an evaluator ends with it."""
    from activemimic_bringup.launching import graph as graphs
    from activemimic_bringup.launching import processes as runtime

    specs = graphs.graph(name).specs(texts)
    require_ros()
    until_ends = "evaluator" if any(spec.name == "evaluator" for spec in specs) else ""
    return runtime.run(specs, _printer([spec.name for spec in specs]), until_ends)


def assignments(words: Sequence[str]) -> dict[str, str]:
    """{"task": "reaching"} from ["task:=reaching"]. Raises UsageProblem for anything else."""
    pairs = {}
    for word in words:
        name, separator, value = word.partition(":=")
        if not separator or not name:
            raise UsageProblem(f"expected name:=value, found {word!r}")
        pairs[name] = value
    return pairs


def require_ros() -> None:
    """Exit with a line that says how to come by ROS 2, if it is not there."""
    if importlib.util.find_spec("rclpy") is None:
        print_error(ROS_MISSING)
        raise typer.Exit(FAILED)


def _printer(names: Sequence[str]) -> Output:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    width = max(len(name) for name in names)
    colours = dict(zip(names, NODE_COLOURS, strict=False))

    def output(name: str, line: str) -> None:
        try:
            console.print(Text.assemble((f"{name:>{width}} ", colours.get(name, "bold red")), line))
        except (OSError, SystemExit):  # the terminal or the pipe is gone; for a pipe, rich would end this process
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return output


def _print_arguments(arguments: Sequence[Argument]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("argument", "default", "meaning")
    for argument in arguments:
        choices = f" ({', '.join(argument.choices)})" if argument.choices else ""
        table.add_row(argument.name, str(argument.default), argument.description + choices)
    Console().print(table)
