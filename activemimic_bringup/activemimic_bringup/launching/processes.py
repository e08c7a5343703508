"""Run the nodes of a graph as child processes: start, prefix their output, end them in order."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, TracebackType

from activemimic_description.common.errors import OperationError
from activemimic_description.common.lifetime import LAUNCHER_PID, SAME_SIGNAL_S, ending_signals

from activemimic_bringup.launching.graph import RESPAWN_DELAY_S, NodeSpec, shared_environment

Output = Callable[[str, str], None]  # node name, one line of what it printed

# Before all others, one after the other. An evaluator goes first: a controller that brakes would end its trial for it.
_FIRST = ("evaluator", "controller")
_FIRST_S = 4.0  # for each of them
# Each signal, and how long a node may take after it. A recorder closes its file after SIGINT.
_ENDING = ((signal.SIGINT, 6.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 0.0))


class NodeDiedError(OperationError):
    """A node ended unasked, and with it the graph; the text names it and its exit code."""


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
    """The child processes of one graph; a context manager that ends what it started.

    They end with the process that made it, in whatever way that ends; make it in the main thread, for they end with
    their thread, too.
    """

    def __init__(
        self,
        specs: Sequence[NodeSpec],
        output: Output,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start all nodes at once; `environment` is added to the inherited one (a ROS_DOMAIN_ID, say)."""
        self.failures: dict[str, int] = {}  # last exit code of each node that ended unasked while the graph went on
        self._output = output
        inherited = {**os.environ, **(environment or {})}
        self._environment = {**inherited, **shared_environment(inherited), LAUNCHER_PID: str(os.getpid())}
        self._specs = {spec.name: spec for spec in specs}
        self._children: dict[str, subprocess.Popen[str]] = {}
        self._readers: list[threading.Thread] = []
        self._respawn_s: dict[str, float] = {}  # when a node is started again
        for spec in specs:
            self._start(spec)

    def __enter__(self) -> RunningGraph:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def say(self, name: str, line: str) -> None:
        """Pass on a line. Where it was to be printed may be gone: that shall hinder no end in order."""
        with contextlib.suppress(OSError):
            self._output(name, line)

    def look(self, until_ends: str = "") -> int | None:
        """Tell which nodes have ended, start again those that are to be, and return the exit code of `until_ends`.

        Raises NodeDiedError if another node has ended without which the graph is not to go on.
        """
        for name, child in list(self._children.items()):
            if (code := child.poll()) is None:
                continue
            if name == until_ends:
                return code
            spec = self._specs[name]
            if spec.ends_graph(code):
                raise NodeDiedError(spec.obituary(code))
            self.say("up", spec.obituary(code))
            self.failures[name] = code
            del self._children[name]
            if spec.respawns(code):
                self._respawn_s[name] = time.monotonic() + RESPAWN_DELAY_S
        for name in [name for name, due_s in self._respawn_s.items() if time.monotonic() > due_s]:
            del self._respawn_s[name]
            self._start(self._specs[name])
        return None

    def wait(self, until_ends: str = "", timeout_s: float | None = None) -> int | None:
        """Wait until the node `until_ends` ends and return its exit code, or None after `timeout_s`.

        Raises NodeDiedError as soon as another node ends without which the graph is not to go on.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while deadline is None or time.monotonic() < deadline:
            if (code := self.look(until_ends)) is not None:
                return code
            time.sleep(0.1)
        return None

    def stop(self, asked_s: Sequence[float] = ()) -> dict[str, int]:
        """End all nodes, the controller before those it needs; exit codes by node. Calling it again changes nothing.

        `asked_s` may grow meanwhile by times (time.monotonic) at which a person asked again: then the controller ends
        at once.
        """
        for name in _FIRST:
            self._end_first(name, asked_s)
        for number, patience_s in _ENDING:
            running = [child for child in self._children.values() if child.poll() is None]
            for child in running:
                child.send_signal(number)
            deadline = time.monotonic() + patience_s
            while time.monotonic() < deadline and any(child.poll() is None for child in running):
                time.sleep(0.02)
        for reader in self._readers:
            reader.join(timeout=1.0)
        return {**self.failures, **{name: child.wait() for name, child in self._children.items()}}

    def _end_first(self, name: str, asked_s: Sequence[float]) -> None:
        child = self._children.get(name)
        if child is None or child.poll() is not None:
            return
        begin_s = time.monotonic()
        child.send_signal(signal.SIGINT)
        while child.poll() is None and time.monotonic() < begin_s + _FIRST_S:
            if asked_s and asked_s[-1] > begin_s + SAME_SIGNAL_S:
                self.say("up", f"second signal: the {name} is not waited for, while the robot may still move")
                child.send_signal(signal.SIGINT)
                return
            time.sleep(0.02)

    def _start(self, spec: NodeSpec) -> None:
        # Its own session: Ctrl-C reaches this process alone, which then ends the nodes in order.
        child = subprocess.Popen(
            command_line(spec),
            env={**self._environment, **spec.environment, "PYTHONUNBUFFERED": "1"},
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
            self.say(name, line.rstrip("\n"))


def run(specs: Sequence[NodeSpec], output: Output, until_ends: str = "") -> int:
    """Run nodes in the foreground until a signal, or the end of a node that ends the graph; the shell's exit code.

    A signal is Ctrl-C, SIGTERM or the loss of the terminal. The code is 0 after a signal if every node ended with 0
    and none before it; that of `until_ends` when that node ends; otherwise 1, with a line that says which node ended
    and how.
    """
    asked = threading.Event()
    asked_s: list[float] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        asked_s.append(time.monotonic())
        asked.set()

    previous = {number: signal.signal(number, on_signal) for number in ending_signals()}
    try:
        with RunningGraph(specs, output) as running:
            code = _watch(running, asked, until_ends)
            endings = running.stop(asked_s)
            for name, ending in endings.items():
                if asked.is_set() and ending != 0 and name not in running.failures:
                    running.say(name, f"ended with exit code {ending}")
                    code = code or 1
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return code or int(bool(running.failures))


def _watch(running: RunningGraph, asked: threading.Event, until_ends: str) -> int:
    while not asked.wait(0.1):
        try:
            code = running.look(until_ends)
        except NodeDiedError as death:
            running.say("up", str(death))
            return 1
        if code is not None:
            return code
    return 0
