"""What a LeRobotDataset holds: its features, its columns and their statistics. How they lie in files is told by
`layout_v30.py` and `layout_v21.py`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from activemimic_data.dataset import video
from activemimic_data.dataset.stage import StagedEpisode
from activemimic_data.dataset.stats import column_stats, image_stats

VERSION = "v3.0"  # what `read.Dataset` reads
FORMATS = (VERSION, "v2.1")
IMAGE_PREFIX = "observation.images."


@dataclass(frozen=True)
class Content:
    """All that is written, whatever the layout."""

    episodes: Sequence[StagedEpisode]
    interface: dict[str, Any]
    fps: int
    features: dict[str, dict[str, Any]]  # info.json's, in the order of the table's columns, videos last
    tasks: list[str]  # instructions, by task index

    @classmethod
    def of(cls, episodes: Sequence[StagedEpisode], interface: dict[str, Any], fps: int) -> Content:
        """The episodes as a dataset of one robot."""
        tasks = list(dict.fromkeys(episode.instruction for episode in episodes))
        return cls(episodes, interface, fps, features(interface, episodes[0], fps), tasks)

    @cached_property
    def starts(self) -> list[int]:
        """The first row of every episode."""
        return np.cumsum([0, *(len(episode.state) for episode in self.episodes)])[:-1].tolist()

    @property
    def rows(self) -> int:
        return sum(len(episode.state) for episode in self.episodes)

    def columns(self, index: int) -> dict[str, np.ndarray]:
        """An episode's columns by feature name: (N,) or (N, D)."""
        episode = self.episodes[index]
        frame = np.arange(len(episode.state), dtype=np.int64)
        return {
            "observation.state": episode.state,
            "action": episode.action,
            "observation_stamp_ns": episode.stamp_ns,
            "observation_age_ms": episode.age_ms,
            "loss_weight": episode.loss_weight,
            # The grid's time, not the measured one: loaders find a video frame by it.
            "timestamp": (frame / self.fps).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.full(len(frame), index, np.int64),
            "index": self.starts[index] + frame,
            "task_index": np.full(len(frame), self.tasks.index(episode.instruction), np.int64),
            **episode.extra,
        }

    def table(self, index: int) -> pa.Table:
        """The same as a table."""
        arrays = {}
        for name, values in self.columns(index).items():
            flat = pa.array(values.reshape(-1))
            width = self.features[name]["shape"][0]
            # LeRobot takes what has one number for a scalar, and refuses a list of one.
            arrays[name] = pa.FixedSizeListArray.from_arrays(flat, width) if width > 1 else flat
        return pa.table(arrays)

    def stats(self, index: int) -> dict[str, dict[str, Any]]:
        """Statistics of one episode, by feature name."""
        episode = self.episodes[index]
        stats = {name: column_stats(values) for name, values in self.columns(index).items()}
        for camera in self.interface["cameras"]:
            stats[IMAGE_PREFIX + camera] = image_stats(episode.histograms[camera], episode.histogram_frames)
        return stats

    def total_stats(self) -> dict[str, dict[str, Any]]:
        """Statistics of all rows, by feature name."""
        parts = [self.columns(index) for index in range(len(self.episodes))]
        stats = {name: column_stats(np.concatenate([part[name] for part in parts])) for name in parts[0]}
        frames = sum(episode.histogram_frames for episode in self.episodes)
        for camera in self.interface["cameras"]:
            histogram = np.sum([episode.histograms[camera] for episode in self.episodes], axis=0)
            stats[IMAGE_PREFIX + camera] = image_stats(histogram, frames)
        return stats

    def info(self, version: str) -> dict[str, Any]:
        """What info.json says in every layout."""
        return {
            "codebase_version": version,
            "robot_type": self.interface["robot"],
            "total_episodes": len(self.episodes),
            "total_frames": self.rows,
            "total_tasks": len(self.tasks),
            "fps": self.fps,
            "splits": {"train": f"0:{len(self.episodes)}"},
            "features": self.features,
        }


def features(interface: dict[str, Any], episode: StagedEpisode, fps: int) -> dict[str, dict[str, Any]]:
    """info.json's `features`, in the order of the table's columns, videos last."""
    slots = [slot["name"] for slot in interface["slots"]]
    described: dict[str, dict[str, Any]] = {
        "observation.state": _feature("float32", slots),
        "action": _feature("float32", slots),
        "observation_stamp_ns": _feature("int64"),
        "observation_age_ms": _feature("float32", episode.sources),
        "loss_weight": _feature("float32"),
        "timestamp": _feature("float32"),
        "frame_index": _feature("int64"),
        "episode_index": _feature("int64"),
        "index": _feature("int64"),
        "task_index": _feature("int64"),
    }
    for name, values in episode.extra.items():
        described[name] = {"dtype": str(values.dtype), "shape": [values.shape[1]], "names": None}
    for name, camera in interface["cameras"].items():
        described[IMAGE_PREFIX + name] = {
            "dtype": "video",
            "shape": [camera["height"], camera["width"], 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": camera["height"],
                "video.width": camera["width"],
                "video.codec": video.CODEC,
                "video.pix_fmt": video.PIXEL_FORMAT,
                "video.is_depth_map": False,
                "video.fps": fps,
                "video.channels": 3,
                "has_audio": False,
            },
        }
    return described


def write_parquet(path: Path, tables: list[pa.Table]) -> None:
    """One row group a table; the file's folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)


def write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def link(source: Path, target: Path) -> None:
    """A link, not a move: an interrupted build finds its staged videos again."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _feature(dtype: str, names: list[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [len(names) if names else 1], "names": names}
