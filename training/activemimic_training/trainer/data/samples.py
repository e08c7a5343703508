"""A dataset as training reads it: small frames, rows, which chunk steps count, and what is held out.

Axes: N rows, B batch, T horizon, S slots.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Protocol

import numpy as np
import numpy.typing as npt
from activemimic_data.dataset.read import Dataset, EpisodeRow
from activemimic_description.common.errors import InvalidInputError
from activemimic_policy.normalization import Normalization, Statistics, fit_statistics
from activemimic_policy.spec import PolicySpec
from activemimic_policy.transforms import CompressActions, RelativeActions, Sample, apply, fit_square
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from activemimic_training.egocentric.episodes.load import EgoRows, is_egocentric, load_ego_rows


class TrainingDataError(InvalidInputError):
    """A dataset that cannot be trained on; the message says what was expected and found."""


class Frames(Protocol):
    """Where the images of rows come from."""

    def take(self, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.uint8]]:
        """camera -> (B, px, px, 3) RGB of the rows (B,)."""
        ...


@dataclass(frozen=True)
class MemoryFrames:
    """All of them decoded."""

    images: dict[str, npt.NDArray[np.uint8]]  # camera -> (N, px, px, 3) RGB

    def take(self, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.uint8]]:
        return {name: frames[rows] for name, frames in self.images.items()}


@dataclass(frozen=True)
class EgoChunks:
    """The chunks of egocentric video: not put together of the rows' actions, but made for each start."""

    rows: EgoRows
    columns: Sequence[int]  # the S of the 27 numbers
    by_confidence: bool = False  # what counts, counts by its body's confidence

    def chunks(
        self, starts: npt.NDArray[np.int64], horizon: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Actions and which of them count, (B, T, S) each, of the chunks that start at `starts` (B,)."""
        targets, counts = self.rows.targets(starts, horizon)
        return targets[..., self.columns].astype(np.float32), counts[..., self.columns]

    def weights(self, starts: npt.NDArray[np.int64], horizon: int) -> npt.NDArray[np.float32]:
        """What each number (B, T, S) counts in the loss."""
        counts = self.rows.targets(starts, horizon)[1][..., self.columns].astype(np.float32)
        if not self.by_confidence:
            return counts
        return counts * self.rows.confidences(starts, horizon)[..., self.columns].astype(np.float32)

    def statistics(self, starts: npt.NDArray[np.int64], horizon: int) -> Statistics:
        """Of what counts of them."""
        found = self.rows.statistics(horizon, starts)
        return Statistics(mean=tuple(found.mean[self.columns].tolist()), std=tuple(found.std[self.columns].tolist()))


@dataclass(frozen=True)
class TrainingData:
    """Rows, and the chunks that start at them."""

    frames: Frames
    state: npt.NDArray[np.float32]  # (N, S)
    action: npt.NDArray[np.float32]  # (N, S), what was commanded for the tick after the row's
    task_index: npt.NDArray[np.int64]  # (N,)
    episode_end: npt.NDArray[np.int64]  # (N,) the last row of the row's episode
    counted_steps: npt.NDArray[np.int64]  # (N,) how many of the chunk's first steps count in the loss
    own: npt.NDArray[np.bool_] | None = None  # (N,) False for rows that are held out; None: all are its own
    ego: EgoChunks | None = None  # of egocentric video: its chunks, in place of those of `action`

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """The rows at which a chunk may start: those with a step that counts."""
        return np.flatnonzero(self.counted_steps)

    def with_slots(self, columns: Sequence[int]) -> TrainingData:
        """The same rows with some of the slots only."""
        ego = None if self.ego is None else replace(self.ego, columns=[self.ego.columns[it] for it in columns])
        return replace(self, state=self.state[:, columns], action=self.action[:, columns], ego=ego)

    def chunks(self, rows: npt.NDArray[np.int64], horizon: int) -> tuple[Sample, npt.NDArray[np.bool_]]:
        """Raw sample (actions (B, T, S) in slot units) of the chunks that start at `rows` (B,), and the mask
        (B, T, S or 1) of the numbers that count.

        Past the end of the episode the last action of a robot is repeated, and counts: it teaches to stay. Of a video
        nothing counts there: it was cut, and whoever is seen in it went on.
        """
        if self.ego is not None:
            targets, counted = self.ego.chunks(rows, horizon)
            return Sample(self.frames.take(rows), self.state[rows], targets), counted
        steps = np.arange(horizon)
        due = np.minimum(rows[:, None] + steps, self.episode_end[rows][:, None])
        return Sample(self.frames.take(rows), self.state[rows], self.action[due]), self.counts(rows, horizon)

    def counts(self, rows: npt.NDArray[np.int64], horizon: int) -> npt.NDArray[np.bool_]:
        """Which numbers (B, T, S or 1) of the chunks that start at `rows` (B,) count."""
        if self.ego is not None:
            return self.ego.chunks(rows, horizon)[1]
        return (np.arange(horizon) < self.counted_steps[rows][:, None])[..., None]

    def weights(self, rows: npt.NDArray[np.int64], horizon: int) -> npt.NDArray[np.float32]:
        """What the numbers (B, T, S or 1) of the chunks that start at `rows` (B,) count in the loss, 0 to 1."""
        if self.ego is not None:
            return self.ego.weights(rows, horizon)
        return self.counts(rows, horizon).astype(np.float32)

    def split(self, held_out: Sequence[int], episodes: Sequence[EpisodeRow]) -> tuple[TrainingData, TrainingData]:
        """What is left to train on, and the episodes of the indices `held_out`."""
        out = np.zeros(len(self.state), dtype=np.bool_)
        for index in held_out:
            out[episodes[index].start : episodes[index].stop] = True
        kept, held = (np.where(rows, self.counted_steps, 0) for rows in (~out, out))
        return replace(self, counted_steps=kept, own=~out), replace(self, counted_steps=held, own=out)


def load_rows(dataset: Dataset, confidence_weighting: bool = False) -> TrainingData:
    """The rows without their images. With `confidence_weighting` those of egocentric video count by their confidence.

    An optional column `loss_weight`, one number a row, masks: a row with 0 was disturbed on purpose, and its action
    shall not be imitated. Of each chunk only the steps before the first such row count, because what follows a
    disturbance cannot be foreseen; such a row is no start of a chunk. The rows after it are: they show how to
    recover.

    Raises TrainingDataError, and the reader's DatasetError.
    """
    rows = len(dataset.state)
    if rows == 0:
        raise TrainingDataError("the dataset has no rows; record or convert at least one episode")
    episode_end = np.empty(rows, dtype=np.int64)
    for episode in dataset.episodes:
        episode_end[episode.start : episode.stop] = episode.stop - 1
    counted_steps = _counted_steps(_loss_weight(dataset), episode_end)
    if not counted_steps.any():
        raise TrainingDataError(
            "loss_weight is 0 in every row; there is nothing to imitate. Of what a policy did by itself "
            "`activemimic dataset build --imitate-policy` makes rows that count"
        )
    _check_finite("state", dataset.state, dataset.slots)
    _check_finite("action", dataset.action, dataset.slots)
    ego: EgoChunks | None = None
    if is_egocentric(dataset):
        ego = EgoChunks(load_ego_rows(dataset), range(len(dataset.slots)), confidence_weighting)
    elif confidence_weighting:
        raise TrainingDataError("confidence_weighting: expected egocentric video, found a dataset without confidences")
    return TrainingData(
        MemoryFrames({}), dataset.state, dataset.action, dataset.task_index, episode_end, counted_steps, ego=ego
    )


def decode_frames(
    dataset: Dataset,
    cameras: Sequence[str],
    image_px: int,
    max_image_gb: float,
    threads: int = 1,
    console: Console | None = None,
    disk: Path | None = None,
) -> MemoryFrames:
    """Every frame of `cameras`, decoded once and shrunk to image_px; in nameless files of the folder `disk`, if given.

    Those are gone with the process, and as much of them is in memory as there is room for.

    Raises TrainingDataError, and the reader's DatasetError.
    """
    check_cameras(dataset, cameras)
    rows = len(dataset.state)
    gigabytes = rows * len(cameras) * image_px**2 * 3 / 1e9
    where = "memory" if disk is None else "disk"
    needed = f"the frames need {gigabytes:.1f} GB of {where} ({rows} rows, {len(cameras)} cameras, {image_px} px)"
    if disk is not None:
        disk.mkdir(parents=True, exist_ok=True)  # of several processes, another one makes the run's folder
        free = shutil.disk_usage(disk).free / 1e9
        if gigabytes > free:
            raise TrainingDataError(f"{disk}: {needed}, {free:.1f} GB are free")
    elif gigabytes > max_image_gb:
        raise TrainingDataError(
            f"{needed}, max_image_gb allows {max_image_gb:g}; raise it, or keep them on a "
            "disk with images=disk, or decode while training with images=video"
        )
    shape = (rows, image_px, image_px, 3)
    images = {name: _room(shape, disk) for name in cameras}
    _decode(dataset, images, image_px, threads, console or Console(quiet=True))
    return MemoryFrames(images)


def _room(shape: tuple[int, ...], disk: Path | None) -> npt.NDArray[np.uint8]:
    if disk is None:
        return np.empty(shape, dtype=np.uint8)
    with TemporaryFile(dir=disk) as file:
        # Reserved at once: a write into a mapped file that finds the disk full would kill the process without a word.
        os.posix_fallocate(file.fileno(), 0, math.prod(shape))
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)


def check_cameras(dataset: Dataset, cameras: Sequence[str]) -> None:
    """Raises TrainingDataError when the dataset lacks one of `cameras`."""
    missing = [name for name in cameras if name not in dataset.cameras]
    if missing:
        raise TrainingDataError(f"camera {missing[0]}: expected one of {', '.join(dataset.cameras)}")


def choose_held_out(episodes: Sequence[EpisodeRow], wanted: float, seed: int) -> list[int]:
    """Which episodes to hold out: a share (below 1, at least one of them) or a count, of every task alike.

    The same for the same seed and episodes. Raises TrainingDataError when nothing would be left to train on.
    """
    count = max(1, round(wanted * len(episodes))) if wanted < 1 else int(wanted)
    if count >= len(episodes):
        raise TrainingDataError(
            f"validation.episodes: expected fewer than the {len(episodes)} episodes of the dataset, found {count}"
        )
    order = np.random.default_rng([seed, 3]).permutation(len(episodes)).tolist()
    # One of each task in turn, so that every task is looked at.
    seen: dict[str, int] = {}
    turn = {}
    for index in order:
        task = episodes[index].task
        turn[index] = seen[task] = seen.get(task, -1) + 1
    return sorted(sorted(order, key=lambda index: turn[index])[:count])


def fit_normalization(data: TrainingData, spec: PolicySpec) -> Normalization:
    """Statistics of the states, and of exactly the transformed actions whose steps count."""
    return Normalization(
        slots=spec.slots,
        state=fit_statistics([data.state if data.own is None else data.state[data.own]]),
        action=fit_statistics(_counted_actions(data, spec))
        if data.ego is None
        else data.ego.statistics(data.starts, spec.horizon),
    )


def _counted_actions(data: TrainingData, spec: PolicySpec) -> Iterator[npt.NDArray[np.floating]]:
    steps = (RelativeActions(spec.relative_slots), CompressActions(spec.relative_slots, spec.relative_knee))
    rows_only = replace(data, frames=MemoryFrames({}))
    for rows in np.array_split(data.starts, len(data.starts) // 4096 + 1):
        sample, counts = rows_only.chunks(rows, spec.horizon)
        actions = apply(steps, sample).actions
        assert actions is not None
        yield actions[counts[..., 0]]


def _decode(
    dataset: Dataset, images: Mapping[str, npt.NDArray[np.uint8]], image_px: int, threads: int, console: Console
) -> None:
    """Fills camera -> (N, px, px, 3)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(threads) as pool:
        bar = progress.add_task("Decoding frames", total=len(dataset.state) * len(images))

        def decode(camera: str, number: int) -> None:
            episode = dataset.episodes[number]
            row = episode.start
            for frame in dataset.frames(camera, number):
                if row < episode.stop:
                    images[camera][row] = fit_square(frame, image_px)
                row += 1
            if row != episode.stop:
                raise TrainingDataError(
                    f"camera {camera}, episode {episode.index}: expected {episode.stop - episode.start} frames, "
                    f"found {row - episode.start}"
                )
            progress.advance(bar, row - episode.start)

        work = [pool.submit(decode, camera, i) for i in range(len(dataset.episodes)) for camera in images]
        try:
            for future in work:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _loss_weight(dataset: Dataset) -> npt.NDArray[np.floating]:
    if "loss_weight" not in dataset.features:
        return np.ones(len(dataset.state), dtype=np.float32)
    weight = dataset.column("loss_weight")
    bad = np.flatnonzero((weight != 0) & (weight != 1))
    if len(bad):
        raise TrainingDataError(f"loss_weight of row {bad[0]}: expected 0 or 1, found {weight[bad[0]]}")
    return weight


def _counted_steps(weight: npt.NDArray[np.floating], episode_end: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """From each row, the number of steps before the first row of weight 0 in its episode; without one, endless."""
    rows = np.arange(len(weight))
    endless = np.iinfo(np.int64).max
    zeros = np.flatnonzero(weight == 0)
    first = np.append(zeros, endless)[np.searchsorted(zeros, rows)]
    return np.where(first <= episode_end, first - rows, endless)


def _check_finite(name: str, values: npt.NDArray[np.floating], slots: Sequence[str]) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, slot = bad[0]
        raise TrainingDataError(f"{name} of row {row}, {slots[slot]}: expected a number, found {values[row, slot]}")
