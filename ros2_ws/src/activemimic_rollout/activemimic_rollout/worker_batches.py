"""Simulations of many scenes, spread over processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import as_completed
from typing import TypeVar

from activemimic_description.common.workers import worker_pool

S = TypeVar("S")
T = TypeVar("T")

_MOST = 4  # scenes a batch: often enough for a progress bar, rarely enough not to build the scene for each


def by_batches(work: Callable[[list[S]], Iterable[T]], scenes: list[S], workers: int) -> Iterator[T]:
    """What `work` makes of the scenes, as it becomes ready; with one worker in this process, one by one.

    With more, `work` has to be picklable, as is a `functools.partial` of a module's function.
    """
    if workers <= 1 or len(scenes) <= 1:
        yield from work(scenes)
        return
    size = max(1, min(_MOST, len(scenes) // workers))
    batches = [scenes[start : start + size] for start in range(0, len(scenes), size)]
    with worker_pool(min(workers, len(batches))) as pool:
        for future in as_completed([pool.submit(_collect, work, batch) for batch in batches]):
            yield from future.result()


def _collect(work: Callable[[list[S]], Iterable[T]], scenes: list[S]) -> list[T]:
    return list(work(scenes))
