"""How sure a success rate is, and whether two of them differ."""

from __future__ import annotations

from math import comb, sqrt
from statistics import NormalDist


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a success probability (Wilson 1927); (0, 1) without trials."""
    if not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials, found {successes} of {trials}")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = successes / trials
    center = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    return max(0.0, center - half), min(1.0, center + half)


def success_text(successes: int, trials: int) -> str:
    """Such as "4 of 5 (80 %, 95 % interval 38 to 96 %)"."""
    low, high = wilson_interval(successes, trials)
    rate = successes / trials if trials else 0.0
    return f"{successes} of {trials} ({rate:.0%}, 95 % interval {low:.0%} to {high:.0%})".replace("%", " %").replace(
        "  %", " %"
    )


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p-value that two policies, tried on the same scenes, succeed equally often (McNemar 1947, exact).

    Only the scenes in which one alone succeeded tell: `only_first` and `only_second` of them. Under equality each falls
    to either with probability 1/2.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"expected counts, found {only_first} and {only_second}")
    disagreeing = only_first + only_second
    tail = sum(comb(disagreeing, k) for k in range(min(only_first, only_second) + 1)) / 2**disagreeing
    return min(1.0, 2 * tail)
