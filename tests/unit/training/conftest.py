"""A training run that ended by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from activemimic_training.trainer.train import TrainSummary, train
from training_runs import QUIET, configured


@pytest.fixture(scope="session")
def uninterrupted(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainSummary]:
    """A finished run's folder and summary; read only."""
    out = tmp_path_factory.mktemp("whole")
    return out, train(configured(dataset, out), QUIET)
