"""A built dataset, read back: columns as arrays, videos as frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from activemimic_description.interface import fingerprint

from activemimic_data.dataset.dataset_error import DatasetError
from activemimic_data.dataset.layout import IMAGE_PREFIX, VERSION
from activemimic_data.dataset.video import read_frames


@dataclass(frozen=True)
class EpisodeRow:
    """Rows start to stop (exclusive) are one episode of one task (an instruction)."""

    index: int
    start: int
    stop: int
    task: str


class Dataset:
    """A LeRobotDataset v3.0 folder that `build_dataset` wrote.

    Attributes:
        fps: rows per second.
        slots: S names, the columns of state and action.
        cameras: names.
        episodes: in order, covering all rows.
        tasks: instructions, by task index.
        interface, fingerprint, contract_yaml: what the robot was when it was recorded.

    Raises:
        DatasetError: a file or field is missing, or two of them contradict each other.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        info = self._json("meta/info.json")
        if (version := self._field(info, "codebase_version")) != VERSION:
            raise DatasetError(f"{self._info}: codebase_version: expected {VERSION}, found {version!r}")
        self.fps: int = int(self._field(info, "fps"))
        self.features: dict[str, dict[str, Any]] = self._field(info, "features")
        self._data_path: str = self._field(info, "data_path")
        self._video_path: str = self._field(info, "video_path")
        self.slots: list[str] = self._field(self._field(self.features, "action", "features"), "names")
        self.cameras: list[str] = [
            key.removeprefix(IMAGE_PREFIX) for key, feature in self.features.items() if feature["dtype"] == "video"
        ]
        about = self._json("meta/activemimic.json")
        place = self.root / "meta/activemimic.json"
        self.interface: dict[str, Any] = self._field(about, "interface", file=place)
        self.fingerprint: str = self._field(about, "fingerprint", file=place)
        self.contract_yaml: str = self._field(about, "contract", file=place)
        self.bags: list[dict[str, Any]] = self._field(about, "bags", file=place)
        self.skipped: list[dict[str, str]] = self._field(about, "skipped", file=place)
        self.cuts: list[dict[str, Any]] = about.get("cuts", [])
        self.tasks: list[str] = self._read_tasks()
        self._episode_table = self._read_episodes()
        self.episodes: list[EpisodeRow] = [
            EpisodeRow(row["episode_index"], row["dataset_from_index"], row["dataset_to_index"], row["tasks"][0])
            for row in self._episode_table
        ]
        self._check(info, place)

    def __len__(self) -> int:
        return self.episodes[-1].stop if self.episodes else 0

    @property
    def state(self) -> np.ndarray:
        """Measured robot vectors: (N, S) float32, slot units."""
        return self.column("observation.state")

    @property
    def action(self) -> np.ndarray:
        """Commanded robot vectors, each for the tick after its row's: (N, S) float32, slot units."""
        return self.column("action")

    @property
    def task_index(self) -> np.ndarray:
        """(N,) int64 into `tasks`."""
        return self.column("task_index")

    def column(self, name: str) -> np.ndarray:
        """A column by its feature name: (N,) or (N, D)."""
        if name not in self._table.column_names:
            raise DatasetError(
                f"{self.root}: no column {name!r}: expected one of {', '.join(self._table.column_names)}"
            )
        column = self._table.column(name).combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0)
        if pa.types.is_fixed_size_list(column.type):
            return column.flatten().to_numpy().reshape(len(column), -1)
        values = column.to_numpy()
        # A list of one number is kept as the number, as LeRobot wants it; named columns tell that it is a list.
        return values[:, None] if self.features.get(name, {}).get("names") else values

    def frames(self, camera: str, episode_index: int, every: int = 1) -> Iterator[np.ndarray]:
        """The episode's images, one a row, or only `every` so many rows: (H, W, 3) uint8 RGB."""
        if camera not in self.cameras:
            raise DatasetError(f"{self.root}: no camera {camera!r}: expected one of {', '.join(self.cameras)}")
        path, start_s = self.video(camera, episode_index)
        return read_frames(path, start_s, self._episode_table[episode_index]["length"], every)

    def video(self, camera: str, episode_index: int) -> tuple[Path, float]:
        """The file that holds the episode's images, and the time (s) in it at which they begin."""
        row, key = self._episode_table[episode_index], f"videos/{IMAGE_PREFIX}{camera}"
        name = self._video_path.format(
            video_key=IMAGE_PREFIX + camera,
            chunk_index=row[f"{key}/chunk_index"],
            file_index=row[f"{key}/file_index"],
        )
        return self.root / name, float(row[f"{key}/from_timestamp"])

    @cached_property
    def stats(self) -> dict[str, Any]:
        """meta/stats.json: feature -> min, max, mean, std, count, q01, q10, q50, q90, q99."""
        return self._json("meta/stats.json")

    @cached_property
    def _table(self) -> pa.Table:
        names = {
            self._data_path.format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
            for row in self._episode_table
        }
        table = pa.concat_tables([self._parquet(name) for name in sorted(names)])
        if missing := [
            key
            for key, feature in self.features.items()
            if feature["dtype"] != "video" and key not in table.column_names
        ]:
            raise DatasetError(f"{self.root / 'data'}: columns missing: {', '.join(missing)}; info.json declares them")
        if table.num_rows != len(self):
            raise DatasetError(f"{self.root / 'data'}: expected {len(self)} rows, found {table.num_rows}")
        return table

    @property
    def _info(self) -> Path:
        return self.root / "meta/info.json"

    def _read_tasks(self) -> list[str]:
        table = self._parquet("meta/tasks.parquet")
        if missing := {"task", "task_index"} - set(table.column_names):
            raise DatasetError(f"{self.root / 'meta/tasks.parquet'}: columns missing: {', '.join(sorted(missing))}")
        return [str(task) for task in table.sort_by("task_index").column("task").to_pylist()]

    def _read_episodes(self) -> list[dict[str, Any]]:
        paths = sorted((self.root / "meta/episodes").rglob("*.parquet"))
        if not paths:
            raise DatasetError(f"{self.root / 'meta/episodes'}: missing; expected the episode table")
        tables = [self._parquet(str(path.relative_to(self.root))) for path in paths]
        wanted = [name for name in tables[0].column_names if not name.startswith("stats/")]
        rows: list[dict[str, Any]] = pa.concat_tables([table.select(wanted) for table in tables]).to_pylist()
        needed = ["episode_index", "tasks", "length", "data/chunk_index", "data/file_index", "dataset_from_index"]
        needed += ["dataset_to_index"]
        for camera in self.cameras:
            key = f"videos/{IMAGE_PREFIX}{camera}"
            needed += [f"{key}/chunk_index", f"{key}/file_index", f"{key}/from_timestamp"]
        if missing := [name for name in needed if name not in wanted]:
            raise DatasetError(f"{paths[0]}: columns missing: {', '.join(missing)}")
        return rows

    def _check(self, info: dict[str, Any], about: Path) -> None:
        if (found := fingerprint(self.interface)) != self.fingerprint:
            raise DatasetError(f"{about}: fingerprint: expected {found} (of its interface), found {self.fingerprint}")
        if (names := [slot["name"] for slot in self.interface["slots"]]) != self.slots:
            raise DatasetError(f"{self._info}: features.action.names: expected {names}, found {self.slots}")
        if list(self.interface["cameras"]) != self.cameras:
            raise DatasetError(
                f"{self._info}: features: expected cameras {list(self.interface['cameras'])}, found {self.cameras}"
            )
        start = 0
        for index, (episode, row) in enumerate(zip(self.episodes, self._episode_table, strict=True)):
            expected = EpisodeRow(index, start, start + row["length"], episode.task)
            if episode != expected:
                raise DatasetError(f"{self.root / 'meta/episodes'}: row {index}: expected {expected}, found {episode}")
            if episode.task not in self.tasks:
                raise DatasetError(
                    f"{self.root / 'meta/tasks.parquet'}: task {episode.task!r} of episode {index} missing"
                )
            start = episode.stop
        for key, count in (("total_episodes", len(self.episodes)), ("total_frames", start)):
            if (found_count := self._field(info, key)) != count:
                raise DatasetError(f"{self._info}: {key}: expected {count} (episode table), found {found_count}")

    def _field(self, data: dict[str, Any], key: str, inside: str = "", file: Path | None = None) -> Any:
        if key not in data:
            raise DatasetError(f"{file or self._info}: {inside + '.' if inside else ''}{key}: missing")
        return data[key]

    def _json(self, name: str) -> dict[str, Any]:
        path = self.root / name
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: cannot be read: {error}") from None
        if not isinstance(data, dict):
            raise DatasetError(f"{path}: expected an object, found {type(data).__name__}")
        return data

    def _parquet(self, name: str) -> pa.Table:
        path = self.root / name
        try:
            return pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise DatasetError(f"{path}: cannot be read: {error}") from None
