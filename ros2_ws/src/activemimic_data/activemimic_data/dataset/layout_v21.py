"""LeRobotDataset v2.1: one table and one video an episode, the episodes listed as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from activemimic_data.dataset.layout import IMAGE_PREFIX, Content, link, write_json, write_parquet
from activemimic_data.dataset.stats import QUANTILES

DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
CHUNK_EPISODES = 1000


def write(root: Path, content: Content) -> None:
    """Write everything but meta/activemimic.json."""
    cameras = list(content.interface["cameras"])
    count = len(content.episodes)
    for index, episode in enumerate(content.episodes):
        place = {"episode_chunk": index // CHUNK_EPISODES, "episode_index": index}
        write_parquet(root / DATA_PATH.format(**place), [content.table(index)])
        for camera in cameras:
            link(episode.video(camera), root / VIDEO_PATH.format(video_key=IMAGE_PREFIX + camera, **place))
    info = {
        **content.info("v2.1"),
        "total_videos": count * len(cameras),
        "total_chunks": -(-count // CHUNK_EPISODES),
        "chunks_size": CHUNK_EPISODES,
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
    }
    meta = root / "meta"
    write_json(meta / "info.json", info)
    _write_lines(meta / "tasks.jsonl", ({"task_index": i, "task": task} for i, task in enumerate(content.tasks)))
    _write_lines(
        meta / "episodes.jsonl",
        (
            {"episode_index": index, "tasks": [episode.instruction], "length": len(episode.state)}
            for index, episode in enumerate(content.episodes)
        ),
    )
    _write_lines(
        meta / "episodes_stats.jsonl",
        ({"episode_index": index, "stats": _stats(content, index)} for index in range(count)),
    )


def _stats(content: Content, index: int) -> dict[str, dict[str, Any]]:
    """An episode's statistics; this version has no quantiles."""
    return {
        key: {name: value for name, value in values.items() if name not in QUANTILES}
        for key, values in content.stats(index).items()
    }


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
