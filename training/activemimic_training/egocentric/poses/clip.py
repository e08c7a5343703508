"""One episode of stage `frames`, as the backends of the pose stages see it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from activemimic_training.egocentric.frames import FPS
from activemimic_training.egocentric.geometry import Floats
from activemimic_training.egocentric.item import Item
from activemimic_training.egocentric.trajectory import Flags, Times


@dataclass(frozen=True)
class Clip:
    """T canonical images on the grid of 10 per second: upright, without distortion, one K."""

    name: str  # <video>_<number>
    item: Item
    folder: Path  # with frames.mp4 and frames.json
    K: Floats  # (3, 3), pixels
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.time_ns)

    @property
    def time_ns(self) -> Times:
        """(T,) ticks, ns since the video's first frame."""
        return np.asarray(self._about["time_ns"], np.int64)

    @property
    def blurred(self) -> Flags:
        """(T,)."""
        return np.asarray(self._about["blurred"], np.bool_)

    @property
    def cut_after(self) -> Flags:
        """(T,): between this frame and the next the view changes as it does between two films."""
        return np.asarray(self._about["cut_after"], np.bool_)

    @property
    def task(self) -> str:
        return str(self._about["task"])

    def images(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 RGB, in order, one for every tick."""
        from activemimic_training.dataset.video import read_frames

        yield from read_frames(self.folder / "frames.mp4", 0.0, len(self))

    @cached_property
    def _about(self) -> dict[str, Any]:
        about: dict[str, Any] = json.loads((self.folder / "frames.json").read_text())
        assert about["fps"] == FPS
        return about


def clips(item: Item, ingest: Path, frames: Path) -> Iterator[Clip]:
    """The episodes that stage `frames` wrote of an item, from the folders of both stages."""
    camera = json.loads((ingest / "camera.json").read_text())
    for name in json.loads((frames / "episodes.json").read_text())["episodes"]:
        yield Clip(name, item, frames / name, np.asarray(camera["K"]), camera["width"], camera["height"])
