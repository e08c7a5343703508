"""Trial plans: as many as the paper's, spread over every cell, and never shown to a policy that learns."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from activemimic_description.robot import load_robot
from activemimic_rollout.synchronous.demonstrations import DemonstrationPlan, HeldOutSeedError, generate
from activemimic_rollout.trials.trial_plan import FIRST_HELD_OUT_SEED, PlanError, load_plan, published_plan, seed_series
from activemimic_sim.tasks import TASKS, make_task

TRIALS = {"restocking": 81, "reaching": 18, "finding": 36, "pouring": 45}


@pytest.mark.parametrize("task", TASKS)
def test_a_published_plan_has_the_papers_number_of_trials_and_visits_every_cell_equally_often(task: str) -> None:
    plan = published_plan(task)
    visits = Counter(trial.cell for trial in plan.trials)
    assert len(plan.trials) == TRIALS[task]
    assert set(visits) == set(range(make_task(task).cells))
    assert len(set(visits.values())) == 1
    assert len({trial.seed for trial in plan.trials}) == TRIALS[task]
    assert [trial.number for trial in plan.trials] == list(range(TRIALS[task]))


@pytest.mark.parametrize("task", TASKS)
def test_every_trial_of_a_plan_can_be_placed(task: str) -> None:
    robot = load_robot("g1")
    for trial in published_plan(task).trials:
        make_task(task).sample(trial.seed, robot, trial.cell)


def test_no_demonstration_starts_from_a_planned_scene(tmp_path: Path) -> None:
    assert min(trial.seed for task in TASKS for trial in published_plan(task).trials) >= FIRST_HELD_OUT_SEED
    with pytest.raises(HeldOutSeedError, match="those from there on are for evaluation"):
        generate(DemonstrationPlan("reaching"), tmp_path, [0, FIRST_HELD_OUT_SEED])
    assert not list(tmp_path.iterdir())


def test_the_first_trials_of_a_plan_are_the_same_scenes() -> None:
    plan = published_plan("reaching")
    assert plan.first(5).trials == plan.trials[:5]
    assert plan.first(None) == plan
    with pytest.raises(PlanError, match="expected at most 18 trials, asked for 19"):
        plan.first(19)


def test_series_of_seeds_add_up() -> None:
    both = {*seed_series("reaching", 0, 3).trials, *seed_series("reaching", 3, 2).trials}
    assert both == set(seed_series("reaching", 0, 5).trials)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "expected the fields task and trials, found list"),
        ("task: reaching\n", r"expected the fields task and trials, found \['task'\]"),
        ("task: pouring\ntrials: [{cell: 0, seed: 1000000}]", "task: expected reaching, found 'pouring'"),
        ("task: reaching\ntrials: []", r"trials: expected a list of trials, found \[\]"),
        ("task: reaching\ntrials: [{cell: 0}]", r"trials\[0\]: expected cell and seed, found \{'cell': 0\}"),
        ("task: reaching\ntrials: [{cell: 0, seed: 5}]", r"trials\[0\]\.seed: expected a whole number from 1000000 on"),
        ("task: reaching\ntrials: [{cell: a, seed: 1000000}]", r"trials\[0\]\.cell: expected a whole number from 0 on"),
        ("task: [", "expected a trial plan, found"),
    ],
)
def test_a_wrong_plan_file_is_answered_with_file_and_field(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(PlanError, match=rf"plan\.yaml: {message}"):
        load_plan(path, "reaching")
