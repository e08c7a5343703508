"""One simulated G1 for all tests of this folder: every test resets it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from activemimic_description.contract import load_contract
from activemimic_description.robot import load_robot
from activemimic_sim.tasks import make_task
from activemimic_sim.world.rendering import CameraRenderer
from activemimic_sim.world.simulation import Simulation


@pytest.fixture(scope="session")
def simulation() -> Simulation:
    return Simulation(load_robot("g1"), make_task("reaching"))


@pytest.fixture(scope="session")
def cameras(simulation: Simulation) -> Iterator[CameraRenderer]:
    contract = load_contract("g1_sim")
    sizes = {name: (camera.height, camera.width) for name, camera in contract.cameras.items()}
    with simulation.cameras(sizes) as cameras:
        yield cameras
