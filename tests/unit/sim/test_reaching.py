"""Reaching: what a policy has to do, cannot be had otherwise, and the expert can."""

from __future__ import annotations

import mujoco
import numpy as np
from activemimic_sim.experts import make_expert
from activemimic_sim.experts.expert import STEP_S
from activemimic_sim.tasks import TaskStatus
from activemimic_sim.tasks.contacts import holds
from activemimic_sim.tasks.reaching import CUBE_SIDE_M, LIFTED_M, TABLE_HEIGHT_M
from activemimic_sim.world.rendering import CameraRenderer
from activemimic_sim.world.simulation import Simulation
from trials import expert_trial, step

EXPERT_SEEDS = range(20)


def test_the_cube_is_hidden_from_the_head_at_the_start(simulation: Simulation, cameras: CameraRenderer) -> None:
    cube = "cube"
    seen = {}
    for seed in range(30):
        simulation.reset(seed)
        seen[seed] = cameras.visible_pixels(simulation.data, "head", cube)
    assert seen == dict.fromkeys(range(30), 0)


def test_the_head_sees_the_cube_once_the_expert_has_risen(simulation: Simulation, cameras: CameraRenderer) -> None:
    cube = "cube"
    for seed in (0, 1, 2):
        simulation.reset(seed)
        expert = make_expert(simulation, seed)
        lift = simulation.robot.slot_index["waist_lift"]
        while simulation.measured()[lift] < 0.40:
            assert simulation.time_s < 15.0, f"seed {seed}: the expert does not rise"
            step(simulation, expert.act())
        assert cameras.visible_pixels(simulation.data, "head", cube) > 100


def test_the_expert_succeeds_in_time_on_at_least_19_of_20_seeds() -> None:
    trials = [expert_trial("reaching", seed) for seed in EXPERT_SEEDS]
    times_s = [trial.time_s for trial in trials if trial.verdict.success]
    assert len(times_s) >= 19, [trial for trial in trials if not trial.verdict.success]
    assert max(times_s) < 18.0
    assert not any("toppled" in trial.verdict.failure for trial in trials)


def test_a_success_passed_through_every_stage() -> None:
    verdict, _, _ = expert_trial("reaching", 0)
    assert verdict == TaskStatus(success=True, stage="lifted", points=1)


def test_standing_still_fails_when_the_time_is_up(simulation: Simulation) -> None:
    simulation.reset(0)
    verdicts = []
    while simulation.time_s <= simulation.task.time_limit_s:
        simulation.advance_to(simulation.time_s + STEP_S)
        verdicts.append(simulation.status())
    assert not any(verdict.success for verdict in verdicts)
    assert [verdict.failure for verdict in verdicts[:-1]] == [""] * (len(verdicts) - 1)
    assert verdicts[-1] == TaskStatus(success=False, stage="start", failure="not done within 22 s")


def test_a_cube_in_the_air_that_no_finger_holds_does_not_count(simulation: Simulation) -> None:
    simulation.reset(0)
    address = simulation.model.joint("cube").qposadr[0]
    for _ in range(40):
        simulation.data.qpos[address + 2] = TABLE_HEIGHT_M + 0.5
        simulation.data.qvel[:] = 0.0
        simulation.step(10)
        verdict = simulation.status()
        assert simulation.data.body("cube").xpos[2] > TABLE_HEIGHT_M + CUBE_SIDE_M / 2 + LIFTED_M
        assert not verdict.success
        assert verdict.stage == "start"


def test_a_grasp_is_both_fingers_on_the_cube(simulation: Simulation) -> None:
    """A cube put against one finger is touched, not held."""
    simulation.reset(0)
    for finger in ("outer", "inner"):
        pad = simulation.data.body(f"gripper_r_{finger}_link")
        address = simulation.model.joint("cube").qposadr[0]
        between = simulation.data.body("gripper_r_center_link").xpos
        outwards = (pad.xipos - between) / np.linalg.norm(pad.xipos - between)
        simulation.data.qpos[address : address + 3] = pad.xipos + 0.02 * outwards
        mujoco.mj_forward(simulation.model, simulation.data)
        assert _touched(simulation) >= {f"gripper_r_{finger}_link"}
        assert not holds(simulation.model, simulation.data, "gripper_r", "cube")


def test_a_lift_must_last_half_a_second(simulation: Simulation) -> None:
    """The expert's own trial, watched around the moment at which the cube is first held high enough."""
    simulation.reset(0)
    expert = make_expert(simulation, 0)
    verdict = simulation.status()
    while verdict.stage != "lifted":
        step(simulation, expert.act())
        verdict = simulation.status()
    lifted_s = simulation.time_s
    while not verdict.success:
        step(simulation, expert.act())
        verdict = simulation.status()
    assert 0.5 <= simulation.time_s - lifted_s < 0.75


def test_a_toppled_obstacle_fails_the_trial(simulation: Simulation) -> None:
    simulation.reset(0)
    address = simulation.model.joint("obstacle").qposadr[0]
    tilt = np.deg2rad(80)
    simulation.data.qpos[address + 3 : address + 7] = [np.cos(tilt / 2), 0.0, np.sin(tilt / 2), 0.0]
    mujoco.mj_forward(simulation.model, simulation.data)
    assert simulation.status() == TaskStatus(success=False, stage="start", failure="the obstacle was toppled")


def test_the_verdict_forgets_the_trial_before(simulation: Simulation) -> None:
    simulation.reset(0)
    expert = make_expert(simulation, 0)
    while simulation.status().stage != "grasped":
        step(simulation, expert.act())
    simulation.reset(0)
    assert simulation.status() == TaskStatus(success=False, stage="start")


def _touched(simulation: Simulation) -> set[str]:
    """Names of the bodies in contact with the cube."""
    model = simulation.model
    cube = model.body("cube").id
    pairs = [{int(model.geom_bodyid[geom]) for geom in contact.geom} for contact in simulation.data.contact]
    return {model.body(body).name for pair in pairs if cube in pair for body in pair - {cube}}
