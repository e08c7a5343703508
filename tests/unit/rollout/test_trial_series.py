"""A series of trials against nodes that are imagined: order of calls, outcomes, resuming, faults."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from activemimic_rollout.trials.results import Protocol, ResultsError
from activemimic_rollout.trials.trial_plan import PlannedTrial, TrialPlan
from activemimic_rollout.trials.trial_series import TaskStatus, TrialError, TrialSeries

POLICY = Protocol("ros", "reaching", "out/checkpoint", "seeds", time_limit_s=5.0)
SIM_EXPERT = Protocol("ros", "reaching", "expert", "seeds", time_limit_s=5.0)


class FakeNodes:
    """Time passes only while the series sleeps; seed s succeeds s seconds after its reset."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.refusals: dict[str, str] = {}
        self.silent = False
        self.failing_seeds: set[int] = set()
        self.controller: dict[str, str] = {}
        self.controller_silent_s = 0.0
        self._now_s = 100.0
        self._reset_s = 0.0
        self._seed = -1

    def set_parameters(self, node: str, values: Mapping[str, Any]) -> None:
        self.calls.append(f"{node} {dict(values)}")
        if node == "/sim":
            self._seed = values["seed"]

    def trigger(self, service: str) -> str:
        self._call(service)
        if service == "/sim/reset":
            self._reset_s = self._now_s
        return "/episodes/reaching_000000"

    def set_bool(self, service: str, data: bool) -> str:
        self._call(f"{service} {data}")
        return ""

    def operate(self, word: str) -> None:
        self._call(f"/controller/{word}")

    def set_active(self, node: str, active: bool) -> None:
        self._call(f"{node} {'activate' if active else 'deactivate'}")

    def task_status(self) -> TaskStatus | None:
        if self.silent:
            return None
        time_s = self._now_s - self._reset_s
        failure = "the cube is on the floor" if self._seed in self.failing_seeds and time_s > 1 else ""
        success = time_s >= self._seed and not failure
        stage = "grasped" if time_s > 1.5 else "start"
        values = {"instruction": "pick", "stage": stage, "points": "1" if success else "0"}
        return TaskStatus(self._now_s, "reaching", self._seed, time_s, success, failure, values)

    def diagnostics(self) -> dict[str, dict[str, str]]:
        return {"controller": {"rate_hz": "30.0", **self.controller}}

    def silent_s(self, node: str) -> float:
        return self.controller_silent_s

    def now_s(self) -> float:
        return self._now_s

    def sleep(self, seconds: float) -> None:
        self._now_s += seconds

    def _call(self, text: str) -> None:
        self.calls.append(text)
        if text in self.refusals:
            raise TrialError(f"{text}: {self.refusals[text]}")


def series(
    nodes: FakeNodes, tmp_path: Path, seeds: tuple[int, ...], protocol: Protocol = POLICY, record: bool = False
) -> TrialSeries:
    plan = TrialPlan("seeds", "reaching", tuple(PlannedTrial(seed, seed) for seed in seeds))
    return TrialSeries(nodes, protocol, plan, record, tmp_path / "results.json", lambda line: None)


def test_a_trial_is_a_success_when_the_task_says_so_in_time(tmp_path: Path) -> None:
    trials = series(FakeNodes(), tmp_path, (2, 4, 9))
    trials.run()
    assert [(trial.seed, trial.success, trial.points) for trial in trials.trials] == [
        (2, True, 1),
        (4, True, 1),
        (9, False, 0),
    ]
    assert [trial.time_s for trial in trials.trials] == pytest.approx([2.0, 4.0, 5.0], abs=0.1)
    assert [trial.failure for trial in trials.trials] == ["", "", "not done within 5 s"]
    assert trials.trials[0].diagnostics == {"controller": {"rate_hz": "30.0"}}


def test_a_controller_that_holds_ends_the_trial_and_is_named(tmp_path: Path) -> None:
    nodes = FakeNodes()
    nodes.controller = {"mode": "holding", "reason": "the policy has been silent"}
    nodes.controller_silent_s = 0.5  # told before the first half second is over: of what was before
    trials = series(nodes, tmp_path, (9,))
    trials.run()
    assert trials.trials[0].failure == "the controller holds: the policy has been silent"
    assert trials.trials[0].time_s == pytest.approx(0.5, abs=0.1)


def test_a_controller_that_left_the_robot_to_another_one_ends_the_trial(tmp_path: Path) -> None:
    nodes = FakeNodes()
    nodes.controller = {"mode": "idle", "reason": "commands nothing, since another one does"}
    nodes.controller_silent_s = 0.5
    trials = series(nodes, tmp_path, (9,))
    trials.run()
    assert "since another one does" in trials.trials[0].failure
    assert trials.trials[0].time_s == pytest.approx(1.0, abs=0.1)


def test_stages_are_noted_when_they_are_reached_first(tmp_path: Path) -> None:
    trials = series(FakeNodes(), tmp_path, (4,))
    trials.run()
    assert trials.trials[0].stage == "grasped"
    assert trials.trials[0].stage_times_s == pytest.approx({"start": 0.0, "grasped": 1.5}, abs=0.1)


def test_a_failure_ends_a_trial_before_its_time(tmp_path: Path) -> None:
    nodes = FakeNodes()
    nodes.failing_seeds = {3}
    trials = series(nodes, tmp_path, (3,))
    trials.run()
    assert trials.trials[0].success is False
    assert trials.trials[0].time_s == pytest.approx(1.0, abs=0.1)


def test_nodes_are_called_in_an_order_that_never_moves_the_robot_by_surprise(tmp_path: Path) -> None:
    nodes = FakeNodes()
    series(nodes, tmp_path, (1,), SIM_EXPERT, record=True).run()
    assert nodes.calls == [
        "/sim/expert False",
        "/controller/hold",
        "/controller/reset",
        "/sim {'task': 'reaching', 'seed': 1, 'cell': -1, 'perturbations': ''}",
        "/sim/reset",
        "/recorder {'task': 'reaching', 'seed': 1, 'instruction': 'pick'}",
        "/recorder/start",
        "/controller/arm",
        "/controller/run",
        "/sim/expert True",
        "/recorder/stop True",
        "/sim/expert False",
        "/controller/hold",
        "/controller/reset",
    ]


def test_the_policy_is_told_the_tasks_instruction(tmp_path: Path) -> None:
    nodes = FakeNodes()
    series(nodes, tmp_path, (1,)).run()
    told, enabled = (nodes.calls.index(call) for call in ("/policy {'instruction': 'pick'}", "/policy activate"))
    assert told < enabled


def test_other_words_are_told_in_place_of_the_tasks_own(tmp_path: Path) -> None:
    nodes = FakeNodes()
    series(nodes, tmp_path, (1,), replace(POLICY, instruction="place")).run()
    assert "/policy {'instruction': 'place'}" in nodes.calls


def test_an_interrupted_series_goes_on_where_it_was(tmp_path: Path) -> None:
    first = FakeNodes()
    first.refusals["/controller/arm"] = "no joint state has arrived"
    series(FakeNodes(), tmp_path, (1, 2)).run()
    with pytest.raises(TrialError):
        series(first, tmp_path, (1, 2, 3)).run()
    assert not any("'seed': 1" in call for call in first.calls)
    last = series(FakeNodes(), tmp_path, (1, 2, 3))
    last.run()
    assert [trial.seed for trial in last.trials] == [1, 2, 3]
    assert [trial["seed"] for trial in json.loads((tmp_path / "results.json").read_text())["trials"]] == [1, 2, 3]


def test_a_braking_robot_is_waited_for_and_one_that_never_rests_ends_the_series(tmp_path: Path) -> None:
    nodes = FakeNodes()
    nodes.refusals["/controller/reset"] = "the robot is still braking"
    with pytest.raises(TrialError, match="still braking"):
        series(nodes, tmp_path, (1,)).run()
    assert nodes.calls.count("/controller/reset") > 10
    assert "/sim/reset" not in nodes.calls


def test_the_robot_holds_when_something_goes_wrong(tmp_path: Path) -> None:
    nodes = FakeNodes()
    nodes.refusals["/policy activate"] = "no answer within 15 s"
    with pytest.raises(TrialError, match="/policy activate: no answer within 15 s"):
        series(nodes, tmp_path, (1,)).run()
    assert nodes.calls[-1] == "/controller/hold"


def test_a_simulator_that_reports_nothing_is_named(tmp_path: Path) -> None:
    nodes = FakeNodes()
    nodes.silent = True
    with pytest.raises(TrialError, match="/sim/task did not report task reaching, seed 1"):
        series(nodes, tmp_path, (1,)).run()


def test_a_planned_trial_is_placed_in_its_cell_with_the_variations(tmp_path: Path) -> None:
    nodes = FakeNodes()
    plan = TrialPlan("reaching", "reaching", (PlannedTrial(0, 1, cell=7),))
    varied = replace(POLICY, plan="reaching", perturbations=["distractors", "random_look"])
    TrialSeries(nodes, varied, plan, False, tmp_path / "results.json", lambda line: None).run()
    placed = {"task": "reaching", "seed": 1, "cell": 7, "perturbations": "distractors,random_look"}
    assert f"/sim {placed}" in nodes.calls


def test_results_of_another_protocol_are_not_mixed_in(tmp_path: Path) -> None:
    series(FakeNodes(), tmp_path, (1,)).run()
    with pytest.raises(ResultsError, match="time_limit_s"):
        series(FakeNodes(), tmp_path, (1,), replace(POLICY, time_limit_s=9.0))


def test_a_file_that_is_no_results_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("[1, 2")
    with pytest.raises(ResultsError, match="not a results file"):
        series(FakeNodes(), tmp_path, (1,))
