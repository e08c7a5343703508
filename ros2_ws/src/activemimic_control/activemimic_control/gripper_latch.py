"""A gripper that has closed stays closed unless the policy means to open it for a while."""

from __future__ import annotations

CLOSE_AT = 0.5
OPEN_STEPS = 8


class GripperLatch:
    """Turns a gripper's commands, one a chunk step, into 0 (open) or 1 (closed).

    Each new chunk starts from new noise, and a grasp lasts only a few steps of a demonstration: without the latch
    a draw that wavers opens the hand while it lifts. Steps ahead count as well as those that have passed: a hand that
    opens later than the arm withdraws takes along what it has just put down.
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

    def update(self, command: float, ahead: int = 0) -> float:
        """One step's command, 0 open … 1 closed, and how many open steps follow it at once in the chunk.

        Closes at 0.5, reopens when eight open steps in a row have passed or are ahead.
        """
        if command >= CLOSE_AT:
            self._closed, self._opening = True, 0
        else:
            self._opening += 1
            if self._opening + ahead >= self._open_steps:
                self._closed = False
        return self.output
