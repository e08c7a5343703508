"""Camera frames as H.264 in MP4, one file an episode and camera, and back."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from activemimic_data.dataset.dataset_error import DatasetError

CODEC = "h264"
PIXEL_FORMAT = "yuv420p"
# Short groups without B-frames keep random reads cheap. The same frames give the same bytes on every processor: one
# thread, no macroblock tree (its reciprocals are the processor's own approximation) and only exact assembly.
_OPTIONS = {"preset": "veryfast", "crf": "20", "bf": "0", "g": "5", "x264-params": "cpu-independent=1:mbtree=0"}


class VideoWriter:
    """Frames (H, W, 3) uint8 RGB at a constant `fps`; frame k stands at exactly k/fps."""

    def __init__(self, path: Path, fps: int, width: int, height: int) -> None:
        if width % 2 or height % 2:
            raise DatasetError(
                f"{path.name}: expected even width and height for {PIXEL_FORMAT}, found {width}x{height}"
            )
        self._container: OutputContainer = av.open(str(path), "w")
        self._stream: VideoStream = self._container.add_stream("libx264", rate=fps, options=_OPTIONS)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = PIXEL_FORMAT
        self._stream.codec_context.thread_count = 1
        self._tick = Fraction(1, fps)
        self._frames = 0

    def add(self, image: np.ndarray) -> None:
        planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format=PIXEL_FORMAT)
        frame.pts = self._frames
        frame.time_base = self._tick
        self._frames += 1
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()


def frame_count(path: Path) -> int:
    """How many frames a video holds. Raises DatasetError if it cannot be opened."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            # Not every container says how many there are; counting packets decodes nothing.
            return stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
    except (OSError, IndexError, av.FFmpegError) as error:
        raise DatasetError(f"{path}: cannot be opened: {error}") from None


def read_frames(path: Path, start_s: float, count: int, every: int = 1) -> Iterator[np.ndarray]:
    """Every `every`-th of the `count` frames (H, W, 3) uint8 RGB from `start_s` on.

    Raises:
        DatasetError: the file is missing, damaged or holds fewer frames.
    """
    try:
        container = av.open(str(path))
    except (OSError, av.FFmpegError) as error:
        raise DatasetError(f"{path}: cannot be opened: {error}") from None
    with container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        # Half a frame of slack: frame times are exact in theory and rounded in the file.
        first_s = start_s - 0.5 / float(stream.average_rate or 1)
        found = 0
        try:
            for frame in container.decode(stream):
                if frame.time is None or frame.time < first_s:
                    continue
                if found == count:
                    return
                if found % every == 0:
                    yield frame.to_ndarray(format="rgb24")
                found += 1
        except av.FFmpegError as error:
            raise DatasetError(f"{path}: damaged after frame {found}: {error}") from None
    if found < count:
        raise DatasetError(f"{path}: expected {count} frames from {start_s:.3f} s on, found {found}")
