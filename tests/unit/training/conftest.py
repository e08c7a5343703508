"""Synthetic episodes for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from activemimic_description.contract import Contract, load_contract
from activemimic_training.dataset import build_dataset
from activemimic_training.trainer.train import TrainSummary, train
from synthetic import EpisodeMaker, write_episode
from training_runs import QUIET, configured


@pytest.fixture(scope="session")
def contract() -> Contract:
    return load_contract("g1_sim")


@pytest.fixture(scope="session")
def make_episode() -> EpisodeMaker:
    return write_episode


@pytest.fixture(scope="session")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three episodes of two instructions; read only."""
    root = tmp_path_factory.mktemp("episodes")
    return [
        write_episode(root / "episode_000", frames=24, phase=0.0),
        write_episode(root / "episode_001", frames=18, phase=1.0, instruction="grasp the cube behind the wall"),
        write_episode(root / "episode_002", frames=21, phase=2.0),
    ]


@pytest.fixture(scope="session")
def dataset(episodes: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The episodes at 10 rows a second; read only."""
    root = tmp_path_factory.mktemp("trainer") / "dataset"
    build_dataset(episodes, root, fps=10, workers=1)
    return root


@pytest.fixture(scope="session")
def uninterrupted(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainSummary]:
    """A finished run's folder and summary; read only."""
    out = tmp_path_factory.mktemp("whole")
    return out, train(configured(dataset, out), QUIET)
