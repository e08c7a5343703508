"""One episode of stage `frames`, as the backends of the pose stages see it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from activemimic_training.egocentric.ingest.item import Item
from activemimic_training.egocentric.poses.frames import FPS
from activemimic_training.egocentric.spatial.geometry import Floats
from activemimic_training.egocentric.spatial.pose_trajectory import Flags, Times


@dataclass(frozen=True)
class Clip:
    """T canonical images on the grid of 10 per second: upright, without distortion, one K.

    Of the images in `folder` those from `first` on to `stop` (exclusive); None: to the last.
    """

    name: str  # <video>_<number>
    item: Item
    folder: Path  # with frames.mp4 and frames.json
    K: Floats  # (3, 3), pixels
    width: int
    height: int
    first: int = 0
    stop: int | None = None

    def __len__(self) -> int:
        return len(self.time_ns)

    @property
    def time_ns(self) -> Times:
        """(T,) ticks, ns since the video's first frame."""
        return self._part("time_ns", np.int64)

    @property
    def blurred(self) -> Flags:
        """(T,)."""
        return self._part("blurred", np.bool_)

    @property
    def cut_after(self) -> Flags:
        """(T,): between this frame and the next the view changes as it does between two films."""
        return self._part("cut_after", np.bool_)

    @property
    def task(self) -> str:
        return str(self._about["task"])

    def images(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 RGB, in order, one for every tick."""
        from activemimic_data.dataset.video import read_frames

        yield from read_frames(self.folder / "frames.mp4", self.first / FPS, len(self))

    def shots(self) -> list[tuple[int, int]]:
        """First and stop (exclusive) of what lies between cuts."""
        edges = [0, *(np.flatnonzero(self.cut_after[:-1]) + 1).tolist(), len(self)]
        return [*pairwise(edges)]

    def between(self, first: int, stop: int) -> Clip:
        """The frames `first` to `stop` (exclusive)."""
        return replace(self, first=self.first + first, stop=self.first + stop)

    def _part(self, field: str, kind: Any) -> Any:
        return np.asarray(self._about[field], kind)[self.first : self.stop]

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


def resized_intrinsics(K: Floats, across: float, down: float) -> Floats:
    """K (3, 3) of an image that is resized by these factors; the centre of the first pixel is at 0, 0."""
    by = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])
    return np.asarray(by @ K)
