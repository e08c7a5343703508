"""Finding: the yogurt cannot be seen at first, has to be looked for, and the expert finds and lifts it."""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np
import pytest
from activemimic_description.robot import load_robot
from activemimic_sim.experts import make_expert
from activemimic_sim.experts.expert import STEP_S, Expert
from activemimic_sim.tasks import TaskStatus, make_task
from activemimic_sim.tasks.contacts import holds, view_angles_rad
from activemimic_sim.tasks.finding import (
    LIFTED_M,
    REGION_CENTER_XY_M,
    REGION_SIZE_M,
    TABLE_HEIGHT_M,
    YOGURT_HEIGHT_M,
    YOGURT_RADIUS_M,
)
from activemimic_sim.world.rendering import CameraRenderer
from activemimic_sim.world.simulation import Simulation
from trials import expert_trial, simulation_of, step

EXPERT_SEEDS = range(10)
CAMERAS = ("head", "left_wrist", "right_wrist")


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulation_of("finding")


@pytest.fixture(scope="module")
def cameras(simulation: Simulation) -> Iterator[CameraRenderer]:
    with simulation.cameras(dict.fromkeys(CAMERAS, (224, 224))) as cameras:
        yield cameras


@pytest.mark.parametrize(("camera", "seeds"), [("head", 40), ("left_wrist", 18), ("right_wrist", 18)])
def test_no_camera_sees_the_yogurt_at_the_start(
    simulation: Simulation, cameras: CameraRenderer, camera: str, seeds: int
) -> None:
    seen = {}
    for seed in range(seeds):
        simulation.reset(seed, cell=seed % simulation.task.cells)
        seen[seed] = cameras.visible_pixels(simulation.data, camera, "yogurt")
    assert seen == dict.fromkeys(range(seeds), 0)


def test_the_head_sees_the_yogurt_once_the_expert_has_found_it(simulation: Simulation, cameras: CameraRenderer) -> None:
    for seed in (0, 1, 2):
        expert = _until_found(simulation, seed)
        assert cameras.visible_pixels(simulation.data, "head", "yogurt") > 100
        outwards = simulation.data.body("yogurt").xpos[1]
        assert expert.arms == (("left",) if outwards > 0.0 else ("right",))


def test_the_yogurt_stands_in_one_of_two_regions_of_15_by_25_cm(simulation: Simulation) -> None:
    assert REGION_SIZE_M == (0.15, 0.25)
    assert (YOGURT_HEIGHT_M, YOGURT_RADIUS_M) == (0.16, 0.025)
    for cell in range(18):
        x, y, z = simulation.task.sample(5, simulation.robot, cell).objects["yogurt"][:3]
        assert (y > 0.0) == (cell < 9)
        assert np.all(np.abs([x, abs(y)] - np.array(REGION_CENTER_XY_M)) <= np.array(REGION_SIZE_M) / 2)
        assert z == TABLE_HEIGHT_M + YOGURT_HEIGHT_M / 2


def test_while_it_looks_the_head_turns_and_the_hands_are_drawn_back_clear_of_every_yogurt(
    simulation: Simulation,
) -> None:
    index = simulation.robot.slot_index
    still = [index[name] for name in ("waist_lift", "waist_pitch", "left_gripper", "right_gripper")]
    nearest_m = REGION_CENTER_XY_M[0] - REGION_SIZE_M[0] / 2
    for cell in (0, 9):  # of the left and of the right, the nearest ones
        simulation.reset(0, cell=cell)
        expert = make_expert(simulation, 0)
        before = simulation.measured()
        while len(expert.arms) == 2:
            command = expert.act()
            if len(expert.arms) == 2:
                np.testing.assert_array_equal(command[still], before[still])
            step(simulation, command)
        for gripper in ("gripper_l", "gripper_r"):
            assert simulation.data.body(f"{gripper}_center_link").xpos[0] < nearest_m - 0.08


def test_the_expert_cannot_tell_the_side_before_it_has_looked(simulation: Simulation) -> None:
    """On either side it does the same until the yogurt of one of them is in view."""
    for seed in range(4):
        left, right = (_commands_until_in_view(simulation, seed, cell) for cell in (4, 13))
        common = min(len(left), len(right))
        assert common > 3
        np.testing.assert_allclose(left[:common], right[:common], atol=1e-9)


def test_who_takes_over_tells_by_a_lowered_gaze_that_the_left_has_been_looked_at(simulation: Simulation) -> None:
    yaw, pitch = (simulation.robot.slot_index[name] for name in ("head_yaw", "head_pitch"))
    simulation.reset(1, cell=13)  # on the right
    first = make_expert(simulation, 1)
    for lowered in (False, True):
        while not (simulation.measured()[yaw] < 0.6 and (simulation.measured()[pitch] > 0.45) == lowered):
            step(simulation, first.act())
        second = make_expert(simulation, 1)
        second.act()
        second.take_over()
        turned = second.act()[yaw] - simulation.measured()[yaw]
        assert (turned < 0.0) == lowered


@pytest.mark.parametrize("side", ["left", "right"])
def test_with_a_yogurt_on_each_side_the_words_say_which_is_meant_and_the_expert_goes_there(side: str) -> None:
    simulation = Simulation(load_robot("g1"), make_task("finding"), ["named_side"])
    simulation.reset(1, cell=4 if side == "left" else 13)
    assert simulation.instruction == f"find the yogurt on the {side}, grasp it and lift it"
    named, other = (simulation.data.body(name).xpos.copy() for name in ("yogurt", "other_yogurt"))
    np.testing.assert_allclose(named, other * (1, -1, 1))
    expert = make_expert(simulation, 1)
    while not (simulation.status().success or simulation.status().failure):
        step(simulation, expert.act())
    assert simulation.status().success
    assert expert.arms == (side,)
    np.testing.assert_allclose(simulation.data.body("other_yogurt").xpos, other, atol=1e-3)


def test_to_lift_the_one_that_is_not_meant_fails_the_trial() -> None:
    simulation = Simulation(load_robot("g1"), make_task("finding"), ["named_side"])
    simulation.reset(1, cell=4)
    simulation.data.qpos[simulation.model.joint("other_yogurt").qposadr[0] + 2] += LIFTED_M + 0.01
    mujoco.mj_forward(simulation.model, simulation.data)
    assert simulation.status().failure == "the other yogurt was lifted"


def test_the_left_is_looked_at_first(simulation: Simulation) -> None:
    yaw = simulation.robot.slot_index["head_yaw"]
    for seed in range(4):
        commands = _commands_until_in_view(simulation, seed, 4)
        assert commands[3][yaw] > commands[0][yaw]


def test_the_expert_succeeds_in_time_on_at_least_9_of_10_seeds() -> None:
    trials = [expert_trial("finding", seed) for seed in EXPERT_SEEDS]
    times_s = [trial.time_s for trial in trials if trial.verdict.success]
    assert len(times_s) >= 9, [trial for trial in trials if not trial.verdict.success]
    assert max(times_s) < 25.0


def test_a_success_passed_through_every_stage() -> None:
    verdict, _, _ = expert_trial("finding", 0)
    assert verdict == TaskStatus(success=True, stage="lifted", points=1)


def test_standing_still_fails_when_the_time_is_up(simulation: Simulation) -> None:
    simulation.reset(0)
    while simulation.time_s <= simulation.task.time_limit_s:
        assert simulation.status() == TaskStatus(success=False, stage="start")
        simulation.advance_to(simulation.time_s + STEP_S)
    assert simulation.status() == TaskStatus(success=False, stage="start", failure="not done within 25 s")


def test_looking_alone_is_worth_no_point(simulation: Simulation) -> None:
    _until_found(simulation, 0)
    assert simulation.status() == TaskStatus(success=False, stage="seen")


def test_a_yogurt_in_the_air_that_no_finger_holds_does_not_count(simulation: Simulation) -> None:
    simulation.reset(0)
    address = simulation.model.joint("yogurt").qposadr[0]
    for _ in range(40):
        simulation.data.qpos[address + 2] = TABLE_HEIGHT_M + YOGURT_HEIGHT_M + LIFTED_M
        simulation.data.qvel[:] = 0.0
        simulation.step(10)
        verdict = simulation.status()
        assert not verdict.success
        assert verdict.stage in ("start", "seen")


def test_the_hand_of_the_other_side_does_not_count(simulation: Simulation) -> None:
    """Put between the closed fingers of the hand that is far from its region, the yogurt is held, but not found."""
    simulation.reset(0, cell=4)
    slots = simulation.robot.slot_index
    address = simulation.model.joint("yogurt").qposadr[0]
    command = simulation.measured()
    command[slots["right_gripper"]] = 1.0
    simulation.command(command)
    for _ in range(100):
        if not holds(simulation.model, simulation.data, "gripper_r", "yogurt"):
            simulation.data.qpos[address : address + 3] = simulation.data.body("gripper_r_center_link").xpos
            simulation.data.qvel[simulation.model.joint("yogurt").dofadr[0] :][:6] = 0.0
        simulation.step(5)
        assert simulation.status().stage in ("start", "seen")
    assert holds(simulation.model, simulation.data, "gripper_r", "yogurt")


@pytest.mark.parametrize(
    ("tilt_deg", "fallen_m", "failure"),
    [(80.0, 0.0, "the yogurt fell over"), (40.0, 0.0, ""), (0.0, 0.6, "the yogurt fell off the table")],
)
def test_a_yogurt_that_lies_somewhere_fails_the_trial(
    simulation: Simulation, tilt_deg: float, fallen_m: float, failure: str
) -> None:
    simulation.reset(0)
    address = simulation.model.joint("yogurt").qposadr[0]
    half = np.deg2rad(tilt_deg) / 2
    simulation.data.qpos[address + 2] -= fallen_m
    simulation.data.qpos[address + 3 : address + 7] = [np.cos(half), 0.0, np.sin(half), 0.0]
    mujoco.mj_forward(simulation.model, simulation.data)
    assert simulation.status().failure == failure


def test_the_expert_grasps_again_what_it_has_lost(simulation: Simulation) -> None:
    """The yogurt is taken out of the hand while it is lifted, and put back on the table."""
    simulation.reset(1)
    expert = make_expert(simulation, 1)
    while simulation.status().stage != "grasped":
        step(simulation, expert.act())
    address = simulation.model.joint("yogurt").qposadr[0]
    pose = simulation.task.sample(1, simulation.robot).objects["yogurt"]
    hand = simulation.data.qpos[address : address + 2].copy()
    simulation.data.qpos[address : address + 7] = pose
    simulation.data.qpos[address : address + 2] = hand[0], hand[1] - np.sign(hand[1]) * 0.15
    simulation.data.qvel[:] = 0.0
    simulation.step(1)
    verdict = simulation.status()
    while not (verdict.success or verdict.failure):
        step(simulation, expert.act())
        verdict = simulation.status()
    assert verdict.success


def _until_found(simulation: Simulation, seed: int) -> Expert:
    simulation.reset(seed)
    expert = make_expert(simulation, seed)
    while len(expert.arms) == 2:
        assert simulation.time_s < 10.0, f"seed {seed}: the expert does not find the yogurt"
        step(simulation, expert.act())
    return expert


def _commands_until_in_view(simulation: Simulation, seed: int, cell: int) -> list[np.ndarray]:
    simulation.reset(seed, cell)
    expert = make_expert(simulation, seed)
    commands = []
    half_view_rad = np.deg2rad(simulation.model.camera("head").fovy[0]) / 2
    while np.max(np.abs(view_angles_rad(simulation.data, "head", simulation.data.body("yogurt").xpos))) > half_view_rad:
        commands.append(expert.act().copy())
        step(simulation, commands[-1])
    return commands
