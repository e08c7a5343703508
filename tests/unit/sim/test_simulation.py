"""The simulated robot: exact time, obedient servos, and a seed that fixes everything."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from activemimic_description.robot import load_robot
from activemimic_sim.experts import EXPERTS, make_expert
from activemimic_sim.tasks import TASKS, make_task
from activemimic_sim.world.rendering import CameraRenderer, RenderingError
from activemimic_sim.world.simulation import Simulation

TICKS = 120


def test_advance_to_stops_at_the_asked_time_however_it_is_reached(simulation: Simulation) -> None:
    simulation.reset(0)
    for tick in range(1, 301):
        simulation.advance_to(tick / 30)
        assert abs(simulation.time_s - tick / 30) <= simulation.model.opt.timestep / 2
    assert simulation.time_s == pytest.approx(10.0, abs=1e-12)
    assert simulation.data.time == pytest.approx(10.0, abs=1e-9)


def test_advance_to_the_past_changes_nothing(simulation: Simulation) -> None:
    simulation.reset(0)
    simulation.advance_to(0.5)
    before = simulation.data.qpos.copy()
    simulation.advance_to(0.2)
    assert simulation.time_s == pytest.approx(0.5)
    np.testing.assert_array_equal(simulation.data.qpos, before)


def test_a_seed_gives_the_same_motion_and_images_to_the_bit(simulation: Simulation, cameras: CameraRenderer) -> None:
    simulation.reset(3)
    first = _run(simulation, cameras)
    simulation.reset(8)
    _run(simulation, cameras)  # whatever was before must not matter
    simulation.reset(3)
    again = _run(simulation, cameras)
    fresh = Simulation(load_robot("g1"), make_task("reaching"))
    fresh.reset(3)
    with fresh.cameras({name: (224, 224) for name in ("head", "left_wrist", "right_wrist")}) as renderer:
        anew = _run(fresh, renderer)
    for other in (again, anew):
        np.testing.assert_array_equal(other[0], first[0])
        for name, image in first[1].items():
            np.testing.assert_array_equal(other[1][name], image, err_msg=name)


def test_another_seed_places_the_cube_elsewhere_in_the_region(simulation: Simulation) -> None:
    xy = []
    for seed in range(50):
        simulation.reset(seed)
        xy.append(simulation.data.body("cube").xpos[:2].copy())
    assert len(np.unique(xy, axis=0)) == 50
    low, high = np.min(xy, axis=0), np.max(xy, axis=0)
    np.testing.assert_array_less([0.58, -0.30], low)
    np.testing.assert_array_less(high, [0.78, -0.10])
    assert (high - low > 0.15).all()


def test_the_robot_starts_where_it_is_commanded_to_stay(simulation: Simulation) -> None:
    simulation.reset(4)
    start = simulation.measured()
    simulation.advance_to(1.0)
    np.testing.assert_allclose(simulation.measured(), start, atol=2e-3)


def test_commands_beyond_a_limit_drive_the_joint_to_the_limit_and_no_further(simulation: Simulation) -> None:
    robot = simulation.robot
    for beyond, limit in ((robot.upper + 1.0, robot.upper), (robot.lower - 1.0, robot.lower)):
        simulation.reset(0)
        # Head and grippers alone: the whole robot at its limits would collide with itself.
        slots = [robot.slot_index[name] for name in ("head_yaw", "head_pitch", "left_gripper")]
        simulation.command_slots(np.array(slots), beyond[slots])
        simulation.advance_to(3.0)
        np.testing.assert_allclose(simulation.measured()[slots], limit[slots], atol=0.02)


def test_every_servo_has_its_slots_limits_as_control_range(simulation: Simulation) -> None:
    for slot in simulation.robot.slots:
        actuator = simulation.model.actuator(slot.name)
        assert simulation.model.actuator_ctrllimited[actuator.id]
        ends = [slot.joint_at_0 + (slot.joint_at_1 - slot.joint_at_0) * value for value in (slot.lower, slot.upper)]
        np.testing.assert_allclose(sorted(ends), actuator.ctrlrange, atol=1e-9, err_msg=slot.name)


def test_command_slots_leaves_the_other_slots_alone(simulation: Simulation) -> None:
    simulation.reset(0)
    before = simulation.data.ctrl.copy()
    simulation.command_slots(np.array([3]), np.array([0.3]))
    changed = np.flatnonzero(simulation.data.ctrl != before)
    assert [simulation.model.actuator(int(index)).name for index in changed] == ["waist_lift"]


def test_without_opengl_the_error_says_what_to_install(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_context(*_: object) -> None:
        raise RuntimeError("eglInitialize failed")

    monkeypatch.setattr(mujoco, "Renderer", no_context)
    with pytest.raises(RenderingError, match=r"eglInitialize failed.*apt-get install libegl1.*MUJOCO_GL=osmesa"):
        simulation.cameras({"head": (224, 224)})


def test_every_task_has_an_expert_and_an_unknown_one_is_named() -> None:
    assert EXPERTS.keys() == TASKS.keys()
    with pytest.raises(
        ValueError, match="there is no task 'juggling': expected one of restocking, reaching, finding, pouring"
    ):
        make_task("juggling")


def _run(simulation: Simulation, cameras: CameraRenderer) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The states (N, nq) of four seconds of the expert, and the images at their end."""
    expert = make_expert(simulation, simulation.seed)
    states = []
    for tick in range(TICKS):
        if tick % 3 == 0:
            simulation.command(expert.act())
        simulation.advance_to((tick + 1) / 30)
        states.append(simulation.data.qpos.copy())
    return np.array(states), {name: image.copy() for name, image in cameras.render(simulation.data).items()}
