"""How urgently the operating system runs a thread, as far as it grants that."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


def claim_priority(priority: int, niceness: int) -> str:
    """Run this thread before all ordinary ones, under SCHED_FIFO, or at least favoured by `niceness`; says which.

    Threads that it starts later are ordinary ones.
    """
    with contextlib.suppress(PermissionError, OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
        return f"SCHED_FIFO {priority}"
    with contextlib.suppress(PermissionError):
        favoured = os.nice(niceness)
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        return f"no right to SCHED_FIFO; niceness {favoured}"
    return f"no right to SCHED_FIFO, niceness {os.nice(0)}"


def favour(niceness: int, priority: int = 0) -> None:
    """Run this thread, and those that it starts, rather than others where that is granted.

    `niceness` is below 0; with `priority` it is SCHED_FIFO that is asked for first.
    """
    if priority:
        with contextlib.suppress(PermissionError, OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
            return
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, niceness)


@contextlib.contextmanager
def favoured(niceness: int, priority: int) -> Iterator[None]:
    """Threads that are started within (those of DDS, by whoever makes a node) are run rather than others."""
    favour(niceness, priority)
    try:
        yield
    finally:
        favour_no_more()


def favour_no_more() -> None:
    """Make this thread an ordinary one again."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, max(0, os.getpriority(os.PRIO_PROCESS, 0)))
