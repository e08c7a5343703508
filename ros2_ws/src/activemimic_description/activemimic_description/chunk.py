"""A chunk of targets with the time at which each is due."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from activemimic_description.common.errors import InvalidInputError


class ChunkError(InvalidInputError):
    """A chunk that must not be played; the message says why."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Targets (T, S) in slot units; point k, from zero, is due at stamp_ns + (k + 1)·step_ns.

    `stamp_ns` is the time of the observation that the chunk answers.
    """

    stamp_ns: int
    step_ns: int
    positions: npt.NDArray[np.float64]

    @property
    def end_ns(self) -> int:
        """When the last point is due."""
        return self.stamp_ns + len(self.positions) * self.step_ns

    def validate(self, slots: tuple[str, ...] | None = None) -> None:
        """Raises ChunkError unless step, shape and every number make sense; `slots` names the S columns."""
        if self.step_ns <= 0:
            raise ChunkError(f"chunk: expected a positive step, found {self.step_ns} ns")
        shape = self.positions.shape
        if len(shape) != 2 or 0 in shape:
            raise ChunkError(f"chunk: expected positions (points, slots), found an array of shape {shape}")
        if slots is not None and shape[1] != len(slots):
            raise ChunkError(f"chunk: expected {len(slots)} slots, found {shape[1]}")
        bad = np.argwhere(~np.isfinite(self.positions))
        if len(bad):
            point, slot = bad[0]
            name = f"slot {slot}" if slots is None else slots[slot]
            raise ChunkError(
                f"chunk: expected finite positions, found {self.positions[point, slot]} for {name} at point {point}"
            )
