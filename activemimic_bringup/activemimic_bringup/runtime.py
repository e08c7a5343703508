"""Run the nodes of a graph as child processes: start, prefix their output, end them all together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, TracebackType

from activemimic_bringup.graph import NodeSpec, shared_environment

Output = Callable[[str, str], None]  # node name, one line of what it printed

# Each signal, and how long a node may take after it. A recorder closes its file after SIGINT.
_ENDING = ((signal.SIGINT, 6.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 0.0))


class NodeDiedError(RuntimeError):
    """A node ended although nothing asked it to; the text names it and its exit code."""


def command_line(spec: NodeSpec) -> list[str]:
    """The command that starts one node. Values are passed as JSON, so that 'yes' or '1' stay strings."""
    command = [sys.executable, "-m", spec.module, "--ros-args", "-r", f"__node:={spec.name}"]
    if spec.enclave:
        command += ["--enclave", spec.enclave]
    for source, target in spec.remappings:
        command += ["-r", f"{source}:={target}"]
    for name, value in spec.parameters.items():
        command += ["-p", f"{name}:={json.dumps(value, ensure_ascii=False)}"]
    return command


class RunningGraph:
    """The child processes of one graph; a context manager that ends what it started."""

    def __init__(
        self,
        specs: Sequence[NodeSpec],
        output: Output,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start all nodes at once; `environment` is added to the inherited one (a ROS_DOMAIN_ID, say)."""
        self._output = output
        self._children: dict[str, subprocess.Popen[str]] = {}
        self._readers: list[threading.Thread] = []
        inherited = {**os.environ, **(environment or {})}
        for spec in specs:
            self._start(spec, {**inherited, **shared_environment(inherited), **spec.environment})

    def __enter__(self) -> RunningGraph:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def check(self) -> None:
        """Raise NodeDiedError if a node has ended."""
        for name, child in self._children.items():
            if (code := child.poll()) is not None:
                raise NodeDiedError(f"node {name} ended with exit code {code}")

    def wait(self, until_ends: str = "", timeout_s: float | None = None) -> int | None:
        """Wait until the node `until_ends` ends and return its exit code, or None after `timeout_s`.

        Raises NodeDiedError as soon as any other node ends.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while deadline is None or time.monotonic() < deadline:
            if until_ends and (code := self._children[until_ends].poll()) is not None:
                return code
            self.check()
            time.sleep(0.1)
        return None

    def stop(self) -> dict[str, int]:
        """End all nodes, politely first; exit codes by node. Calling it again changes nothing."""
        for number, patience_s in _ENDING:
            running = [child for child in self._children.values() if child.poll() is None]
            for child in running:
                child.send_signal(number)
            deadline = time.monotonic() + patience_s
            while time.monotonic() < deadline and any(child.poll() is None for child in running):
                time.sleep(0.02)
        for reader in self._readers:
            reader.join(timeout=1.0)
        return {name: child.wait() for name, child in self._children.items()}

    def _start(self, spec: NodeSpec, environment: Mapping[str, str]) -> None:
        # Its own session: Ctrl-C reaches this process alone, which then ends the nodes in order.
        child = subprocess.Popen(
            command_line(spec),
            env={**environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        reader = threading.Thread(target=self._forward, args=(spec.name, child), daemon=True)
        reader.start()
        self._children[spec.name] = child
        self._readers.append(reader)

    def _forward(self, name: str, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            self._output(name, line.rstrip("\n"))


def run(specs: Sequence[NodeSpec], output: Output, until_ends: str = "") -> int:
    """Run nodes in the foreground until Ctrl-C, SIGTERM, or a node's end; the exit code for the shell.

    0 after a signal if every node ended with 0; the code of `until_ends` when that node ends; otherwise 1,
    with a line that says which node ended and how.
    """
    stopped = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stopped.set()

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with RunningGraph(specs, output) as running:
            code = _watch(running, stopped, until_ends, output)
            endings = running.stop()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    for name, ending in endings.items():
        if stopped.is_set() and ending != 0:
            output(name, f"ended with exit code {ending}")
            code = code or 1
    return code


def _watch(running: RunningGraph, stopped: threading.Event, until_ends: str, output: Output) -> int:
    while not stopped.is_set():
        try:
            code = running.wait(until_ends, timeout_s=0.2)
        except NodeDiedError as death:
            output("up", f"{death}; ending the others")
            return 1
        if code is not None:
            return code
    return 0
