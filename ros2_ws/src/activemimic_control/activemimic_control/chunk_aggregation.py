"""Chunk aggregation: what becomes of the running chunk's later points when a new chunk arrives.

Axes: T horizon, S slots.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from activemimic_description.chunk import Chunk

ACT_DECAY = 0.01  # m of ACT's weights exp(-m·i)
SMOOTHING = 0.8
_MOST_CHUNKS = 64  # that one step may be an average of


class ChunkAggregation(ABC):
    """Makes of each new chunk the one to be played."""

    def reset(self) -> None:  # noqa: B027 - not every one remembers something
        """Forget the chunks before."""

    @abstractmethod
    def add(self, chunk: Chunk) -> Chunk:
        """What to play from now on: of the same stamp, step and length as `chunk`."""


class Replace(ChunkAggregation):
    """The newest chunk alone. Right for chunks that already go on from what is executed (real-time chunking)."""

    def add(self, chunk: Chunk) -> Chunk:
        return chunk


class TemporalEnsemble(ChunkAggregation):
    """Each point is the weighted mean of all chunks that have something to say about its time.

    As in ACT (arXiv 2304.13705): weights exp(-decay·i), i = 0 for the oldest of them, divided by their sum. With
    `newest_first` i counts from the newest, so that the older a chunk is the less it weighs. Chunks whose grids lie
    between each other's points are read linearly.
    """

    def __init__(self, decay: float = ACT_DECAY, newest_first: bool = False) -> None:
        self._decay, self._newest_first = decay, newest_first
        self._chunks: list[Chunk] = []

    def reset(self) -> None:
        self._chunks = []

    def add(self, chunk: Chunk) -> Chunk:
        first_due_ns = chunk.stamp_ns + chunk.step_ns
        former = [old for old in self._chunks if old.end_ns >= first_due_ns and old.stamp_ns < chunk.stamp_ns]
        self._chunks = [*former, chunk][-_MOST_CHUNKS:]
        due_ns = chunk.stamp_ns + chunk.step_ns * np.arange(1, len(chunk.positions) + 1)
        said = np.stack([_at(one, due_ns) for one in self._chunks])  # (K, T, S), NaN where a chunk does not reach
        covers = ~np.isnan(said[:, :, 0])
        weights = ensemble_weights(covers, self._decay, self._newest_first)
        return replace(chunk, positions=np.einsum("kt,kts->ts", weights, np.nan_to_num(said)))


def ensemble_weights(
    covers: npt.NDArray[np.bool_], decay: float, newest_first: bool = False
) -> npt.NDArray[np.float64]:
    """Weights (K, T) of chunks, oldest first, at each step; `covers` (K, T) says which of them reach it.

    Steps that no chunk reaches have no weight.
    """
    index = np.cumsum(covers, axis=0) - 1  # among those that cover the step
    if newest_first:
        index = covers.sum(axis=0) - 1 - index
    weights = np.where(covers, np.exp(-decay * index), 0.0)
    return np.divide(weights, weights.sum(axis=0), out=np.zeros_like(weights), where=weights.sum(axis=0) > 0)


def make_chunk_aggregation(name: str) -> ChunkAggregation:
    """`replace`, `temporal_ensemble` (ACT's weights) or `temporal_smoothing` (each older chunk weighs 0.8 of the next).

    Raises ValueError for another name.
    """
    if name not in CHUNK_AGGREGATIONS:
        raise ValueError(f"chunk_aggregation: expected one of {', '.join(CHUNK_AGGREGATIONS)}, found {name!r}")
    if name == "replace":
        return Replace()
    if name == "temporal_ensemble":
        return TemporalEnsemble()
    return TemporalEnsemble(-float(np.log(SMOOTHING)), newest_first=True)


CHUNK_AGGREGATIONS: Sequence[str] = ("replace", "temporal_ensemble", "temporal_smoothing")


def _at(chunk: Chunk, times_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(T, S) what the chunk wants at the times, NaN before its first point and after its last."""
    steps = (times_ns - chunk.stamp_ns) / chunk.step_ns - 1
    last = len(chunk.positions) - 1
    before = np.clip(np.floor(steps), 0, max(last - 1, 0)).astype(int)
    share = (steps - before)[:, None]
    following = np.minimum(before + 1, last)
    said = (1 - share) * chunk.positions[before] + share * chunk.positions[following]
    reached = (steps >= 0) & (steps <= last)
    return np.where(reached[:, None], said, np.nan)
