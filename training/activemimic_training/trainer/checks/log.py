"""What a run tells while it runs: metrics.csv, TensorBoard and a progress bar."""

from __future__ import annotations

import csv
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
from activemimic_description.common.atomic import write_text
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from activemimic_training.trainer.checks.validation import Validation

TENSORBOARD_EVERY = 10


@dataclass(frozen=True)
class StepMetrics:
    """One step; `step` counts from one. `parts`: of the unified action, the mean loss of each body's nine numbers."""

    step: int
    loss: float
    lr: float
    grad_norm: float
    frames_per_s: float
    parts: dict[str, float] = field(default_factory=dict)


_FIGURES = [it.name for it in fields(StepMetrics) if it.name != "parts"]
_PART = "loss_"  # begins the names of the parts' columns


class TrainLog:
    """Context manager; a resumed run goes on in the same files, less what was logged after its checkpoint."""

    def __init__(self, folder: Path, steps: int, done: int, console: Console, parts: Sequence[str] = ()) -> None:
        from torch.utils.tensorboard import SummaryWriter  # more than a second to import

        path = folder / "metrics.csv"
        kept = [metrics for metrics in read_metrics(path) if metrics.step <= done]
        self._parts = parts
        head = ",".join([*_FIGURES, *(_PART + name for name in parts)])
        write_text(path, "\n".join([head, *map(self._line, kept)]) + "\n")
        self._file = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)
        self._recent: deque[StepMetrics] = deque(maxlen=50)
        self._progress = Progress(
            TextColumn("Training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}{task.fields[look]}  {task.fields[rate]:.0f} frames/s  left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._bar = self._progress.add_task("", total=steps, completed=done, loss=float("nan"), rate=0.0, look="")

    def __enter__(self) -> TrainLog:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        self._file.close()
        self._board.close()

    def add(self, metrics: StepMetrics) -> None:
        self._file.write(self._line(metrics) + "\n")
        self._file.flush()
        if metrics.step % TENSORBOARD_EVERY == 0:
            told = {name: getattr(metrics, name) for name in _FIGURES[1:]}
            for name, value in {**told, **{f"loss/{part}": it for part, it in metrics.parts.items()}}.items():
                self._board.add_scalar(name, value, metrics.step)
        self._recent.append(metrics)
        count = len(self._recent)
        loss = sum(m.loss for m in self._recent) / count
        rate = count / sum(1 / m.frames_per_s for m in self._recent)
        self._progress.update(self._bar, completed=metrics.step, loss=loss, rate=rate)

    def show(self, look: Validation, best: Validation | None) -> None:
        """Puts what a look found into TensorBoard and beside the loss."""
        told = []
        for name, value in (("action_error", look.action_error), ("success", look.success)):
            if value is not None:
                self._board.add_scalar(f"validation/{name}", value, look.step)
                told.append(f"{name.replace('_', ' ')} {value:.4g}")
        best_step = f", best at {best.step}" if best and best.step != look.step else ""
        short = look.success if look.success is not None else look.action_error
        name = "success" if look.success is not None else "error"
        self._progress.update(self._bar, look=f"  {name} {short:.3g}")
        self._progress.console.print(f"step {look.step}: {', '.join(told)}{best_step}", highlight=False)

    def show_errors(self, step: int, slots: Sequence[str], errors: npt.NDArray[np.float64]) -> None:
        """errors (T, D), in slot units, to TensorBoard: by slot and by step of the chunk, less those of NaN alone."""
        named = {f"validation_slots/{slot}": column for slot, column in zip(slots, errors.T, strict=True)}
        named |= {f"validation_chunk_steps/{k:02d}": row for k, row in enumerate(errors, start=1)}
        for name, values in named.items():
            if (known := values[np.isfinite(values)]).size:
                self._board.add_scalar(name, known.mean(), step)

    def _line(self, metrics: StepMetrics) -> str:
        figures = [getattr(metrics, name) for name in _FIGURES]
        return ",".join(map(repr, [*figures, *(metrics.parts.get(part, math.nan) for part in self._parts)]))


def read_metrics(path: Path) -> list[StepMetrics]:
    """The steps of a metrics.csv; none when there is no file. A last line cut by a death is left out."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = [*csv.reader(file)] or [[]]
    names = [name.removeprefix(_PART) for name in head[len(_FIGURES) :]]
    steps = []
    for row in rows:
        if len(row) == len(head) and all(row):
            loss, lr, grad_norm, frames_per_s, *parts = map(float, row[1:])
            named = dict(zip(names, parts, strict=True))
            steps.append(StepMetrics(int(row[0]), loss, lr, grad_norm, frames_per_s, named))
    return steps
