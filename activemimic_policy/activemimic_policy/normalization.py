"""The statistics by which state and actions become z-scores; stored as normalization.json."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeFloat, PositiveFloat, model_validator

Floats = npt.NDArray[np.floating]


class Statistics(BaseModel):
    """Mean and standard deviation of every slot, in slot units."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: tuple[FiniteFloat, ...]
    std: tuple[NonNegativeFloat, ...]


class Normalization(BaseModel):
    """Statistics of the state and of the transformed actions, slot by slot.

    A slot that hardly moved in the data is divided by `std_floor`, so that noise does not become large numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slots: tuple[str, ...]
    std_floor: PositiveFloat = 0.02
    state: Statistics
    action: Statistics

    def normalize_state(self, state: Floats) -> Floats:
        """(…, S) in slot units -> z-scores."""
        return (state - np.asarray(self.state.mean)) / self._scale(self.state)

    def normalize_actions(self, actions: Floats) -> Floats:
        """(…, T, S), already relative where they shall be -> z-scores."""
        return (actions - np.asarray(self.action.mean)) / self._scale(self.action)

    def unnormalize_actions(self, actions: Floats) -> Floats:
        """The inverse of normalize_actions."""
        return actions * self._scale(self.action) + np.asarray(self.action.mean)

    def _scale(self, statistics: Statistics) -> Floats:
        return np.maximum(np.asarray(statistics.std), self.std_floor)

    @model_validator(mode="after")
    def _one_number_a_slot(self) -> Normalization:
        for kind in ("state", "action"):
            for name in ("mean", "std"):
                count = len(getattr(getattr(self, kind), name))
                if count != len(self.slots):
                    raise ValueError(f"{kind}.{name}: expected {len(self.slots)} numbers, one a slot, found {count}")
        return self


def fit_statistics(rows: Iterable[Floats]) -> Statistics:
    """Statistics over batches of rows, each (N, S). Raises ValueError when there is no row."""
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    for batch in rows:
        wide = batch.astype(np.float64)
        count += len(wide)
        total = total + wide.sum(axis=0)
        squares = squares + (wide**2).sum(axis=0)
    if count == 0:
        raise ValueError("there are no rows to compute statistics from")
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return Statistics(mean=tuple(mean.tolist()), std=tuple(std.tolist()))
