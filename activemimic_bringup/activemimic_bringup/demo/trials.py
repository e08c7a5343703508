"""Trials in real time through the nodes, with the evaluator's words on the console and all others' in a log."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from activemimic_description.common.errors import OperationError
from rich.console import Console

from activemimic_bringup.launching import graph
from activemimic_bringup.launching.processes import RunningGraph

_TIMEOUT_S = 300.0
_ROS = {"ROS_DOMAIN_ID": "42"}  # a domain of its own, unless the user chose: no robot shall obey the demo


class DemoError(OperationError):
    """A stage that failed; the text says which, and where its log lies."""


def run_trials(task: str, mode: str, folder: Path, log_path: Path, console: Console, more: Mapping[str, str]) -> None:
    """Results and recorded episodes go to `folder`; `more` are arguments of the graph `evaluate`.

    Raises:
        DemoError: nodes ended or did not end in time; what was made so far stays.
    """
    texts = {"mode": mode, "task": task, "results": str(folder), "episodes": str(folder), **more}
    environment = {name: value for name, value in _ROS.items() if name not in os.environ}
    with log_path.open("a") as log:

        def output(node: str, line: str) -> None:
            log.write(f"{node}: {line}\n")
            if node == "evaluator":
                console.print(f"  {line.partition(']: ')[2] or line}", highlight=False, markup=False)

        specs = graph.graph("evaluate").specs(texts)
        with RunningGraph(specs, output, environment) as nodes:
            code = nodes.wait(until_ends="evaluator", timeout_s=_TIMEOUT_S)
    if code != 0:
        what = f"was not done after {_TIMEOUT_S:g} s" if code is None else f"ended with exit code {code}"
        raise DemoError(f"the {mode} run {what}; what the nodes said is in {log_path}")
