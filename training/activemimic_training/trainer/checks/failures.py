"""Why a run stopped by itself, and what of it is still good."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from activemimic_description.common.errors import OperationError
from safetensors import SafetensorError

from activemimic_training.trainer.setup.train_config import TrainConfig


class TrainingError(OperationError):
    """Training stopped by itself; the message says why, and which checkpoint is still good."""


def not_finite(config: TrainConfig, what: str, value: float, step: int) -> TrainingError:
    """The loss or the gradient of a step, from zero, is no number."""
    return TrainingError(
        f"{what} became {value} at step {step + 1}; {_good(config.out)}. Lower optimizer.lr "
        f"(now {config.optimizer.lr:g}), or look for outliers with `activemimic dataset inspect`"
    )


@contextmanager
def explained(config: TrainConfig) -> Iterator[None]:
    """Turns a lack of memory or of disk space into a TrainingError that says what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _lacks_memory(error):
            raise
        raise TrainingError(
            f"{config.device}: out of memory with batch_size {config.batch_size} in {config.accumulate} parts; "
            f"{_good(config.out)}. Start again with a higher accumulate or recompute=true: the run goes on where it was"
        ) from error
    except (OSError, SafetensorError) as error:
        if not _lacks_space(error):
            raise
        raise TrainingError(
            f"{config.out}: no space left on the disk; {_good(config.out)}. Free some and start again: the run goes on "
            "from its last saved state"
        ) from error


def _lacks_memory(error: BaseException) -> bool:
    # On a CPU torch raises a plain RuntimeError.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error)


def _lacks_space(error: BaseException) -> bool:
    number = getattr(error, "errno", None)
    return number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)


def _good(out: Path) -> str:
    folder = out / "checkpoint"
    return f"the checkpoint before it is whole: {folder}" if folder.exists() else "there is no checkpoint yet"
