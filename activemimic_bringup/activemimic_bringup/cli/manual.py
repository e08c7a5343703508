"""Episodes by keys: a terminal in front of a running recorder."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from activemimic_bringup.cli.error_exit import UsageProblem
from activemimic_bringup.monitor.recorder_view import recorder_view
from activemimic_bringup.nodes.manual_recording import ManualRecording
from activemimic_bringup.nodes.ros_client import RosClient, spinning_node

TIMEOUT_S = 5.0
REFRESH_S = 0.25


def record_by_keys(task: str, first_seed: int) -> None:
    """Start, judge, discard and redo episodes by keys, before a live view, until q is pressed.

    Raises:
        UsageProblem: there is no terminal to read keys from.
        TrialError: the recorder is not there.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageProblem(
            "--manual reads keys and needs a terminal; without one call /recorder/start, /recorder/stop and "
            "/recorder/discard (ros2 service call)"
        )
    with spinning_node("record_keys") as node:
        _until_quit(ManualRecording(RosClient(node, TIMEOUT_S), task, first_seed))


def _until_quit(recording: ManualRecording) -> None:
    console = Console(highlight=False)
    try:
        with (
            _single_keys(),
            Live(recorder_view(recording.frame()), console=console, screen=True, auto_refresh=False) as live,
        ):
            while recording.press(_key(REFRESH_S)):
                live.update(recorder_view(recording.frame()), refresh=True)
    except (KeyboardInterrupt, EOFError):
        pass
    frame = recording.frame()
    for line in frame.lines:
        console.print(f"{line.clock}  {line.text}", style="red" if line.alarming else "", markup=False)
    if frame.episode and frame.heard:
        console.print(f"{frame.episode} is still being recorded; call /recorder/stop or /recorder/discard", style="red")


@contextmanager
def _single_keys() -> Iterator[None]:
    """Keys come without Enter, and are not printed."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _key(seconds: float) -> str:
    """The next key, or "" if none was pressed in time. Raises EOFError when the terminal is gone."""
    fd = sys.stdin.fileno()
    if not select.select([fd], [], [], seconds)[0]:
        return ""
    if not (pressed := os.read(fd, 1)):
        raise EOFError
    return pressed.decode(errors="ignore").lower()
