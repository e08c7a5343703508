"""A gripper that has closed stays closed until the policy has meant to open for a while."""

from __future__ import annotations

CLOSE_AT = 0.5
OPEN_STEPS = 8


class GripperLatch:
    """Turns a gripper's commands, one a chunk step, into 0 (open) or 1 (closed).

    Each new chunk starts from new noise, and a grasp lasts only a few steps of a demonstration: without the latch
    one such draw opens the hand while it lifts.
    """

    def __init__(self, open_steps: int = OPEN_STEPS) -> None:
        self._open_steps = open_steps
        self.reset()

    def reset(self, closed: bool = False) -> None:
        self._closed = closed
        self._opening = 0

    @property
    def output(self) -> float:
        return float(self._closed)

    def update(self, command: float) -> float:
        """One step's command, 0 open … 1 closed: closes at 0.5, reopens at the eighth open step in a row."""
        if command >= CLOSE_AT:
            self._closed, self._opening = True, 0
        else:
            self._opening += 1
            if self._opening >= self._open_steps:
                self._closed = False
        return self.output
