"""A file that threads of its own write and sync, so that a slow disk holds nobody up, with space kept for its end."""

from __future__ import annotations

import errno
import fcntl
import os
import queue
import threading
import time
from pathlib import Path

RESERVE_BYTES = 16 * 1024 * 1024
# A disk that stands still may not eat the memory: beyond this, whoever writes has to wait.
MOST_WAITING_BYTES = 512 * 1024 * 1024

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class DurableFile:
    """A new file, written in order: `write` and `flush` return at once, `close` when everything is on the disk.

    A file beside it, `reserve`, takes space until the disk is full. It is given up then: `full` turns true, and the
    owner still has room to end the file. While it is open, the file is locked against `locked`.

    Raises OSError if the file cannot be created, or there is no room for the reserve.
    """

    def __init__(self, path: Path) -> None:
        self.full = False
        self.error: OSError | None = None  # with which writing has ended for good
        self._reserve = path.with_name("reserve")
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _allocate(self._reserve, RESERVE_BYTES)
        except OSError:
            os.close(self._fd)
            raise
        self._size = self._written = 0
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()  # b"": sync; None: the end
        self._sync = threading.Event()
        self._ended = False
        self._threads = [
            threading.Thread(target=run, name=f"recording {run.__name__}", daemon=True)
            for run in (self._write_until_end, self._sync_until_end)
        ]
        for thread in self._threads:
            thread.start()

    def write(self, data: bytes) -> int:
        """Take `data` to be written; `error` tells afterwards if that failed."""
        while self._size - self._written > MOST_WAITING_BYTES and self.error is None:
            time.sleep(0.005)
        if data:
            self._size += len(data)
            self._queue.put(data)
        return len(data)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Have everything that was written until now synced to the disk, soon."""
        self._queue.put(b"")

    def close(self) -> None:
        """Write and sync the rest. Raises OSError if anything could not be written."""
        self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._fsync()
        os.close(self._fd)
        self._reserve.unlink(missing_ok=True)
        if self.error is not None:
            raise self.error

    def _write_until_end(self) -> None:
        while (data := self._queue.get()) is not None:
            if data:
                self._write_all(data)
            else:
                self._sync.set()
        self._ended = True
        self._sync.set()

    def _sync_until_end(self) -> None:
        while not self._ended:
            self._sync.wait()
            self._sync.clear()
            self._fsync()

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and self.error is None:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except OSError as error:
                if error.errno in _DISK_FULL and not self.full:
                    self.full = True
                    self._reserve.unlink(missing_ok=True)
                else:
                    self.error = error
        self._written += len(data)

    def _fsync(self) -> None:
        try:
            os.fsync(self._fd)
        except OSError as error:
            self.error = self.error or error


def locked(path: Path) -> bool:
    """Whether a DurableFile of a living process is still writing `path`."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _allocate(path: Path, size: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.posix_fallocate(fd, 0, size)
    finally:
        os.close(fd)
