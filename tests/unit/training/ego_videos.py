"""Small videos whose frames tell their own time, and what is wrong with some of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

WIDTH, HEIGHT = 96, 64
MS = Fraction(1, 1000)


def scene(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A picture (H, W, 3) with blocks of many colours and fine texture."""
    numbers = np.random.default_rng(seed)
    blocks = numbers.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    image = np.kron(blocks, np.ones((8, 8, 1), np.uint8)).astype(int) + numbers.integers(-25, 26, (height, width, 1))
    return image.clip(0, 255).astype(np.uint8)


def numbered(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A picture whose number `number_of` reads: a row of black and white blocks above the scene."""
    image = scene(0, width, height)
    for bit in range(8):
        image[:16, bit * width // 8 : (bit + 1) * width // 8] = 255 if index >> bit & 1 else 0
    return image


def number_of(image: np.ndarray) -> int:
    height, width = image.shape[:2]
    row = image[height // 16 : height * 3 // 16].mean(axis=(0, 2))
    return sum((row[(2 * bit + 1) * width // 16] > 128) << bit for bit in range(8))


def write_video(
    path: Path,
    times_ms: Sequence[int],
    images: Sequence[np.ndarray] | None = None,
    rotation: int = 0,
    keyframes_every: int = 10,
) -> Path:
    """Frame k at times_ms[k]; by default the frames are numbered."""
    images = images if images is not None else [numbered(index) for index in range(len(times_ms))]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "12", "preset": "ultrafast"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = keyframes_every
        stream.codec_context.time_base = MS
        stream.time_base = MS
        if rotation:
            stream.set_display_rotation(rotation)
        for time_ms, image in zip(times_ms, images, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time_ms, MS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def steady(seconds: float, fps: float = 30) -> list[int]:
    return [round(index * 1000 / fps) for index in range(round(seconds * fps))]


def write_frames(folder: Path, images: Sequence[np.ndarray], times_ns: Sequence[int] | None = None) -> Path:
    folder.mkdir()
    for index, image in enumerate(images):
        cv2.imwrite(str(folder / f"{index:06d}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if times_ns is not None:
        rows = [f"{index:06d}.png,{time}" for index, time in enumerate(times_ns)]
        (folder / "timestamps.csv").write_text("file,time_ns\n" + "\n".join(rows))
    return folder


def segment(start: float, end: float, task: str = "Open the jar", **more: object) -> dict:
    return {"start": start, "end": end, "action": "open", "objects": ["jar"], "task": task, **more}


def write_segments(path: Path, **videos: list[dict]) -> Path:
    path.write_text(json.dumps(videos))
    return path
