"""Pouring: what a policy has to do, cannot be had otherwise, and the expert can."""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np
import pytest
from activemimic_sim.experts import make_expert
from activemimic_sim.experts.expert import STEP_S
from activemimic_sim.tasks import TaskStatus
from activemimic_sim.tasks.pouring import (
    BALLS,
    CUP_HEIGHT_M,
    CUP_RADIUS_M,
    ENOUGH,
    REGION_CENTERS_XY_M,
    REGION_SIDE_M,
    TABLE_HEIGHT_M,
    balls_in,
)
from activemimic_sim.world.rendering import CameraRenderer
from activemimic_sim.world.simulation import Simulation
from trials import expert_trial, simulation_of, step

EXPERT_SEEDS = range(10)
CUPS = ("source", "receiver")


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulation_of("pouring")


@pytest.fixture(scope="module")
def cameras(simulation: Simulation) -> Iterator[CameraRenderer]:
    with simulation.cameras({"head": (224, 224)}) as cameras:
        yield cameras


def test_the_cups_stand_apart_in_regions_of_20_by_20_cm_before_either_arm(simulation: Simulation) -> None:
    places = {cup: [] for cup in CUPS}
    for cell in range(simulation.task.cells):
        for seed in range(12):
            layout = simulation.task.sample(seed, simulation.robot, cell)
            for cup in CUPS:
                places[cup].append(layout.objects[cup][:2] - REGION_CENTERS_XY_M[cup])
    for cup in CUPS:
        most = np.abs(places[cup]).max(axis=0)
        assert (most <= REGION_SIDE_M / 2).all()
        assert (most > 0.9 * REGION_SIDE_M / 2).all()
    assert (REGION_SIDE_M, CUP_HEIGHT_M, 2 * CUP_RADIUS_M) == (0.20, 0.09, 0.07)
    assert REGION_CENTERS_XY_M["source"][1] + REGION_SIDE_M / 2 < REGION_CENTERS_XY_M["receiver"][1] - REGION_SIDE_M / 2


def test_every_ball_rests_in_the_source_until_the_robot_moves(simulation: Simulation) -> None:
    for seed in range(3):
        simulation.reset(seed)
        assert balls_in(simulation.data, "source") == BALLS
        simulation.advance_to(1.0)
        assert balls_in(simulation.data, "source") == BALLS
        assert simulation.status() == TaskStatus(success=False, stage="start")


def test_the_head_sees_the_cups_only_once_the_expert_has_looked(
    simulation: Simulation, cameras: CameraRenderer
) -> None:
    for seed in range(2):
        simulation.reset(seed)
        assert [cameras.visible_pixels(simulation.data, "head", cup) for cup in CUPS] == [0, 0]
        expert = make_expert(simulation, seed)
        most = dict.fromkeys(CUPS, 0)
        for _ in range(6):
            for _ in range(4):
                step(simulation, expert.act())
            for cup in CUPS:
                most[cup] = max(most[cup], cameras.visible_pixels(simulation.data, "head", cup))
        assert min(most.values()) > 150


def test_the_expert_succeeds_in_time_on_at_least_9_of_10_seeds() -> None:
    trials = [expert_trial("pouring", seed) for seed in EXPERT_SEEDS]
    times_s = [trial.time_s for trial in trials if trial.verdict.success]
    assert len(times_s) >= 9, [trial for trial in trials if not trial.verdict.success]
    assert max(times_s) < 15.0


def test_a_success_passed_through_every_stage_in_order() -> None:
    verdict, _, stages = expert_trial("pouring", 0)
    assert verdict == TaskStatus(success=True, stage="placed", points=2)
    assert stages == simulation_of("pouring").task.stages


def test_the_hands_bring_both_cups_together_and_the_source_is_tilted_by_the_wrist(simulation: Simulation) -> None:
    simulation.reset(1)
    expert = make_expert(simulation, 1)
    while simulation.status().stage != "poured":
        step(simulation, expert.act())
    source, receiver = (simulation.data.body(cup) for cup in CUPS)
    assert source.xmat[8] < np.cos(np.deg2rad(60.0))
    assert receiver.xmat[8] > np.cos(np.deg2rad(10.0))
    assert abs(receiver.xpos[1]) < 0.12
    assert all(simulation.task.stages_met(simulation.model, simulation.data)[:3])


def test_standing_still_fails_when_the_time_is_up(simulation: Simulation) -> None:
    simulation.reset(0)
    verdicts = []
    while simulation.time_s <= simulation.task.time_limit_s:
        simulation.advance_to(simulation.time_s + STEP_S)
        verdicts.append(simulation.status())
    assert not any(verdict.success for verdict in verdicts)
    assert [verdict.failure for verdict in verdicts[:-1]] == [""] * (len(verdicts) - 1)
    assert verdicts[-1] == TaskStatus(success=False, stage="start", failure="not done within 30 s")


@pytest.mark.parametrize(("moved", "stage"), [(ENOUGH - 1, "start"), (ENOUGH, "placed")])
def test_four_of_five_balls_are_enough(simulation: Simulation, moved: int, stage: str) -> None:
    simulation.reset(0)
    simulation.advance_to(0.2)
    _put_balls(simulation, moved, simulation.data.body("receiver").xpos - simulation.data.body("source").xpos)
    assert balls_in(simulation.data, "receiver") == moved
    assert simulation.status().stage == stage


def test_a_filled_cup_in_the_air_or_aslant_is_not_put_back(simulation: Simulation) -> None:
    for height_m, tilt_rad in ((0.10, 0.0), (0.0, np.deg2rad(12.0))):
        simulation.reset(0)
        simulation.advance_to(0.2)
        _put_balls(simulation, BALLS, simulation.data.body("receiver").xpos - simulation.data.body("source").xpos)
        address = simulation.model.joint("source").qposadr[0]
        simulation.data.qpos[address + 2] += height_m
        simulation.data.qpos[address + 3 : address + 7] = [np.cos(tilt_rad / 2), np.sin(tilt_rad / 2), 0.0, 0.0]
        mujoco.mj_forward(simulation.model, simulation.data)
        assert simulation.status().stage == "poured"


def test_a_cup_that_a_finger_still_touches_is_not_put_back(simulation: Simulation) -> None:
    simulation.reset(0)
    expert = make_expert(simulation, 0)
    while simulation.status().stage != "poured":
        step(simulation, expert.act())
    while any(simulation.data.body(cup).xpos[2] > TABLE_HEIGHT_M + 0.001 for cup in CUPS):
        command = expert.act().copy()
        command[simulation.robot.slot_index["right_gripper"]] = 1.0  # it is not let go, though it should be
        step(simulation, command)
    fingers = {simulation.model.body(f"gripper_r_{finger}_link").id for finger in ("outer", "inner")}
    pairs = [{int(simulation.model.geom_bodyid[geom]) for geom in contact.geom} for contact in simulation.data.contact]
    assert any(fingers & pair and simulation.model.body("source").id in pair for pair in pairs)
    assert simulation.status().stage == "poured"


def test_lost_balls_and_a_toppled_cup_fail_the_trial(simulation: Simulation) -> None:
    simulation.reset(0)
    beside = np.array([0.0, 0.15, 0.0])
    _put_balls(simulation, BALLS - ENOUGH, beside)
    assert simulation.status().failure == ""
    _put_balls(simulation, BALLS - ENOUGH + 1, beside)
    assert simulation.status() == TaskStatus(success=False, stage="start", failure="too many balls were lost")
    simulation.reset(0)
    address = simulation.model.joint("receiver").qposadr[0]
    simulation.data.qpos[address + 2] += CUP_RADIUS_M
    simulation.data.qpos[address + 3 : address + 7] = [np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0]
    mujoco.mj_forward(simulation.model, simulation.data)
    assert simulation.status() == TaskStatus(success=False, stage="start", failure="the receiver cup was toppled")


def test_the_verdict_forgets_the_trial_before(simulation: Simulation) -> None:
    simulation.reset(0)
    expert = make_expert(simulation, 0)
    while simulation.status().stage != "grasped":
        step(simulation, expert.act())
    simulation.reset(0)
    assert simulation.status() == TaskStatus(success=False, stage="start")


def _put_balls(simulation: Simulation, count: int, by_m: np.ndarray) -> None:
    """Move the first balls by an offset (3,) from where they start."""
    layout = simulation.task.sample(simulation.seed, simulation.robot)
    for number in range(count):
        address = simulation.model.joint(f"ball_{number}").qposadr[0]
        simulation.data.qpos[address : address + 3] = layout.objects[f"ball_{number}"][:3] + by_m
    mujoco.mj_forward(simulation.model, simulation.data)
