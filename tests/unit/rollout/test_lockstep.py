"""Trials in lock-step: the same for a seed for ever, and gone on with after a death."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from activemimic_data.dataset.video import read_frames
from activemimic_description.chunk import Chunk
from activemimic_description.robot import load_robot
from activemimic_rollout.agents.agents import HoldStill
from activemimic_rollout.lockstep import START_NS, LockstepRobot
from activemimic_rollout.reports.trace import read_trace
from activemimic_rollout.synchronous import trials_in_simulation as lockstep
from activemimic_rollout.synchronous.trials_in_simulation import LockstepPlan, evaluate
from activemimic_rollout.trials.results import ResultsError, Trial
from activemimic_rollout.trials.trial_plan import published_plan, seed_series
from activemimic_sim.tasks import make_task
from activemimic_sim.world.simulation import Simulation
from generated import Generated

PLAN = LockstepPlan(published_plan("reaching").first(2), "expert", video=False)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Trial]]:
    out = tmp_path_factory.mktemp("first")
    return out, evaluate(PLAN, out, workers=1)


@pytest.fixture
def robot() -> LockstepRobot:
    return LockstepRobot(Simulation(load_robot("g1"), make_task("reaching")), rate_hz=30)


def test_the_expert_succeeds_through_the_controller(first_run: tuple[Path, list[Trial]]) -> None:
    _, trials = first_run
    assert [(trial.number, trial.seed, trial.cell) for trial in trials] == [
        (planned.number, planned.seed, planned.cell) for planned in PLAN.trials.trials
    ]
    assert all((trial.success, trial.stage, trial.failure, trial.points) == (True, "lifted", "", 1) for trial in trials)
    for trial in trials:
        times = list(trial.stage_times_s.values())
        assert list(trial.stage_times_s) == ["start", "reached", "grasped", "lifted"]
        assert times[0] == 0.0
        assert times == sorted(times)
        assert times[-1] < trial.time_s


def test_the_trace_tells_what_the_head_did_and_when_the_target_was_seen(
    first_run: tuple[Path, list[Trial]],
) -> None:
    out, trials = first_run
    for trial in trials:
        trace = read_trace(out / f"{trial.media}.csv")
        np.testing.assert_allclose(np.diff(trace.time_s), 0.1, atol=0.003)
        assert trace.time_s[-1] == pytest.approx(trial.time_s, abs=0.2)
        assert trace.target_px[0] == 0, "the obstacle hides the cube at the start"
        assert trace.first_seen_s == trial.first_seen_s
        assert trial.first_seen_s is not None
        assert trial.head_travel_rad == pytest.approx(trace.head_travel_rad, abs=1e-3)
        assert trial.head_travel_rad > 0.1
        assert 0.5 < trial.first_seen_s < trial.stage_times_s["reached"]
        assert np.ptp(trace.slots["waist_lift"]) > 0.2
        assert trace.stage[-1] == "lifted"


def test_the_trace_tells_where_the_hand_closed(first_run: tuple[Path, list[Trial]]) -> None:
    out, trials = first_run
    for trial in trials:
        (grips,) = read_trace(out / f"{trial.media}.csv").grips.values()
        assert grips[0].distance_m > 0.1
        closing = next(grip for grip in grips if grip.closed > 0.1)
        assert closing.hand == "right"
        assert closing.distance_m < 0.03
        assert grips[-1].distance_m < 0.03, "what is held stays between the fingers"
        assert grips[-1].closed > 0.2


def test_a_killed_evaluation_goes_on_to_the_same_file(first_run: tuple[Path, list[Trial]], tmp_path: Path) -> None:
    out, trials = first_run
    data = json.loads((out / "results.json").read_text())
    del data["trials"][-1]
    (tmp_path / "results.json").write_text(json.dumps(data))
    ran = []
    again = evaluate(PLAN, tmp_path, workers=1, progress=lambda trial: ran.append(trial.number))
    assert ran == [1]
    assert again == trials
    assert (tmp_path / "results.json").read_bytes() == (out / "results.json").read_bytes()


def test_a_finished_evaluation_is_not_repeated(first_run: tuple[Path, list[Trial]]) -> None:
    out, trials = first_run

    def progress(trial: Trial) -> None:
        raise AssertionError(f"trial {trial.number} was run again")

    assert evaluate(PLAN, out, workers=1, progress=progress) == trials
    fewer = replace(PLAN, trials=PLAN.trials.first(1))
    assert evaluate(fewer, out, workers=1, progress=progress) == trials[:1]


def test_another_protocol_does_not_write_into_the_file(first_run: tuple[Path, list[Trial]]) -> None:
    out, _ = first_run
    before = (out / "results.json").read_bytes()
    with pytest.raises(ResultsError, match="choose another folder"):
        evaluate(replace(PLAN, time_limit_s=5.0), out, workers=1)
    assert (out / "results.json").read_bytes() == before


def test_a_shorter_time_limit_ends_the_trial(tmp_path: Path) -> None:
    plan = replace(PLAN, trials=PLAN.trials.first(1), time_limit_s=1.0)
    (trial,) = evaluate(plan, tmp_path, workers=1)
    assert not trial.success
    assert trial.failure == "not done within 1 s"
    assert trial.time_s == pytest.approx(1.0 + 1 / 30, abs=0.04)


def test_a_policy_that_falls_silent_ends_the_trial_with_the_controllers_words(tmp_path: Path, monkeypatch) -> None:
    class SpeaksOnce(HoldStill):
        def chunk_due(self) -> Chunk | None:
            return self.chunk() if self.robot.index == 0 else None

    monkeypatch.setattr(lockstep, "make_agent", lambda name, robot, *_: SpeaksOnce(robot))
    (trial,) = evaluate(replace(PLAN, trials=PLAN.trials.first(1)), tmp_path, workers=1)
    assert not trial.success
    assert trial.failure.startswith("the controller holds: the policy has been silent")
    assert trial.time_s < 1.0


@pytest.mark.parametrize("policy", ["hold", "random"])
def test_nobody_succeeds_without_looking(policy: str, tmp_path: Path) -> None:
    (trial,) = evaluate(replace(PLAN, trials=PLAN.trials.first(1), policy=policy), tmp_path, workers=1)
    assert (trial.success, trial.points) == (False, 0)


def test_a_replay_repeats_the_episode_where_it_was_recorded(steady: Generated, tmp_path: Path) -> None:
    """The recorded commands, in the recorded scene, do the task again; in another one they do not have to."""
    (made,) = steady.made
    plan = replace(PLAN, trials=seed_series("reaching", made.seed, 1), policy=f"replay:{made.folder}")
    (trial,) = evaluate(plan, tmp_path, workers=1)
    assert trial.success
    assert trial.time_s == pytest.approx(made.time_s, abs=0.5)


def test_a_video_shows_the_three_cameras(tmp_path: Path) -> None:
    plan = replace(PLAN, trials=PLAN.trials.first(1), policy="hold", time_limit_s=1.0, video=True)
    evaluate(plan, tmp_path, workers=1)
    frames = list(read_frames(tmp_path / "trials" / "000.mp4", 0.0, 10))
    assert {frame.shape for frame in frames} == {(224, 672, 3)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": "nowhere"}, "policy 'nowhere': expected a checkpoint's folder"),
        ({"policy": "replay:nowhere"}, "expected a recorded episode's folder"),
        ({"perturbations": ("fog",)}, "there is no perturbation 'fog'"),
        ({"perturbations": ("unseen_yogurt_a",)}, "expected a task with a yogurt, found reaching"),
    ],
)
def test_what_cannot_be_tried_is_said_before_anything_runs(change: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(replace(PLAN, **change), tmp_path, workers=1)
    assert not list(tmp_path.iterdir())


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
