"""When a policy that still learns moves the robot, and when the expert goes on from where it has got to."""

from __future__ import annotations

import numpy as np

_FIRST_SHARE = 0.6  # of a trial's time, at most, until the expert takes over for the first time
_POLICY_S, _EXPERT_S = (0.5, 4.0), (1.5, 4.0)  # how long each goes on, from its first taking over
_TOO_LATE_S = (0.4, 1.5)  # how long before the scene's ruin the expert should have taken over
_ATTEMPTS = 4


class InterventionSchedule:
    """The policy's turns in one episode; the first begins with the scene. The expert has the rest."""

    def __init__(self, policy_s: list[tuple[float, float]], rng: np.random.Generator) -> None:
        """Args: policy_s: each turn's (from, to), in order, since the scene's start."""
        self._policy_s, self._rng = policy_s, rng
        self._attempts = _ATTEMPTS

    @classmethod
    def drawn(cls, rng: np.random.Generator, time_limit_s: float) -> InterventionSchedule:
        """The intervention schedule for an episode of a task that is to be done within a time."""
        most_s = _FIRST_SHARE * time_limit_s
        end_s = rng.uniform(0.0, most_s)
        policy_s = [(0.0, end_s)]
        while (start_s := end_s + rng.uniform(*_EXPERT_S)) < most_s:
            end_s = start_s + rng.uniform(*_POLICY_S)
            policy_s.append((start_s, end_s))
        return cls(policy_s, rng)

    @property
    def first_s(self) -> float:
        """How long the policy's first turn is."""
        return self._policy_s[0][1] if self._policy_s else 0.0

    def of_policy(self, time_s: float) -> bool:
        """Whether it is the policy's turn."""
        return any(start <= time_s + 1e-6 < end for start, end in self._policy_s)

    def leave_to_expert(self) -> None:
        """The whole episode is the expert's."""
        self._policy_s = []

    def shorten(self, ruined_s: float) -> bool:
        """Let the expert take over earlier than in the turn that led to the scene's ruin; False: it is no use."""
        before = [turn for turn in self._policy_s if turn[0] < ruined_s]
        self._attempts -= 1
        if not before or not self._attempts:
            return False
        start_s, end_s = before.pop()
        end_s = min(end_s, ruined_s) - self._rng.uniform(*_TOO_LATE_S)
        self._policy_s = [*before, (start_s, end_s)] if end_s > start_s else before
        return True
