"""Files and folders that are either whole or absent, whenever the process dies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """Yields an empty folder beside `target`; when the block ends well, it takes the place of `target`.

    The former `target` waits as `<name>.previous` between the two renames; `recover` brings it back after a death
    in just that moment.
    """
    recover(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial, previous = target.with_name(target.name + ".partial"), _previous(target)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if target.exists():
        target.rename(previous)
    partial.rename(target)
    shutil.rmtree(previous, ignore_errors=True)


def recover(target: Path) -> None:
    """Undoes a replacement of `target` that was cut between its two renames; otherwise clears what it left."""
    previous = _previous(target)
    if not previous.exists():
        return
    if target.exists():
        shutil.rmtree(previous)
    else:
        previous.rename(target)


@contextmanager
def file_beside(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` with the same suffix, to be written to; when the block ends well, it takes its place.

    It is on the disk then: after a loss of power `path` holds all of it or what it held before. A block that writes
    nothing replaces nothing.
    """
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield partial
        if not partial.exists():
            return
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replaces `path` by `text` as a whole, see `file_beside`."""
    with file_beside(path) as partial:
        partial.write_text(text, encoding="utf-8")


def sync_folder(folder: Path) -> None:
    """Bring the folder's entries (names, renames) to the disk."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _previous(target: Path) -> Path:
    return target.with_name(target.name + ".previous")
