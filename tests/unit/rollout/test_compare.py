"""Paired comparison: equal policies are not different, and only the same scenes can be paired."""

from __future__ import annotations

from dataclasses import replace

import pytest
from activemimic_rollout.trials.compare import ComparisonError, compare
from activemimic_rollout.trials.results import Protocol, Results, Trial
from activemimic_rollout.trials.statistics import mcnemar_exact
from hypothesis import given
from hypothesis import strategies as st

PROTOCOL = Protocol("lockstep", "reaching", "a", "reaching", time_limit_s=22.0)


def results(outcomes: str, policy: str = "a") -> Results:
    """One trial a letter: + success, - none."""
    trials = [
        Trial(number, 1_000_000 + number, 0, mark == "+", int(mark == "+"), "start", "", 1.0, {})
        for number, mark in enumerate(outcomes)
    ]
    return Results(replace(PROTOCOL, policy=policy), trials)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    # Published values of the exact binomial test at 1/2, two-sided.
    [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (0, 6, 0.03125), (1, 9, 0.021484375), (10, 2, 0.03857421875)],
)
def test_mcnemars_test_is_exact(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar_exact(only_first, only_second) == pytest.approx(p, abs=1e-12)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemars_test_treats_both_alike_and_gives_a_probability(one: int, other: int) -> None:
    assert mcnemar_exact(one, other) == mcnemar_exact(other, one)
    assert 0.0 < mcnemar_exact(one, other) <= 1.0


def test_a_policy_is_not_different_from_itself() -> None:
    outcome = compare(results("+-+-++"), results("+-+-++", "b"))
    assert (outcome.both, outcome.neither, outcome.only_first, outcome.only_second) == (4, 2, 0, 0)
    assert outcome.p == 1.0
    assert not outcome.different


def test_what_one_policy_does_alone_decides() -> None:
    outcome = compare(results("++++++++--"), results("++------+-", "b"))
    assert (outcome.both, outcome.neither, outcome.only_first, outcome.only_second) == (2, 1, 6, 1)
    assert outcome.p == pytest.approx(0.125)
    assert (outcome.points_first, outcome.points_second) == (8, 3)
    assert compare(results("+" * 8), results("-" * 8, "b")).different


def test_policies_and_variations_may_differ() -> None:
    varied = results("+-", "b")
    assert compare(results("++"), replace(varied, protocol=replace(varied.protocol, perturbations=["without_head"])))


@pytest.mark.parametrize("field", ["task", "plan", "mode", "contract"])
def test_trials_run_otherwise_cannot_be_paired(field: str) -> None:
    other = results("++")
    with pytest.raises(ComparisonError, match=f"{field}: the first has"):
        compare(results("++"), replace(other, protocol=replace(other.protocol, **{field: "ros"})))


def test_missing_trials_are_named() -> None:
    with pytest.raises(ComparisonError, match="the first has 3, the second 2; not in both: 2"):
        compare(results("+++"), results("++"))
