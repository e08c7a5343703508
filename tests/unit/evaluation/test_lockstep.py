"""Trials in lock-step: the same for a seed for ever, and gone on with after a death."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from activemimic_bringup.evaluation.lockstep import LockstepPlan, evaluate
from activemimic_bringup.evaluation.results import ResultsError, Trial
from activemimic_bringup.lockstep import START_NS, LockstepRobot
from activemimic_description.robot import load_robot
from activemimic_policy.execution.chunk import Chunk
from activemimic_sim.simulation import Simulation
from activemimic_sim.tasks import make_task

PLAN = LockstepPlan("reaching")
SEEDS = [0, 1]


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Trial]]:
    path = tmp_path_factory.mktemp("first") / "results.json"
    return path, evaluate(PLAN, SEEDS, path, workers=1)


@pytest.fixture
def robot() -> LockstepRobot:
    return LockstepRobot(Simulation(load_robot("g1"), make_task("reaching")), rate_hz=30)


def test_the_expert_succeeds_through_the_controller(first_run: tuple[Path, list[Trial]]) -> None:
    _, trials = first_run
    assert [trial.seed for trial in trials] == SEEDS
    assert all(trial.success and trial.status == {"stage": "lifted", "failure": ""} for trial in trials)


def test_a_killed_evaluation_goes_on_to_the_same_result(first_run: tuple[Path, list[Trial]], tmp_path: Path) -> None:
    path, trials = first_run
    data = json.loads(path.read_text())
    del data["trials"][-1]
    interrupted = tmp_path / "results.json"
    interrupted.write_text(json.dumps(data))
    ran = []
    again = evaluate(PLAN, SEEDS, interrupted, workers=1, progress=lambda trial: ran.append(trial.seed))
    assert ran == SEEDS[-1:]
    assert [_without_wall_time(trial) for trial in again] == [_without_wall_time(trial) for trial in trials]
    assert len(json.loads(interrupted.read_text())["trials"]) == len(SEEDS)


def test_a_finished_evaluation_is_not_repeated(first_run: tuple[Path, list[Trial]]) -> None:
    path, trials = first_run

    def progress(trial: Trial) -> None:
        raise AssertionError(f"seed {trial.seed} was run again")

    assert evaluate(PLAN, SEEDS, path, workers=1, progress=progress) == trials
    assert evaluate(PLAN, SEEDS[:1], path, workers=1, progress=progress) == trials[:1]


def test_another_plan_does_not_write_into_the_file(first_run: tuple[Path, list[Trial]]) -> None:
    path, _ = first_run
    before = path.read_bytes()
    with pytest.raises(ResultsError, match="choose another folder"):
        evaluate(replace(PLAN, time_limit_s=5.0), SEEDS, path, workers=1)
    assert path.read_bytes() == before


def test_a_shorter_time_limit_ends_the_trial(tmp_path: Path) -> None:
    (trial,) = evaluate(replace(PLAN, time_limit_s=1.0), [0], tmp_path / "results.json", workers=1)
    assert not trial.success
    assert trial.time_s == pytest.approx(1.0 + 1 / 30, abs=0.04)


def test_ticks_are_stamped_on_an_exact_grid(robot: LockstepRobot) -> None:
    robot.reset(0)
    ticks = [robot.tick() for _ in range(31)]
    assert [tick.index for tick in ticks] == list(range(31))
    assert [tick.stamp_ns for tick in ticks] == [START_NS + index * 10**9 // 30 for index in range(31)]
    assert robot.simulation.time_s == pytest.approx(31 / 30, abs=1e-3)


def test_without_a_chunk_the_robot_holds_its_posture(robot: LockstepRobot) -> None:
    robot.reset(2)
    start = robot.simulation.measured()
    for _ in range(30):
        tick = robot.tick()
    np.testing.assert_allclose(tick.measured, start, atol=2e-3)


def test_a_chunk_reaches_the_robot_only_within_its_limits(robot: LockstepRobot) -> None:
    """What a policy asks for is the controller's to give: never beyond a limit, never faster than a joint may."""
    robot.reset(0)
    sim = robot.simulation
    wild = np.tile(sim.robot.upper + 5.0, (10, 1))
    robot.play(Chunk(robot.stamp_ns, 10**8, wild), "policy")
    commands = []
    for _ in range(30):
        command = robot.tick().command.positions
        if command is not None:
            commands.append(command)
    commands = np.array(commands)
    assert len(commands) == 30
    assert (commands <= sim.robot.upper + 1e-9).all()
    fastest = np.abs(np.diff(commands, axis=0)).max(axis=0) * 30
    assert (fastest <= sim.robot.velocity + 1e-6).all()


def test_a_reset_forgets_the_chunk_before(robot: LockstepRobot) -> None:
    robot.reset(0)
    target = robot.simulation.measured()
    target[robot.simulation.robot.slot_index["waist_lift"]] += 0.2
    robot.play(Chunk(robot.stamp_ns, 10**8, np.tile(target, (20, 1))), "policy")
    robot.tick()
    robot.reset(0)
    start = robot.simulation.measured()
    for _ in range(15):
        robot.tick()
    np.testing.assert_allclose(robot.simulation.measured(), start, atol=2e-3)


def _without_wall_time(trial: Trial) -> Trial:
    return replace(trial, wall_s=0.0)
