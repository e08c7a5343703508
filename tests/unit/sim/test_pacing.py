"""A simulation in real time: it keeps up with the clock, and obeys a command from when it was sent."""

from __future__ import annotations

import numpy as np
import pytest
from activemimic_sim.world.pacing import PacedSimulation
from activemimic_sim.world.simulation import Simulation

START_S = 700.0
TICK_S = 1 / 30


def _raised(simulation: Simulation) -> tuple[np.ndarray, np.ndarray]:
    """Every slot a little further than it is."""
    return np.arange(len(simulation.measured())), simulation.measured() + 0.05


def test_until_a_command_was_sent_the_former_one_holds(simulation: Simulation) -> None:
    simulation.reset(0)
    slots, targets = _raised(simulation)
    simulation.advance_to(0.02)
    simulation.command(targets)
    simulation.advance_to(TICK_S)
    expected = simulation.measured()

    simulation.reset(0)
    paced = PacedSimulation(simulation, START_S)
    paced.command_slots(slots, targets, START_S + 0.02)
    paced.advance_to(START_S + TICK_S)
    np.testing.assert_array_equal(simulation.measured(), expected)

    simulation.reset(0)
    simulation.command(targets)
    simulation.advance_to(TICK_S)
    assert np.abs(simulation.measured() - expected).max() > 1e-3


def test_a_command_of_the_past_counts_from_now_on(simulation: Simulation) -> None:
    simulation.reset(0)
    slots, targets = _raised(simulation)
    simulation.advance_to(TICK_S)
    simulation.command(targets)
    simulation.advance_to(2 * TICK_S)
    expected = simulation.measured()

    simulation.reset(0)
    paced = PacedSimulation(simulation, START_S)
    paced.advance_to(START_S + TICK_S)
    paced.command_slots(slots, targets, START_S + 0.01)
    paced.advance_to(START_S + 2 * TICK_S)
    np.testing.assert_array_equal(simulation.measured(), expected)


def test_it_is_abreast_of_the_clock(simulation: Simulation) -> None:
    simulation.reset(0)
    paced = PacedSimulation(simulation, START_S)
    for tick in range(1, 31):
        paced.advance_to(START_S + tick * TICK_S)
    assert simulation.time_s == pytest.approx(1.0, abs=simulation.model.opt.timestep)
    assert paced.real_time_factor() == pytest.approx(1.0, abs=0.01)


def test_after_a_stall_the_time_passes_and_the_real_time_factor_says_so(simulation: Simulation) -> None:
    simulation.reset(0)
    paced = PacedSimulation(simulation, START_S)
    paced.advance_to(START_S)
    paced.advance_to(START_S + 1.0)  # a second in which nothing ran: it is not made up for
    assert simulation.time_s == pytest.approx(0.1, abs=simulation.model.opt.timestep)
    assert paced.real_time_factor() == pytest.approx(0.1, abs=0.01)
    paced.advance_to(START_S + 1.0 + TICK_S)
    assert simulation.time_s == pytest.approx(0.1 + TICK_S, abs=simulation.model.opt.timestep)
