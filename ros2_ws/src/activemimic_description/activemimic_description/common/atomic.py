"""Folders that are either whole or absent, whenever the process dies."""

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


def write_text(path: Path, text: str) -> None:
    """Writes `text` beside `path` and renames it, so that a reader never sees half a file."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _previous(target: Path) -> Path:
    return target.with_name(target.name + ".previous")
