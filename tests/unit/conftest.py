"""Synthetic episodes, and a dataset of them, for the tests of every package."""

from __future__ import annotations

from pathlib import Path

import pytest
from activemimic_data.dataset import build_dataset
from activemimic_description.contract import Contract, load_contract
from synthetic import EpisodeMaker, write_episode


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
