"""LeRobotDataset v3.0: which file holds what.

Videos are one file an episode and camera; data and episode tables hold one row group an episode.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from activemimic_data.dataset.layout import IMAGE_PREFIX, Content, link, write_json, write_parquet

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
CHUNK_FILES = 1000
DATA_FILE_MB = 100


def write(root: Path, content: Content) -> None:
    """Write everything but meta/activemimic.json."""
    rows = _write_data(root, content)
    for index, episode in enumerate(content.episodes):
        for camera in content.interface["cameras"]:
            link(episode.video(camera), root / VIDEO_PATH.format(video_key=IMAGE_PREFIX + camera, **_file(index)))
    write_parquet(root / EPISODES_PATH.format(**_file(0)), [pa.Table.from_pylist([row]) for row in rows])
    _write_tasks(root / "meta" / "tasks.parquet", content.tasks)
    info = {
        **content.info("v3.0"),
        "chunks_size": CHUNK_FILES,
        "data_files_size_in_mb": DATA_FILE_MB,
        "video_files_size_in_mb": 200,
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
    }
    write_json(root / "meta" / "info.json", info)
    write_json(root / "meta" / "stats.json", content.total_stats())


def _write_data(root: Path, content: Content) -> list[dict[str, Any]]:
    """Write the data tables; returns the rows of the episode table."""
    rows: list[dict[str, Any]] = []
    tables: list[pa.Table] = []
    file_index, file_bytes = 0, 0
    for index in range(len(content.episodes)):
        table = content.table(index)
        if tables and file_bytes + table.nbytes > DATA_FILE_MB * 1_000_000:
            write_parquet(root / DATA_PATH.format(**_file(file_index)), tables)
            tables, file_bytes, file_index = [], 0, file_index + 1
        tables.append(table)
        file_bytes += table.nbytes
        rows.append(_episode_row(content, index, _file(file_index)))
    write_parquet(root / DATA_PATH.format(**_file(file_index)), tables)
    return rows


def _episode_row(content: Content, index: int, data_file: dict[str, int]) -> dict[str, Any]:
    episode, start = content.episodes[index], content.starts[index]
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
    for camera in content.interface["cameras"]:
        key = f"videos/{IMAGE_PREFIX}{camera}"
        row |= {f"{key}/{name}": value for name, value in _file(index).items()}
        row |= {f"{key}/from_timestamp": 0.0, f"{key}/to_timestamp": length / content.fps}
    for key, values in content.stats(index).items():
        row |= {f"stats/{key}/{name}": value for name, value in values.items()}
    return row


def _file(number: int) -> dict[str, int]:
    return {"chunk_index": number // CHUNK_FILES, "file_index": number % CHUNK_FILES}


def _write_tasks(path: Path, tasks: list[str]) -> None:
    import pandas as pd  # a second of start-up that the converting processes can do without

    # LeRobot looks a task up by position and takes its text from the pandas index.
    index = pd.Index(tasks, dtype=object, name="task")
    pd.DataFrame({"task_index": np.arange(len(tasks), dtype=np.int64)}, index=index).to_parquet(path)
