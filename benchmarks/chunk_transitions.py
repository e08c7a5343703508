"""What was commanded in one trial, and the figures that tell how well chunks were joined."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Run:
    """A trial, filled row by row; `velocity` (S,) are the limits of the slots that are looked at."""

    rate_hz: float
    velocity: np.ndarray
    commands: list[np.ndarray] = field(default_factory=list)  # (S,) each, one a control period
    measured: list[np.ndarray] = field(default_factory=list)  # (S,) each, when the command was given
    joins: list[int] = field(default_factory=list)  # rows that are the first of another chunk
    pauses: int = 0  # control periods between chunks in which nothing was left to play
    success: bool = False
    time_s: float = 0.0
    off_way_m: float = np.nan  # the farthest from the nearer of the valid ways

    @property
    def jerk(self) -> np.ndarray:
        """(N - 3, S) in units of the slots' velocity limits: 1/s², so that radians and metres compare."""
        return np.diff(np.array(self.commands), 3, axis=0) * self.rate_hz**3 / self.velocity

    @property
    def tracking(self) -> float:
        """RMS of commanded minus measured, in seconds at full speed."""
        off = (np.array(self.commands) - np.array(self.measured)) / self.velocity
        return float(np.sqrt(np.mean(off**2)))

    def kinks(self, at_joins: bool) -> np.ndarray:
        """Changes of the commanded velocity within one control period, as shares of the limit, at joins or elsewhere.

        What a smooth motion accelerates in that time is in them: compare the two.
        """
        change = self._changes()
        return np.abs(change).max(axis=1)[self._near(len(change)) == at_joins]

    def jumps(self) -> np.ndarray:
        """How much more the velocity changes at joins than just before and after, as shares of the limit.

        Of a curve without a bend this goes to 0 with the control period; of one with a bend it is the bend.
        """
        change = self._changes()
        around = (change[:-2] + change[2:]) / 2
        return np.abs(change[1:-1] - around).max(axis=1)[self._near(len(change))[1:-1]]

    def _changes(self) -> np.ndarray:
        """(N - 2, S) of the velocity from one control period to the next, as shares of the limit."""
        return np.diff(np.array(self.commands), 2, axis=0) * self.rate_hz / self.velocity

    def _near(self, changes: int) -> np.ndarray:
        near = np.zeros(changes, dtype=bool)
        for row in self.joins:  # before, at and after the first command of the new chunk
            near[max(row - 2, 0) : row + 1] = True
        return near


def figures(runs: list[Run]) -> dict[str, str]:
    """One row of a table."""
    at_joins = np.concatenate([run.kinks(at_joins=True) for run in runs])
    elsewhere = np.concatenate([run.kinks(at_joins=False) for run in runs])
    jumps = np.concatenate([run.jumps() for run in runs])
    row = {
        "success": f"{sum(run.success for run in runs)}/{len(runs)}",
        "joins": str(sum(len(run.joins) for run in runs)),
        "Δv at joins max": f"{at_joins.max():.1%}",
        "p95": f"{np.percentile(at_joins, 95):.1%}",
        "Δv elsewhere p95": f"{np.percentile(elsewhere, 95):.1%}",
        "jump at joins p95": f"{np.percentile(jumps, 95):.1%}",
        "max": f"{jumps.max():.1%}",
        "jerk rms": f"{np.sqrt(np.mean(np.concatenate([run.jerk for run in runs]) ** 2)):.1f}",
        "jerk peak": f"{max(np.abs(run.jerk).max() for run in runs):.0f}",
        "pauses": f"{sum(run.pauses / run.rate_hz for run in runs):.1f} s",
        "tracking": f"{np.mean([run.tracking for run in runs]) * 1e3:.0f} ms",
    }
    if not np.isnan(runs[0].off_way_m):
        row["off the way"] = f"{np.mean([run.off_way_m for run in runs]) * 100:.1f} cm"
    return row
