"""Restocking: what a policy has to do, cannot be had otherwise, and the expert can."""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np
import pytest
from activemimic_sim.experts import make_expert
from activemimic_sim.tasks import TaskStatus
from activemimic_sim.tasks.contacts import touching
from activemimic_sim.tasks.restocking import (
    BOTTLE_HEIGHT_M,
    BOTTLE_RADIUS_M,
    REGION_CENTER_XY_M,
    SHELF_DEPTH_M,
    SHELF_FRONT_X_M,
    SHELF_WIDTH_M,
    SLOT_SPACING_M,
    SLOTS,
    TABLE_HEIGHT_M,
    TIER_HEIGHTS_M,
    Restocking,
    slot_position,
)
from activemimic_sim.world.rendering import CameraRenderer
from activemimic_sim.world.simulation import Simulation
from trials import expert_trial, simulation_of, step

EXPERT_SEEDS = range(10)
STANDING = np.array([0.0, 0.0, BOTTLE_HEIGHT_M / 2])


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulation_of("restocking")


@pytest.fixture(scope="module")
def cameras(simulation: Simulation) -> Iterator[CameraRenderer]:
    with simulation.cameras({"head": (224, 224)}) as cameras:
        yield cameras


def test_bottle_and_shelf_have_the_papers_sizes() -> None:
    assert (BOTTLE_HEIGHT_M, 2 * BOTTLE_RADIUS_M) == (0.17, 0.055)
    assert TIER_HEIGHTS_M == (0.70, 1.00, 1.30)
    assert (SHELF_WIDTH_M, SHELF_DEPTH_M) == (0.925, 0.35)


def test_the_cells_are_every_slot_with_every_part_of_the_region(simulation: Simulation) -> None:
    task = _task(simulation)
    assert task.cells == 81
    emptied, xy = [], []
    for cell in range(81):
        simulation.reset(cell, cell)
        emptied.append(task.empty_slot)
        xy.append(simulation.data.body("bottle").xpos[:2] - REGION_CENTER_XY_M)
    np.testing.assert_array_equal(emptied, np.repeat(range(SLOTS), 9))
    parts = np.floor((np.array(xy) + 0.06) / 0.04).astype(int)
    np.testing.assert_array_equal(parts @ [3, 1], np.tile(range(9), SLOTS))


def test_every_slot_but_the_empty_one_holds_a_bottle_that_stays(simulation: Simulation) -> None:
    for cell in (0, 40, 80):
        simulation.reset(1, cell)
        simulation.advance_to(1.0)
        neighbours = [simulation.data.body(f"neighbour_{number}").xpos for number in range(SLOTS - 1)]
        off = np.abs(_slots_m()[:, None] + STANDING - np.array(neighbours)).max(axis=2).min(axis=1)
        assert np.flatnonzero(off > 0.01).tolist() == [_task(simulation).empty_slot]


def test_neither_the_bottle_nor_any_slot_is_in_the_heads_view_at_the_start(
    simulation: Simulation, cameras: CameraRenderer
) -> None:
    bottles = ["bottle", *(f"neighbour_{number}" for number in range(SLOTS - 1))]
    for seed in range(6):
        simulation.reset(seed)
        assert [cameras.visible_pixels(simulation.data, "head", bottle) for bottle in bottles] == [0] * SLOTS


def test_the_head_sees_the_bottle_before_the_hand_reaches_it(simulation: Simulation, cameras: CameraRenderer) -> None:
    for seed in (0, 1, 2):
        simulation.reset(seed)
        expert = make_expert(simulation, seed)
        while simulation.status().stage == "start":
            assert simulation.time_s < 10.0, f"seed {seed}: the hand does not reach the bottle"
            step(simulation, expert.act())
        assert cameras.visible_pixels(simulation.data, "head", "bottle") > 100


def test_the_expert_succeeds_in_time_on_at_least_9_of_10_seeds_and_in_every_slot() -> None:
    trials = [expert_trial("restocking", seed, _cell(seed)) for seed in EXPERT_SEEDS]
    times_s = [trial.time_s for trial in trials if trial.verdict.success]
    assert len(times_s) >= 9, [trial for trial in trials if not trial.verdict.success]
    assert max(times_s) < 25.0


def test_a_success_passed_through_the_stages_in_their_order() -> None:
    for seed in (0, 3, 6):
        verdict, _, stages = expert_trial("restocking", seed, _cell(seed))
        assert verdict == TaskStatus(success=True, stage="placed", points=2)
        assert list(stages) == [stage for stage in Restocking.stages if stage in stages]
        assert {"reached", "found", "over_slot"} <= set(stages)


def test_a_bottle_counts_as_placed_once_nothing_but_the_shelf_touches_it(simulation: Simulation) -> None:
    simulation.reset(1)
    expert = make_expert(simulation, 1)
    stages = [simulation.status().stage]
    while stages[-1] != "placed":
        step(simulation, expert.act())
        stages.append(simulation.status().stage)
    placed_s = simulation.time_s
    assert stages[-2] == "over_slot"
    assert _touching(simulation, "bottle") == {"shelf"}
    while not simulation.status().success:
        step(simulation, expert.act())
    assert 0.5 <= simulation.time_s - placed_s < 0.75


def test_standing_still_fails_when_the_time_is_up(simulation: Simulation) -> None:
    simulation.reset(0)
    simulation.advance_to(simulation.task.time_limit_s + 0.1)
    assert simulation.status() == TaskStatus(success=False, stage="start", failure="not done within 28 s")


@pytest.mark.parametrize(
    "off_m",
    [(0.0, 0.0, 0.05), (0.0, SLOT_SPACING_M / 2, 0.0), (0.12, 0.0, 0.0)],
    ids=["in the air", "between two slots", "behind the slot"],
)
def test_a_bottle_off_the_slot_is_not_placed(simulation: Simulation, off_m: tuple[float, float, float]) -> None:
    simulation.reset(0)
    _put(simulation, "bottle", _task(simulation).empty_position() + STANDING + off_m)
    assert simulation.status().stage == "start"


def test_a_bottle_that_lies_in_the_slot_is_not_placed(simulation: Simulation) -> None:
    simulation.reset(0)
    lying = np.array([0.0, 0.0, BOTTLE_RADIUS_M])
    _put(simulation, "bottle", _task(simulation).empty_position() + lying, tilt_rad=np.pi / 2)
    simulation.advance_to(1.0)
    assert simulation.status() == TaskStatus(success=False, stage="start", failure="the bottle was toppled")


def test_a_bottle_on_the_floor_fails_the_trial(simulation: Simulation) -> None:
    simulation.reset(0)
    _put(simulation, "bottle", np.array([0.6, 0.3, TABLE_HEIGHT_M]))
    simulation.advance_to(1.0)
    assert simulation.status() == TaskStatus(success=False, stage="start", failure="the bottle fell")


def test_another_bottle_toppled_fails_the_trial(simulation: Simulation) -> None:
    simulation.reset(0)
    _put(simulation, "neighbour_4", simulation.data.body("neighbour_4").xpos.copy(), tilt_rad=np.deg2rad(80))
    assert simulation.status() == TaskStatus(success=False, stage="start", failure="another bottle was toppled")


def test_a_bottle_dropped_back_on_the_table_is_picked_again(simulation: Simulation) -> None:
    simulation.reset(4)
    expert = make_expert(simulation, 4)
    dropped = 0
    while not (verdict := simulation.status()).success:
        assert not verdict.failure
        command = expert.act()
        if simulation.data.body("bottle").xpos[2] > TABLE_HEIGHT_M + BOTTLE_HEIGHT_M / 2 + 0.01 and dropped < 5:
            command[simulation.robot.slot_index["right_gripper"]] = 0.0
            dropped += 1
        step(simulation, command)
    assert dropped == 5


def test_who_takes_over_before_the_slot_goes_in_at_once(simulation: Simulation) -> None:
    simulation.reset(2)
    first = make_expert(simulation, 2)
    while _to_slot_m(simulation) > 0.10:
        step(simulation, first.act())
    began_s = simulation.time_s
    second = make_expert(simulation, 3)
    second.act()
    second.take_over()
    while not simulation.status().success:
        assert not simulation.status().failure
        step(simulation, second.act())
        assert _to_slot_m(simulation) < 0.15
    assert simulation.time_s - began_s < 4.0


def test_who_takes_over_between_other_bottles_comes_straight_out_and_finds_the_slot(simulation: Simulation) -> None:
    simulation.reset(2)
    first = make_expert(simulation, 2)
    while _to_slot_m(simulation) > 0.10:
        step(simulation, first.act())
    # The gap is another one now: somebody has brought the bottle to the wrong place.
    task = _task(simulation)
    brought_to, task.empty_slot = task.empty_slot, (task.empty_slot + 3) % SLOTS
    second = make_expert(simulation, 2)
    second.take_over()
    aside_m = []
    while _bottle_m(simulation)[0] > SHELF_FRONT_X_M - 0.03:
        step(simulation, second.act())
        aside_m.append(abs(_bottle_m(simulation)[1] - slot_position(brought_to)[1]))
    assert max(aside_m) < 0.05


def test_the_verdict_forgets_the_trial_before(simulation: Simulation) -> None:
    simulation.reset(0)
    expert = make_expert(simulation, 0)
    while simulation.status().stage == "start":
        step(simulation, expert.act())
    simulation.reset(0)
    assert simulation.status() == TaskStatus(success=False, stage="start")


def _task(simulation: Simulation) -> Restocking:
    assert isinstance(simulation.task, Restocking)
    return simulation.task


def _bottle_m(simulation: Simulation) -> np.ndarray:
    return simulation.data.body("bottle").xpos.copy()


def _to_slot_m(simulation: Simulation) -> float:
    """How far the bottle is from where it shall stand."""
    off = _bottle_m(simulation) - _task(simulation).empty_position() - STANDING
    return float(np.linalg.norm(off))


def _slots_m() -> np.ndarray:
    return np.array([slot_position(slot) for slot in range(SLOTS)])


def _put(simulation: Simulation, body: str, position: np.ndarray, tilt_rad: float = 0.0) -> None:
    address = simulation.model.joint(body).qposadr[0]
    pose = [*position, np.cos(tilt_rad / 2), np.sin(tilt_rad / 2), 0.0, 0.0]
    simulation.data.qpos[address : address + 7] = pose
    mujoco.mj_forward(simulation.model, simulation.data)


def _touching(simulation: Simulation, body: str) -> set[str]:
    return {simulation.model.body(other).name for other in touching(simulation.model, simulation.data, body)}


def _cell(seed: int) -> int:
    """Successive seeds go through the slots."""
    return seed % SLOTS * 9 + seed % 9
