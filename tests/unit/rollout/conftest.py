"""Three headless episodes, generated once: two with action noise, and the first seed again without."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from activemimic_data.dataset import build_dataset
from activemimic_rollout.synchronous.demonstrations import Demonstration, DemonstrationPlan, generate
from generated import FPS, SLIPPING, STEADY, Generated


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this test run have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def slipping(shared: Path) -> Generated:
    return _generated(SLIPPING, [0, 1], shared / "slipping")


@pytest.fixture(scope="session")
def steady(shared: Path) -> Generated:
    return _generated(STEADY, [0], shared / "steady")


@pytest.fixture(scope="session")
def dataset(slipping: Generated, shared: Path) -> Path:
    """The slipping episodes as a dataset of FPS rows a second; read only."""
    root = shared / "slipping_dataset"
    with _one_at_a_time(root):
        if not root.exists():
            build_dataset([slipping.out], root, fps=FPS, workers=1, only_success=False)
    return root


def _generated(plan: DemonstrationPlan, seeds: list[int], out: Path) -> Generated:
    told = out.with_suffix(".json")  # what the worker that came first was told
    with _one_at_a_time(out):
        if not told.exists():
            made = generate(plan, out, seeds, workers=1)
            told.write_text(json.dumps([[one.seed, str(one.folder), one.success, one.time_s] for one in made]))
    rows = json.loads(told.read_text())
    return Generated(plan, out, [Demonstration(seed, Path(folder), *rest) for seed, folder, *rest in rows])


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
