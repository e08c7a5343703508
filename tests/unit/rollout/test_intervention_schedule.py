"""Who moves the robot when, where a policy and the expert take turns."""

from __future__ import annotations

import numpy as np
import pytest
from activemimic_rollout.agents.intervention_schedule import InterventionSchedule

LIMIT_S = 20.0


def drawn(seed: int) -> InterventionSchedule:
    return InterventionSchedule.drawn(np.random.default_rng(seed), LIMIT_S)


def of_policy(turns: InterventionSchedule) -> np.ndarray:
    """Whose each tenth of a second is."""
    return np.array([turns.of_policy(step / 10) for step in range(round(LIMIT_S * 10))])


@pytest.mark.parametrize("seed", range(20))
def test_the_policy_begins_and_the_expert_ends(seed: int) -> None:
    turns = drawn(seed)
    whose = of_policy(turns)
    assert whose[: round(turns.first_s * 10)].all()
    assert not whose[-round(0.2 * LIMIT_S * 10) :].any()


@pytest.mark.parametrize("seed", range(20))
def test_after_a_ruin_the_expert_takes_over_before_it_and_what_came_earlier_stays(seed: int) -> None:
    turns = drawn(seed)
    before = of_policy(turns)
    ruined_s = 8.0
    last = int(np.flatnonzero(before[: round(ruined_s * 10)])[-1])
    assert turns.shorten(ruined_s)
    after = of_policy(turns)
    assert not after[last - 3 :].any()
    first_changed = int(np.flatnonzero(before != after)[0])
    assert last - 15 <= first_changed <= last + 1
    assert not after[first_changed:].any()


def test_it_is_not_tried_for_ever() -> None:
    turns = drawn(0)
    tries = 0
    while turns.shorten(LIMIT_S):
        tries += 1
    assert 0 < tries < 5


def test_a_ruin_that_no_turn_led_to_is_no_ground_for_another_try() -> None:
    turns = drawn(0)
    turns.leave_to_expert()
    assert turns.first_s == 0.0
    assert not turns.shorten(5.0)
