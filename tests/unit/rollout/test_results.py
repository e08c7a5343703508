"""The file that keeps trials."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from activemimic_rollout.trials.results import (
    Protocol,
    Results,
    ResultsError,
    Trial,
    load_trials,
    read_results,
    save_trials,
)
from activemimic_rollout.trials.trial_plan import PlannedTrial, TrialPlan

PROTOCOL = Protocol("lockstep", "reaching", "out/checkpoint", "reaching", time_limit_s=18.0)
PLAN = TrialPlan("reaching", "reaching", tuple(PlannedTrial(number, 1_000_000 + number, 2) for number in range(4)))
TRIALS = [
    Trial(
        number=number,
        seed=1_000_000 + number,
        cell=2,
        success=number % 2 == 0,
        points=number % 2,
        stage="grasped",
        failure="",
        time_s=9.5 + number,
        stage_times_s={"start": 0.0, "grasped": 4.5},
        first_seen_s=2.1,
        diagnostics={"controller": {"late": "0"}},
    )
    for number in range(3)
]


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "not there yet" / "results.json"
    save_trials(path, PROTOCOL, TRIALS)
    assert load_trials(path, PROTOCOL, PLAN) == TRIALS
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]


def test_without_a_file_there_are_no_trials(tmp_path: Path) -> None:
    assert load_trials(tmp_path / "results.json", PROTOCOL, PLAN) == []


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"mode": "ros"}, "trials of mode 'lockstep', asked for mode 'ros'"),
        ({"policy": "out/another"}, "policy 'out/checkpoint', asked for policy 'out/another'"),
        ({"weights": "0123"}, "weights '', asked for weights '0123'"),
        ({"time_limit_s": 15.0}, "time_limit_s 18.0, asked for time_limit_s 15.0"),
        ({"perturbations": ["without_head"]}, r"perturbations \[\], asked for perturbations \['without_head'\]"),
    ],
)
def test_trials_of_another_protocol_are_refused(tmp_path: Path, other: dict, told: str) -> None:
    path = tmp_path / "results.json"
    save_trials(path, PROTOCOL, TRIALS)
    with pytest.raises(ResultsError, match=rf"results\.json: holds .*{told}; choose another folder"):
        load_trials(path, replace(PROTOCOL, **other), PLAN)


def test_trials_of_another_plan_of_the_same_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    save_trials(path, PROTOCOL, TRIALS)
    changed = replace(PLAN, trials=(*PLAN.trials[:2], PlannedTrial(2, 1_000_002, 5)))
    with pytest.raises(ResultsError, match=r"trial 2 was run with seed 1000002, cell 2, the plan reaching has"):
        load_trials(path, PROTOCOL, changed)


def test_results_are_read_with_their_protocol(tmp_path: Path) -> None:
    save_trials(tmp_path / "results.json", PROTOCOL, TRIALS)
    assert read_results(tmp_path / "results.json") == Results(PROTOCOL, TRIALS)
    with pytest.raises(ResultsError, match=r"missing\.json: there is no such results file"):
        read_results(tmp_path / "missing.json")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[1, 2]",
        lambda text: text.replace('"seed"', '"sead"'),
        lambda text: '{"trials": []}',
    ],
    ids=["cut", "empty", "a list", "unknown key", "no protocol"],
)
def test_a_damaged_file_is_refused_in_words(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "results.json"
    save_trials(path, PROTOCOL, TRIALS)
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    with pytest.raises(ResultsError, match=r"results\.json: not a results file .*move it away"):
        load_trials(path, PROTOCOL, PLAN)
