"""The LeRobotDataset v3.0 folder: which file holds what, and how its tables are written.

Videos are one file an episode and camera; data and episode tables hold one row group an episode.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from activemimic_training.dataset import video
from activemimic_training.dataset.stage import StagedEpisode
from activemimic_training.dataset.stats import column_stats, image_stats

VERSION = "v3.0"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
CHUNK_FILES = 1000
DATA_FILE_MB = 100
IMAGE_PREFIX = "observation.images."


def features(interface: dict[str, Any], sources: list[str], fps: int) -> dict[str, dict[str, Any]]:
    """info.json's `features`, in the order of the table's columns, videos last."""
    slots = [slot["name"] for slot in interface["slots"]]
    described: dict[str, dict[str, Any]] = {
        "observation.state": _feature("float32", slots),
        "action": _feature("float32", slots),
        "observation_stamp_ns": _feature("int64"),
        "observation_age_ms": _feature("float32", sources),
        "loss_weight": _feature("float32"),
        "timestamp": _feature("float32"),
        "frame_index": _feature("int64"),
        "episode_index": _feature("int64"),
        "index": _feature("int64"),
        "task_index": _feature("int64"),
    }
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


def write_dataset(
    root: Path, episodes: Sequence[StagedEpisode], interface: dict[str, Any], fps: int, about: dict[str, Any]
) -> None:
    """Write the whole folder. `about` becomes meta/activemimic.json."""
    described = features(interface, episodes[0].sources, fps)
    tasks = list(dict.fromkeys(episode.instruction for episode in episodes))
    rows = _write_data(root, episodes, described, tasks, fps)
    for index, episode in enumerate(episodes):
        for camera in interface["cameras"]:
            target = root / VIDEO_PATH.format(video_key=IMAGE_PREFIX + camera, **_file(index))
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(episode.video(camera), target)
    (root / "meta").mkdir(parents=True)
    _write_parquet(root / EPISODES_PATH.format(**_file(0)), [pa.Table.from_pylist([row]) for row in rows])
    _write_tasks(root / "meta" / "tasks.parquet", tasks)
    total = int(sum(len(episode.state) for episode in episodes))
    _write_json(
        root / "meta" / "info.json",
        {
            "codebase_version": VERSION,
            "robot_type": interface["robot"],
            "total_episodes": len(episodes),
            "total_frames": total,
            "total_tasks": len(tasks),
            "chunks_size": CHUNK_FILES,
            "data_files_size_in_mb": DATA_FILE_MB,
            "video_files_size_in_mb": 200,
            "fps": fps,
            "splits": {"train": f"0:{len(episodes)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH,
            "features": described,
        },
    )
    _write_json(root / "meta" / "stats.json", _total_stats(episodes, interface, tasks, fps))
    _write_json(root / "meta" / "activemimic.json", about)


def _write_data(
    root: Path, episodes: Sequence[StagedEpisode], described: dict[str, Any], tasks: list[str], fps: int
) -> list[dict[str, Any]]:
    """Write the data tables; returns the rows of the episode table."""
    rows: list[dict[str, Any]] = []
    tables: list[pa.Table] = []
    start, file_index, file_bytes = 0, 0, 0
    for index, episode in enumerate(episodes):
        columns = _columns(episode, index, start, tasks.index(episode.instruction), fps)
        table = _table(columns, described)
        if tables and file_bytes + table.nbytes > DATA_FILE_MB * 1_000_000:
            _write_parquet(root / DATA_PATH.format(**_file(file_index)), tables)
            tables, file_bytes, file_index = [], 0, file_index + 1
        tables.append(table)
        file_bytes += table.nbytes
        rows.append(_episode_row(episode, index, start, columns, described, _file(file_index), fps))
        start += len(episode.state)
    _write_parquet(root / DATA_PATH.format(**_file(file_index)), tables)
    return rows


def _columns(episode: StagedEpisode, index: int, start: int, task: int, fps: int) -> dict[str, np.ndarray]:
    frame = np.arange(len(episode.state), dtype=np.int64)
    return {
        "observation.state": episode.state,
        "action": episode.action,
        "observation_stamp_ns": episode.stamp_ns,
        "observation_age_ms": episode.age_ms,
        "loss_weight": episode.loss_weight,
        # The grid's time, not the measured one: loaders find a video frame by it.
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(len(frame), index, np.int64),
        "index": start + frame,
        "task_index": np.full(len(frame), task, np.int64),
    }


def _table(columns: dict[str, np.ndarray], described: dict[str, Any]) -> pa.Table:
    arrays = {}
    for name, values in columns.items():
        flat = pa.array(values.reshape(-1))
        width = described[name]["shape"][0]
        arrays[name] = pa.FixedSizeListArray.from_arrays(flat, width) if values.ndim == 2 else flat
    return pa.table(arrays)


def _episode_row(
    episode: StagedEpisode,
    index: int,
    start: int,
    columns: dict[str, np.ndarray],
    described: dict[str, Any],
    data_file: dict[str, int],
    fps: int,
) -> dict[str, Any]:
    length = len(episode.state)
    row: dict[str, Any] = {
        "episode_index": index,
        "tasks": [episode.instruction],
        "length": length,
        "data/chunk_index": data_file["chunk_index"],
        "data/file_index": data_file["file_index"],
        "dataset_from_index": start,
        "dataset_to_index": start + length,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }
    stats = {name: column_stats(values) for name, values in columns.items()}
    for key in described:
        if not key.startswith(IMAGE_PREFIX):
            continue
        row |= {f"videos/{key}/{name}": value for name, value in _file(index).items()}
        row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": length / fps}
        stats[key] = image_stats(episode.histograms[key.removeprefix(IMAGE_PREFIX)], episode.histogram_frames)
    for key, values in stats.items():
        row |= {f"stats/{key}/{name}": value for name, value in values.items()}
    return row


def _total_stats(
    episodes: Sequence[StagedEpisode], interface: dict[str, Any], tasks: list[str], fps: int
) -> dict[str, Any]:
    starts = np.cumsum([0, *(len(episode.state) for episode in episodes)])
    parts = [
        _columns(episode, index, int(starts[index]), tasks.index(episode.instruction), fps)
        for index, episode in enumerate(episodes)
    ]
    stats = {name: column_stats(np.concatenate([part[name] for part in parts])) for name in parts[0]}
    frames = sum(episode.histogram_frames for episode in episodes)
    for camera in interface["cameras"]:
        histogram = np.sum([episode.histograms[camera] for episode in episodes], axis=0)
        stats[IMAGE_PREFIX + camera] = image_stats(histogram, frames)
    return stats


def _feature(dtype: str, names: list[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [len(names) if names else 1], "names": names}


def _file(number: int) -> dict[str, int]:
    return {"chunk_index": number // CHUNK_FILES, "file_index": number % CHUNK_FILES}


def _write_parquet(path: Path, tables: list[pa.Table]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)


def _write_tasks(path: Path, tasks: list[str]) -> None:
    import pandas as pd  # a second of start-up that the converting processes can do without

    # LeRobot looks a task up by position and takes its text from the pandas index.
    index = pd.Index(tasks, dtype=object, name="task")
    pd.DataFrame({"task_index": np.arange(len(tasks), dtype=np.int64)}, index=index).to_parquet(path)


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    # A link, not a move: an interrupted build finds its staged videos again.
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
