"""Frames of a video or of a folder of images, each with its own time; nothing relies on a frame rate."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np

from activemimic_training.egocentric.ingest.item import Item, frame_files
from activemimic_training.egocentric_error import EgocentricError

TIMESTAMPS = "timestamps.csv"
_NS = 1_000_000_000


@dataclass(frozen=True)
class Frame:
    """A frame, decoded; its image (H, W, 3) uint8 RGB, turned as it is to be shown, is made when asked for."""

    time_ns: int
    image: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Scan:
    """What a file says of its frames without decoding them. `width`, `height`: as shown, with square pixels."""

    codec: str
    width: int
    height: int
    rotation_deg: int  # counterclockwise, to be shown upright
    first_ns: int  # the first frame's stamp in the file, which becomes time 0
    time_ns: np.ndarray  # (N,) int64, ascending, from 0


def scan(item: Item, folder_fps: float | None) -> Scan:
    """Raises EgocentricError: not a video, damaged, without frames or without their times."""
    return _scan_folder(item.source, folder_fps) if item.kind == "frames" else _scan_video(item.source)


def read(item: Item, first_ns: int, folder_fps: float | None, from_ns: int, to_ns: int) -> Iterator[Frame]:
    """The frames from the last one at or before `from_ns` to the first at or after `to_ns`, without damaged ones.

    Raises EgocentricError.
    """
    frames = (
        _folder_frames(item.source, folder_fps) if item.kind == "frames" else _decode(item.source, first_ns, from_ns)
    )
    before: Frame | None = None
    for frame in frames:
        if frame.time_ns <= from_ns:
            before = frame
            continue
        if before:
            yield before
            before = None
        yield frame
        if frame.time_ns >= to_ns:
            return
    if before:
        yield before


def nearest(frames: Iterable[Frame], ticks_ns: Iterable[int]) -> Iterator[tuple[int, Frame]]:
    """For every tick, ascending, the frame closest in time, of two as close the earlier; nothing if there is none."""
    source = iter(frames)
    before, after = None, next(source, None)
    for tick in ticks_ns:
        while after is not None and after.time_ns <= tick:
            before, after = after, next(source, None)
        candidates = [frame for frame in (before, after) if frame is not None]
        if candidates:
            yield tick, min(candidates, key=lambda frame: abs(frame.time_ns - tick))


def _scan_video(path: Path) -> Scan:
    if path.stat().st_size == 0:
        raise EgocentricError(f"{path}: expected a video, found an empty file")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise EgocentricError(f"{path}: expected a video, found none in it")
            stream = container.streams.video[0]
            base = stream.time_base or Fraction(1, _NS)
            stamps = sorted(
                {
                    _ns(packet.pts, base)
                    for packet in container.demux(stream)
                    if packet.size and packet.pts is not None and not packet.is_discard
                }
            )
            codec = stream.codec_context.name
        if not stamps:
            raise EgocentricError(f"{path}: expected frames with times, found none")
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            ratio = stream.sample_aspect_ratio
            frame = next((f for f in container.decode(stream) if not f.is_corrupt), None)
    except (OSError, av.FFmpegError) as error:
        raise EgocentricError(f"{path}: cannot be read as a video: {_reason(error)}") from None
    if frame is None:
        raise EgocentricError(f"{path}: expected frames, found none that can be decoded")
    height, width = _shown(frame, ratio).shape[:2]
    return Scan(codec, width, height, frame.rotation, stamps[0], np.array(stamps, np.int64) - stamps[0])


def _decode(path: Path, first_ns: int, from_ns: int) -> Iterator[Frame]:
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            # Damage shall be an error: by default the decoder fills it with what was there before.
            stream.codec_context.options = {"err_detect": "explode+bitstream+buffer"}
            base = stream.time_base or Fraction(1, _NS)
            ratio = stream.sample_aspect_ratio
            if from_ns > 0:
                container.seek(int((first_ns + from_ns) / _NS / base), stream=stream)
            last_ns, damaged = -1, False
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.InvalidDataError:
                    damaged = True
                    continue
                for frame in frames:
                    # What follows a damaged frame is made from it, up to the next that stands for itself.
                    damaged = frame.is_corrupt or (damaged and not frame.key_frame)
                    if frame.pts is None or damaged:
                        continue
                    time_ns = _ns(frame.pts, base) - first_ns
                    if time_ns > last_ns:  # files that repeat a stamp show its first frame
                        last_ns = time_ns
                        yield Frame(time_ns, lambda frame=frame: _shown(frame, ratio))  # type: ignore[misc]
    except (OSError, IndexError, av.FFmpegError) as error:
        raise EgocentricError(f"{path}: cannot be decoded: {_reason(error)}") from None


def _shown(frame: av.VideoFrame, pixel_ratio: Fraction | None) -> np.ndarray:
    """The frame with square pixels, turned upright."""
    image: np.ndarray = frame.to_ndarray(format="rgb24")
    if pixel_ratio and pixel_ratio != 1:
        size = (round(frame.width * pixel_ratio), frame.height)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))


def _scan_folder(folder: Path, fps: float | None) -> Scan:
    times = _folder_times(folder, fps)
    height, width = _load(times[0][1]).shape[:2]
    time_ns = np.array([time for time, _ in times], np.int64)
    return Scan("images", width, height, 0, 0, time_ns)


def _folder_frames(folder: Path, fps: float | None) -> Iterator[Frame]:
    for time_ns, path in _folder_times(folder, fps):
        yield Frame(time_ns, lambda path=path: _load(path))  # type: ignore[misc]


def _folder_times(folder: Path, fps: float | None) -> list[tuple[int, Path]]:
    """The images with their times, by `timestamps.csv` (columns file, time_ns) or else at `fps`."""
    listed = folder / TIMESTAMPS
    if not listed.exists():
        if fps is None:
            raise EgocentricError(
                f"{folder}: expected {TIMESTAMPS} beside the images, or ingest.folder_fps; found neither"
            )
        return [(round(index * _NS / fps), path) for index, path in enumerate(frame_files(folder))]
    try:
        with listed.open(newline="", encoding="utf-8") as file:
            rows = [(int(row["time_ns"]), folder / row["file"]) for row in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise EgocentricError(f"{listed}: expected columns file and time_ns, found {error}") from None
    if not rows or any(b <= a for (a, _), (b, _) in pairwise(rows)):
        raise EgocentricError(f"{listed}: expected rows whose time_ns ascends, found {len(rows)} that do not")
    return [(time_ns - rows[0][0], path) for time_ns, path in rows]


def _load(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise EgocentricError(f"{path}: expected an image, found none that can be read")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def _ns(pts: int, base: Fraction) -> int:
    return round(pts * base * _NS)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
