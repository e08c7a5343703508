"""Whatever of real time the operating system grants to this process."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os

PRIORITY = 50  # SCHED_FIFO, below the kernel's own threads
NICENESS = -10  # where that is not granted
_MCL_CURRENT_AND_FUTURE = 3


def claim_realtime() -> str:
    """Schedule this thread before all others and keep its memory in place, as far as allowed; says which it got."""
    gc.collect()
    gc.freeze()  # what is there now stays for good: later collections need not look at it
    locked = ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT_AND_FUTURE) == 0
    memory = "memory locked" if locked else "memory not locked"
    with contextlib.suppress(PermissionError, OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        return f"SCHED_FIFO {PRIORITY}, {memory}"
    with contextlib.suppress(PermissionError):
        return f"no right to SCHED_FIFO; niceness {os.nice(NICENESS)}, {memory}"
    return f"no right to SCHED_FIFO, niceness {os.nice(0)}, {memory}"
