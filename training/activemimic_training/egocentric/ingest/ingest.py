"""Stage `ingest`: when every frame of a video was taken, and the canonical camera that all later stages see it with.

Nothing is encoded anew: later stages read the original through `CanonicalVideo`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from activemimic_training.egocentric.ingest.item import Item
from activemimic_training.egocentric.ingest.source_video import nearest, read, scan
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfig
from activemimic_training.egocentric.spatial.calibration import Calibration, Undistortion, assumed, load_calibration
from activemimic_training.egocentric_error import EgocentricError

_NS = 1_000_000_000


def ingest(item: Item, config: EgocentricConfig, inputs: Mapping[str, Path], out: Path) -> None:
    """Writes camera.json, source.json and time_ns.npy (N,) int64, ns since the first frame. Raises EgocentricError."""
    section = config.ingest
    found = scan(item, section.folder_fps)
    width, height = _canonical_size(found.width, found.height, section.longest_side_px)
    calibration, source = _calibration(item, config, found.width, found.height)
    camera = {
        "width": width,
        "height": height,
        "K": Undistortion(calibration, width, height).K.tolist(),
        "source": source,
        "assumed": source.startswith("assumed"),
        "distortion_removed": calibration.distorted,
        "calibration": calibration.model_dump(),
    }
    end_ns = int(found.time_ns[-1])
    about = {
        "codec": found.codec,
        "width": found.width,
        "height": found.height,
        "rotation_deg": found.rotation_deg,
        "first_ns": found.first_ns,
        "folder_fps": section.folder_fps,
        "frames": len(found.time_ns),
        "duration_s": end_ns / _NS,
        "longest_gap_s": float(np.diff(found.time_ns).max(initial=0)) / _NS,
        "spans_ns": _allowed(item, end_ns),
    }
    (out / "camera.json").write_text(json.dumps(camera, indent=1))
    (out / "source.json").write_text(json.dumps(about, indent=1))
    np.save(out / "time_ns.npy", found.time_ns)


def calibration_file(item: Item) -> Path:
    """Where the calibration of a video is looked for."""
    return item.source / "camera.json" if item.kind == "frames" else item.source.with_suffix(".camera.json")


@dataclass(frozen=True)
class CanonicalVideo:
    """A video as every model shall see it: upright, without distortion, width x height, one K."""

    item: Item
    folder: Path  # of its `ingest`

    def source(self) -> dict:
        data: dict = json.loads((self.folder / "source.json").read_text())
        return data

    def spans_ns(self) -> list[tuple[int, int]]:
        """From and to (not included) of every part that may be looked at."""
        return [(first, last) for first, last in self.source()["spans_ns"]]

    def size(self) -> tuple[int, int]:
        """Width and height."""
        camera = json.loads((self.folder / "camera.json").read_text())
        return camera["width"], camera["height"]

    def at(self, ticks_ns: Iterable[int]) -> Iterator[tuple[int, int, np.ndarray]]:
        """For ascending ticks: the tick, the time of the nearest frame, its image (H, W, 3) uint8 RGB.

        Frames that cannot be decoded or may not be looked at are none.

        Raises EgocentricError.
        """
        ticks = [*ticks_ns]
        if not ticks:
            return
        camera, source = json.loads((self.folder / "camera.json").read_text()), self.source()
        undistort = Undistortion(Calibration(**camera["calibration"]), camera["width"], camera["height"])
        every = read(self.item, source["first_ns"], source["folder_fps"], ticks[0], ticks[-1])
        frames = (frame for frame in every if any(a <= frame.time_ns < b for a, b in source["spans_ns"]))
        shown: tuple[int, np.ndarray] | None = None
        for tick, frame in nearest(frames, ticks):
            if shown is None or shown[0] != frame.time_ns:
                shown = frame.time_ns, undistort(frame.image())
            yield tick, *shown


def _calibration(item: Item, config: EgocentricConfig, width: int, height: int) -> tuple[Calibration, str]:
    """The calibration, and where it is from."""
    beside = calibration_file(item)
    given = load_calibration(beside) if beside.exists() else config.ingest.calibration
    if given is None:
        degrees = config.ingest.field_of_view_deg
        return assumed(width, height, degrees), f"assumed: {degrees:g} degrees along the longer side"
    source = beside.name if beside.exists() else "ingest.calibration"
    if abs(given.width * height - given.height * width) > max(given.width, width):
        raise EgocentricError(
            f"{item.source}: {source}: expected a calibration of the image's shape {width}x{height}, found "
            f"{given.width}x{given.height}"
        )
    return given, source


def _canonical_size(width: int, height: int, longest_px: int) -> tuple[int, int]:
    """At most `longest_px`, even for the video codec."""
    scale = min(1.0, longest_px / max(width, height))
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def _allowed(item: Item, last_ns: int) -> list[tuple[int, int]]:
    """The item's spans without what is redacted: from and to (not included), ns, ascending, none touching another."""
    end_ns = last_ns + 1
    wanted = [(0, end_ns)] if item.spans_s is None else [_in_ns(span) for span in item.spans_s]
    redacted = [_in_ns(span) for span in item.redacted_s]
    edges = sorted({0, end_ns, *(edge for span in (*wanted, *redacted) for edge in span)})
    parts: list[tuple[int, int]] = []
    for first, last in pairwise(edges):
        inside = first >= 0 and last <= end_ns and any(a <= first < b for a, b in wanted)
        if not inside or any(a <= first < b for a, b in redacted):
            continue
        if parts and parts[-1][1] == first:
            parts[-1] = (parts[-1][0], last)
        else:
            parts.append((first, last))
    return parts


def _in_ns(span_s: tuple[float, float]) -> tuple[int, int]:
    return round(span_s[0] * _NS), round(span_s[1] * _NS)
