"""How long a node's process lives: until a signal asks it to end, and no longer than the launcher that started it."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

LAUNCHER_PID = "ACTIVEMIMIC_LAUNCHER_PID"  # which a launcher sets in the environment of the nodes that it starts
SAME_SIGNAL_S = 0.3  # signals so soon after the first are the same Ctrl-C, come by another way
_PR_SET_PDEATHSIG = 1


def ending_signals() -> tuple[signal.Signals, ...]:
    """The signals that ask for an end in order. A lost terminal (SIGHUP) does, unless `nohup` said otherwise."""
    asked = (signal.SIGINT, signal.SIGTERM)
    return asked if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (*asked, signal.SIGHUP)


def end_with_launcher() -> None:
    """Have this process sent SIGTERM when its launcher ends, in whatever way; at once if it has ended already.

    Call it when SIGTERM has its handler. Nothing happens to a process that no launcher started, nor where something
    stands between the two (a debugger, say).
    """
    launcher = int(os.environ.get(LAUNCHER_PID, "0"))
    if not launcher:
        return
    if os.getppid() == launcher:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    parent = os.getppid()
    if parent != launcher and (parent == 1 or not lives(launcher)):
        os.kill(os.getpid(), signal.SIGTERM)


def lives(pid: int) -> bool:
    """Whether there is such a process, and it is not one that has ended and waits for its parent to notice."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
