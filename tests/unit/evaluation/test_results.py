"""The file that keeps trials."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from activemimic_bringup.evaluation.results import Plan, ResultsError, Trial, load_trials, save_trials

PLAN = Plan(mode="policy", task="reaching", time_limit_s=18.0, record=True, checkpoint="out/checkpoint")
TRIALS = [
    Trial(
        seed=seed,
        success=seed % 2 == 0,
        time_s=9.5 + seed,
        wall_s=3.0,
        status={"stage": "grasped", "failure": ""},
        diagnostics={"controller": {"late": "0"}},
        episode=f"episodes/reaching_{seed}",
    )
    for seed in range(3)
]


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "not there yet" / "results.json"
    save_trials(path, PLAN, TRIALS)
    assert load_trials(path, PLAN) == TRIALS
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]


def test_without_a_file_there_are_no_trials(tmp_path: Path) -> None:
    assert load_trials(tmp_path / "results.json", PLAN) == []


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAN, mode="expert"),
        replace(PLAN, checkpoint="out/another"),
        replace(PLAN, time_limit_s=15.0),
        replace(PLAN, without_cameras=["head"]),
    ],
)
def test_trials_of_another_plan_are_refused(tmp_path: Path, other: Plan) -> None:
    path = tmp_path / "results.json"
    save_trials(path, PLAN, TRIALS)
    with pytest.raises(ResultsError, match=r"results\.json: holds trials of the plan .* choose another folder"):
        load_trials(path, other)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[1, 2]",
        lambda text: text.replace('"seed"', '"sead"'),
        lambda text: '{"trials": []}',
    ],
    ids=["cut", "empty", "a list", "unknown key", "no plan"],
)
def test_a_damaged_file_is_refused_in_words(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "results.json"
    save_trials(path, PLAN, TRIALS)
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    with pytest.raises(ResultsError, match=r"results\.json: not a results file .*move it away"):
        load_trials(path, PLAN)
