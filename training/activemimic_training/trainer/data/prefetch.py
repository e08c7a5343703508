"""Batches made ahead by threads, in their order, while the model computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetched(make: Callable[[T], R], keys: Iterable[T], workers: int) -> Iterator[R]:
    """make(key) for every key, in order; up to twice `workers` of them are made ahead. Without workers: when asked.

    `make` must be a function of its key alone. What it raises is raised in its turn.
    """
    if workers == 0:
        yield from map(make, keys)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
    ahead: deque[Future[R]] = deque()
    try:
        for key in keys:
            ahead.append(pool.submit(make, key))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
