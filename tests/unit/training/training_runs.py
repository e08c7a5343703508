"""A run of a dozen steps, as the tests of the trainer configure it."""

from pathlib import Path
from typing import Any

from activemimic_training.trainer.checks.log import read_metrics
from activemimic_training.trainer.setup.train_config import TrainConfig
from rich.console import Console

QUIET = Console(quiet=True)


def configured(dataset: Path, out: Path, **changes: Any) -> TrainConfig:
    sizes = {
        "steps": 12,
        "batch_size": 4,
        "threads": 1,
        "checkpoint_every": 5,
        "model": {"image_px": 32, "horizon": 4},
        "policy": {"execution_horizon": 2, "num_inference_steps": 2},
        "optimizer": {"warmup_steps": 2},
    }
    return TrainConfig.model_validate({"dataset": dataset, "out": out, **sizes, **changes})


def losses(out: Path) -> list[float]:
    return [metrics.loss for metrics in read_metrics(out / "metrics.csv")]
