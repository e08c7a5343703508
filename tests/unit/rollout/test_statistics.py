"""How sure a success rate is."""

from __future__ import annotations

import pytest
from activemimic_rollout.trials.statistics import success_text, wilson_interval
from hypothesis import given
from hypothesis import strategies as st

counts = st.integers(1, 500).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (9, 10, 0.5958, 0.9821),
        (0, 5, 0.0, 0.4345),
        (5, 5, 0.5655, 1.0),
        (50, 100, 0.4038, 0.5962),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_the_interval_has_the_published_values(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-4)


def test_without_trials_everything_is_possible() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (0, -1)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match=f"found {successes} of {trials}"):
        wilson_interval(successes, trials)


@given(counts)
def test_the_interval_holds_the_rate_and_lies_between_0_and_1(count: tuple[int, int]) -> None:
    low, high = wilson_interval(*count)
    assert 0.0 <= low <= count[0] / count[1] + 1e-12
    assert count[0] / count[1] - 1e-12 <= high <= 1.0


@given(counts)
def test_counting_failures_instead_mirrors_the_interval(count: tuple[int, int]) -> None:
    successes, trials = count
    low, high = wilson_interval(successes, trials)
    assert wilson_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@given(counts, st.floats(0.5, 0.98))
def test_more_confidence_and_fewer_trials_are_wider(count: tuple[int, int], confidence: float) -> None:
    def width(successes: int, trials: int, confidence: float) -> float:
        low, high = wilson_interval(successes, trials, confidence)
        return high - low

    successes, trials = count
    assert width(successes, trials, confidence + 0.01) > width(successes, trials, confidence)
    assert width(10 * successes, 10 * trials, confidence) < width(successes, trials, confidence)


@pytest.mark.parametrize(
    ("successes", "trials", "text"),
    [
        (4, 5, "4 of 5 (80 %, 95 % interval 38 % to 96 %)"),
        (0, 5, "0 of 5 (0 %, 95 % interval 0 % to 43 %)"),
        (0, 0, "0 of 0 (0 %, 95 % interval 0 % to 100 %)"),
    ],
)
def test_the_text_says_count_rate_and_interval(successes: int, trials: int, text: str) -> None:
    assert success_text(successes, trials) == text
