"""Which node's end ends the others, who is started again, and in which order all are ended. The nodes are scripts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from activemimic_bringup.launching import processes as runtime
from activemimic_bringup.launching.graph import NodeSpec
from activemimic_bringup.launching.processes import NodeDiedError, RunningGraph

WAITS = """
import signal, sys, time
def end(number, frame):
    time.sleep({brakes_s})
    print("ended", time.monotonic(), flush=True)
    sys.exit(0)
signal.signal(signal.SIGINT, end)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., NodeSpec]:
    """Makes a node of a script."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(name: str, script: str, essential: bool = False, respawn: bool = False) -> NodeSpec:
        (tmp_path / f"script_{name}.py").write_text(script)
        return NodeSpec(name, "", "", f"script_{name}", essential=essential, respawn=respawn)

    return make


class Printed:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def of(self, name: str) -> list[str]:
        return [line for by, line in self.lines if by == name]


def wait_for(graph: RunningGraph, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline
        assert graph.wait(timeout_s=0.05) is None


def test_the_graph_outlives_a_node_that_is_not_essential(node: Callable[..., NodeSpec]) -> None:
    printed = Printed()
    specs = [node("controller", WAITS.format(brakes_s=0), essential=True), node("policy", "raise SystemExit(7)")]
    with RunningGraph(specs, printed) as graph:
        wait_for(graph, lambda: graph.failures and printed.of("controller"))
        assert printed.of("up") == [
            "node policy ended with exit code 7; the controller goes on, and holds when nothing is left to play"
        ]
        assert graph.failures == {"policy": 7}
    assert graph.stop() == {"controller": 0, "policy": 7}


@pytest.mark.parametrize(("essential", "code"), [(True, 0), (True, 1), (False, 2)])
def test_the_end_of_an_essential_node_and_a_refused_configuration_end_the_graph(
    node: Callable[..., NodeSpec], essential: bool, code: int
) -> None:
    spec = node("policy", f"raise SystemExit({code})", essential, respawn=True)
    with RunningGraph([spec], Printed()) as graph, pytest.raises(NodeDiedError) as caught:
        graph.wait()
    assert str(caught.value) == f"node policy ended with exit code {code}; ending the others"


@pytest.mark.parametrize(("code", "starts"), [(1, 2), (0, 1)])
def test_a_node_that_died_is_started_again_if_it_is_to_be(
    node: Callable[..., NodeSpec], monkeypatch: pytest.MonkeyPatch, code: int, starts: int
) -> None:
    monkeypatch.setattr(runtime, "RESPAWN_DELAY_S", 0.1)
    printed = Printed()
    spec = node("policy", f"print('ready', flush=True)\nraise SystemExit({code})", respawn=True)
    with RunningGraph([spec], printed) as graph:
        wait_for(graph, lambda: len(printed.of("policy")) >= starts)
        graph.wait(timeout_s=0.5)
        assert len(printed.of("policy")) >= starts
        assert (len(printed.of("policy")) > 1) == (starts > 1)


def test_the_controller_ends_before_the_nodes_that_it_needs(node: Callable[..., NodeSpec]) -> None:
    printed = Printed()
    names = {"sim": 0, "controller": 0.4, "evaluator": 0.2}
    with RunningGraph([node(name, WAITS.format(brakes_s=s)) for name, s in names.items()], printed) as graph:
        wait_for(graph, lambda: len(printed.lines) == len(names))
    ended_s = {name: float(line.split()[1]) for name, line in printed.lines if line.startswith("ended")}
    assert sorted(ended_s, key=ended_s.__getitem__) == ["evaluator", "controller", "sim"]


def test_a_terminal_that_is_gone_hinders_no_end(node: Callable[..., NodeSpec]) -> None:
    told: list[str] = []

    def output(name: str, line: str) -> None:
        told.append(line)
        raise OSError("Input/output error")

    with RunningGraph([node("controller", WAITS.format(brakes_s=0))], output) as graph:
        wait_for(graph, lambda: told)
    assert graph.stop() == {"controller": 0}
    assert len(told) == 2  # the reader went on


def test_a_pipe_that_is_gone_neither_ends_the_printer_nor_spoils_the_exit_code() -> None:
    script = (
        "from activemimic_bringup.cli.robot import _printer\n"
        "output = _printer(['sim'])\n"
        "for line in range(3): output('sim', str(line))\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = subprocess.run([sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writing)
    assert (result.returncode, result.stderr) == (0, "")
