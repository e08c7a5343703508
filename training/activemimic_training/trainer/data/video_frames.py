"""Frames decoded when they are asked for, for datasets that do not fit into memory.

Each thread keeps its own open files. A frame is found by its time: to the key frame before it, then on.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from activemimic_data.dataset.dataset_error import DatasetError
from activemimic_data.dataset.read import Dataset
from activemimic_policy.transforms import fit_square
from av.container import InputContainer
from av.video.stream import VideoStream

OPEN_FILES = 64  # a thread


class VideoFrames:
    """See data.Frames."""

    def __init__(self, dataset: Dataset, cameras: Sequence[str], image_px: int) -> None:
        """Raises DatasetError when a video is missing."""
        self._fps, self._image_px = dataset.fps, image_px
        self._starts = np.array([episode.start for episode in dataset.episodes])
        self._places = {
            camera: [dataset.video(camera, episode.index) for episode in dataset.episodes] for camera in cameras
        }
        for places in self._places.values():
            for path, _ in places:
                if not path.is_file():
                    raise DatasetError(f"{path}: cannot be opened: expected a video, found no file")
        self._local = threading.local()

    def take(self, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.uint8]]:
        """camera -> (B, px, px, 3) RGB of the rows (B,). Raises DatasetError."""
        return {camera: np.stack([self._frame(camera, int(row)) for row in rows]) for camera in self._places}

    def _frame(self, camera: str, row: int) -> npt.NDArray[np.uint8]:
        episode = int(np.searchsorted(self._starts, row, side="right")) - 1
        path, start_s = self._places[camera][episode]
        time_s = start_s + (row - int(self._starts[episode])) / self._fps
        image = self._decoded(path, time_s)
        return fit_square(image, self._image_px)

    def _decoded(self, path: Path, time_s: float) -> npt.NDArray[np.uint8]:
        container, stream = self._opened(path)
        try:
            assert stream.time_base is not None
            container.seek(round(time_s / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                # Half a frame of slack: frame times are exact in theory and rounded in the file.
                if frame.time is not None and frame.time > time_s - 0.5 / self._fps:
                    return np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
        except av.FFmpegError as error:
            self._files.pop(path, None)
            raise DatasetError(f"{path}: damaged at {time_s:.3f} s: {error}") from None
        raise DatasetError(f"{path}: expected a frame at {time_s:.3f} s, found the end")

    @property
    def _files(self) -> OrderedDict[Path, tuple[InputContainer, VideoStream]]:
        if not hasattr(self._local, "files"):
            self._local.files = OrderedDict()
        return self._local.files

    def _opened(self, path: Path) -> tuple[InputContainer, VideoStream]:
        files = self._files
        if path in files:
            files.move_to_end(path)
            return files[path]
        try:
            container = av.open(str(path))
        except (OSError, av.FFmpegError) as error:
            raise DatasetError(f"{path}: cannot be opened: {error}") from None
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        files[path] = (container, stream)
        if len(files) > OPEN_FILES:
            _, (oldest, _) = files.popitem(last=False)
            oldest.close()
        return container, stream
