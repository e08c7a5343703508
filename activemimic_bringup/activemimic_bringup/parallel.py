"""Simulations of many seeds, spread over processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

T = TypeVar("T")

_MOST = 4  # seeds a batch: often enough for a progress bar, rarely enough not to build the scene for each


def by_batches(work: Callable[[list[int]], Iterable[T]], seeds: list[int], workers: int) -> Iterator[T]:
    """What `work` makes of the seeds, as it becomes ready; with one worker in this process, seed by seed.

    With more, `work` has to be picklable, as is a `functools.partial` of a module's function.
    """
    if workers <= 1 or len(seeds) <= 1:
        yield from work(seeds)
        return
    size = max(1, min(_MOST, len(seeds) // workers))
    batches = [seeds[start : start + size] for start in range(0, len(seeds), size)]
    # A process that has an OpenGL context must not be forked.
    with ProcessPoolExecutor(min(workers, len(batches)), multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(_collect, work, batch) for batch in batches]):
            yield from future.result()


def _collect(work: Callable[[list[int]], Iterable[T]], seeds: list[int]) -> list[T]:
    return list(work(seeds))
