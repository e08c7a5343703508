"""The whole dataset in memory, as training reads it: small frames, rows, and which chunk steps count.

Axes: N rows, B batch, T horizon, S slots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from activemimic_policy.normalization import Normalization, fit_statistics
from activemimic_policy.spec import PolicySpec
from activemimic_policy.transforms import CompressActions, RelativeActions, Sample, apply, fit_square
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from activemimic_training.dataset.read import Dataset


class TrainingDataError(ValueError):
    """A dataset that cannot be trained on; the message says what was expected and found."""


@dataclass(frozen=True)
class TrainingData:
    """Rows, and the chunks that start at them."""

    images: dict[str, npt.NDArray[np.uint8]]  # camera -> (N, px, px, 3) RGB
    state: npt.NDArray[np.float32]  # (N, S)
    action: npt.NDArray[np.float32]  # (N, S), what was commanded for the tick after the row's
    task_index: npt.NDArray[np.int64]  # (N,)
    episode_end: npt.NDArray[np.int64]  # (N,) the last row of the row's episode
    counted_steps: npt.NDArray[np.int64]  # (N,) how many of the chunk's first steps count in the loss

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """The rows at which a chunk may start: those with a step that counts."""
        return np.flatnonzero(self.counted_steps)

    def with_slots(self, columns: Sequence[int]) -> TrainingData:
        """The same rows with some of the slots only."""
        return replace(self, state=self.state[:, columns], action=self.action[:, columns])

    def chunks(self, rows: npt.NDArray[np.int64], horizon: int) -> tuple[Sample, npt.NDArray[np.bool_]]:
        """Raw sample (actions (B, T, S) in slot units) of the chunks that start at `rows` (B,), and the mask (B, T)
        of the steps that count.

        Past the end of the episode the last action is repeated, and counts: it teaches to stay.
        """
        steps = np.arange(horizon)
        due = np.minimum(rows[:, None] + steps, self.episode_end[rows][:, None])
        images = {name: frames[rows] for name, frames in self.images.items()}
        return Sample(images, self.state[rows], self.action[due]), steps < self.counted_steps[rows][:, None]


def load_training_data(
    dataset: Dataset,
    cameras: Sequence[str],
    image_px: int,
    max_image_gb: float,
    threads: int = 1,
    console: Console | None = None,
) -> TrainingData:
    """Decodes every frame of `cameras` once, shrunk to image_px, and takes the rows.

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
        raise TrainingDataError("loss_weight is 0 in every row; there is nothing to imitate")
    missing = [name for name in cameras if name not in dataset.cameras]
    if missing:
        raise TrainingDataError(f"camera {missing[0]}: expected one of {', '.join(dataset.cameras)}")
    _check_finite("state", dataset.state, dataset.slots)
    _check_finite("action", dataset.action, dataset.slots)
    gigabytes = rows * len(cameras) * image_px**2 * 3 / 1e9
    if gigabytes > max_image_gb:
        raise TrainingDataError(
            f"the frames need {gigabytes:.1f} GB of memory ({rows} rows, {len(cameras)} cameras, {image_px} px), "
            f"max_image_gb allows {max_image_gb:g}; raise it, or take fewer cameras, episodes or pixels"
        )
    return TrainingData(
        images=_decode(dataset, cameras, image_px, threads, console or Console(quiet=True)),
        state=dataset.state,
        action=dataset.action,
        task_index=dataset.task_index,
        episode_end=episode_end,
        counted_steps=counted_steps,
    )


def fit_normalization(data: TrainingData, spec: PolicySpec) -> Normalization:
    """Statistics of the states, and of exactly the transformed actions whose steps count."""
    return Normalization(
        slots=spec.slots,
        state=fit_statistics([data.state]),
        action=fit_statistics(_counted_actions(data, spec)),
    )


def _counted_actions(data: TrainingData, spec: PolicySpec) -> Iterator[npt.NDArray[np.floating]]:
    steps = (RelativeActions(spec.relative_slots), CompressActions(spec.relative_slots, spec.relative_knee))
    rows_only = TrainingData({}, data.state, data.action, data.task_index, data.episode_end, data.counted_steps)
    for rows in np.array_split(data.starts, len(data.starts) // 4096 + 1):
        sample, counts = rows_only.chunks(rows, spec.horizon)
        actions = apply(steps, sample).actions
        assert actions is not None
        yield actions[counts]


def _decode(
    dataset: Dataset, cameras: Sequence[str], image_px: int, threads: int, console: Console
) -> dict[str, npt.NDArray[np.uint8]]:
    shape = (len(dataset.state), image_px, image_px, 3)
    images: dict[str, npt.NDArray[np.uint8]] = {name: np.empty(shape, dtype=np.uint8) for name in cameras}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(threads) as pool:
        bar = progress.add_task("Decoding frames", total=len(dataset.state) * len(cameras))

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

        work = [pool.submit(decode, camera, i) for i in range(len(dataset.episodes)) for camera in cameras]
        try:
            for future in work:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return images


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
