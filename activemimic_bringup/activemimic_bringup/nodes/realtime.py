"""Whatever of real time the operating system grants to this process."""

from __future__ import annotations

import ctypes
import gc

from activemimic_description.common.scheduling import claim_priority

PRIORITY = 50  # SCHED_FIFO, below the kernel's own threads
NICENESS = -10  # where that is not granted
_MCL_CURRENT_AND_FUTURE = 3


def claim_realtime() -> str:
    """Schedule this thread before all others and keep its memory in place, as far as allowed; says which it got."""
    gc.collect()
    gc.freeze()  # what is there now stays for good: later collections need not look at it
    locked = ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT_AND_FUTURE) == 0
    memory = "memory locked" if locked else "memory not locked"
    return f"{claim_priority(PRIORITY, NICENESS)}, {memory}"
