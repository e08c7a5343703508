"""A launcher of nodes with a terminal of its own: Ctrl-C, a terminal that is lost; the robot that its nodes move."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

from activemimic_description.common.lifetime import lives

from .conftest import World, wait_until
from .fault_scene import PERIOD_S, STILL, Scene, assert_within_limits, speed

ROOT = Path(__file__).parents[2]
GOES_ON = "the controller goes on, and holds"
KEY_OFF = "operator_key_file:=off"
UP = (sys.executable, "-m", "activemimic_bringup.cli.main", "up")


class Launcher:
    """What `command` prints, and which nodes it has started."""

    def __init__(self, world: World, *command: str) -> None:
        self.lines: list[str] = []
        self._terminal, inside = pty.openpty()
        self._gone = threading.Event()

        def take_terminal() -> None:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever these tests run under (nohup, say)
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.child = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "ROS_DOMAIN_ID": str(world.domain), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            preexec_fn=take_terminal,
        )
        os.close(inside)
        self._nodes: dict[str, int] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, words: str, times: int = 1) -> None:
        wait_until(
            lambda: self.text.count(words) >= times or self.child.poll() is not None, f"{words!r}", found=self._told
        )
        assert self.text.count(words) >= times, f"it ended with {self.child.poll()}{self._told()}"

    def ctrl_c(self) -> None:
        os.write(self._terminal, b"\x03")

    def hang_up(self) -> None:
        """Close the terminal."""
        self._gone.set()
        self._reader.join()

    def pid(self, node: str) -> int:
        """The process of a node that runs now."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                words = stat.with_name("cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if parent == self.child.pid and f"__node:={node}" in words:
                return int(stat.parent.name)
        raise AssertionError(f"{node} does not run{self._told()}")

    def ended(self, timeout_s: float = 30.0) -> int:
        """The exit code, once it has ended."""
        try:
            return self.child.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not ended after {timeout_s:g} s{self._told()}") from None

    def close(self) -> None:
        """End it, if it runs still."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
            try:
                self.child.wait(timeout=15.0)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self._gone.set()
        self._reader.join()

    def _told(self) -> str:
        return "; told:\n" + "\n".join(self.lines[-30:])

    def _read(self) -> None:
        rest = ""
        while not self._gone.is_set():
            if not select.select([self._terminal], [], [], 0.05)[0]:
                continue
            try:
                rest += os.read(self._terminal, 65536).decode(errors="replace")
            except OSError:  # nobody has it open any more
                break
            *lines, rest = re.split(r"\r*\n", rest)
            self.lines += lines
        os.close(self._terminal)


def wait_until_ended(pids: dict[str, int], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while left := [name for name, pid in pids.items() if lives(pid)]:
        assert time.monotonic() < deadline, f"still there {within_s:g} s later: {', '.join(left)}"
        time.sleep(0.05)


class LaunchedScene(Scene):
    """Its controller is a launcher's, and so may be its policy."""

    def start_controller(self) -> Any:
        return None

    def start_policy(self) -> Any:
        return None

    def launch(self, *command: str, nodes: int) -> Launcher:
        self.watched.commands.clear()
        self.controller = Launcher(self.world, *command)
        self.controller.wait_for("]: ready", nodes)
        return self.controller

    def wave_by_itself(self) -> None:
        """Until the robot moves as the scripted policy says."""
        if self.policy is None:
            self.policy = super().start_policy()
        self.run()
        wait_until(lambda: speed(self.watched.commands[-5:]) > 0.3, "a quick motion")

    def assert_holds(self, since_s: float) -> None:
        """It has held since then, rests, and goes on commanding."""
        wait_until(lambda: self.holds(since_s) is not None, "the controller to hold")
        time.sleep(0.7)
        count = len(self.watched.commands)
        time.sleep(0.5)
        assert len(self.watched.commands) > count + 10, "the controller has fallen silent"
        assert speed(self.watched.commands[-10:]) <= STILL / PERIOD_S
        assert_within_limits(self.watched.commands)

    def close(self) -> None:
        if self.policy is not None:
            super().close()


class SimulatedScene(LaunchedScene):
    """The robot is the launcher's as well, and its expert the only one that teleoperates."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        world.node.destroy_publisher(self.teleop)

    def start_robot(self) -> Any:
        return None
