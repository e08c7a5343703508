"""Episodes by keys: what each key asks of the recorder, and what there is to see of it. Without ROS."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from activemimic_data.bags.episode import LOW_RATE
from activemimic_description.stack_topics import RECORDER_DISCARD, RECORDER_START, RECORDER_STOP
from activemimic_rollout.trials.trial_series import TrialError

KEYS = {
    "s": "start",
    "y": "stop, success",
    "n": "stop, failure",
    "d": "discard",
    "r": "redo",
    "q": "quit",
}
SILENT_S = 3.0  # the recorder reports once a second
LINES = 8


class RecorderClient(Protocol):
    """The recorder, as it is used here. Calls raise TrialError if they are refused or not answered."""

    def set_parameters(self, node: str, values: Mapping[str, Any]) -> None: ...
    def trigger(self, service: str) -> str: ...
    def set_bool(self, service: str, data: bool) -> str: ...
    def diagnostics(self) -> dict[str, dict[str, str]]: ...
    def silent_s(self, node: str) -> float: ...


@dataclass(frozen=True)
class TopicRate:
    topic: str
    hz: float | None  # None: not known yet
    contract_hz: float

    @property
    def low(self) -> bool:
        return self.hz is not None and self.hz < LOW_RATE * self.contract_hz


@dataclass(frozen=True)
class Line:
    """Something that was said at `clock`."""

    clock: str
    text: str
    alarming: bool = False


@dataclass(frozen=True)
class RecorderFrame:
    """What there is to see at one moment."""

    heard: bool
    episode: str  # "": none is being recorded
    seed: int
    duration_s: float
    size_mb: float
    lost: int
    free_gb: float
    out: str
    rates: tuple[TopicRate, ...]
    lines: tuple[Line, ...]

    @property
    def minutes_left(self) -> float | None:
        """Until the disk is full, at this episode's rate; None before that is known."""
        return 1000 * self.free_gb / (self.size_mb / self.duration_s) / 60 if self.duration_s and self.size_mb else None


class ManualRecording:
    """An episode after the other; their seeds count up from `first_seed` with each that is kept.

    Raises TrialError if the recorder is not there; its later refusals are lines to see.
    """

    def __init__(self, client: RecorderClient, task: str, first_seed: int) -> None:
        self._client = client
        self._task, self._seed = task, first_seed
        self._lines: deque[Line] = deque(maxlen=LINES)
        self._low: set[str] = set()
        self._trouble = ""
        self._tell_about()

    def press(self, key: str) -> bool:
        """Do what a key stands for; False when it is time to leave."""
        actions = {"s": self._start, "y": self._keep, "n": self._keep, "d": self._discard, "r": self._redo}
        if key == "q":
            return not self._may_leave()
        if key in actions:
            try:
                actions[key](key)
            except TrialError as error:
                self._say(str(error), alarming=True)
        return True

    def frame(self) -> RecorderFrame:
        """What there is to see now; says so when a topic falls below its rate, or an episode was ended for us."""
        values = self._client.diagnostics().get("recorder", {})
        heard = self._client.silent_s("recorder") < SILENT_S
        recording = values.get("recording") == "True"
        rates = tuple(_rates(values))
        self._watch(rates if recording and heard else (), values.get("trouble", ""))
        return RecorderFrame(
            heard=heard,
            episode=values.get("episode", ""),
            seed=self._seed,
            duration_s=float(values.get("duration_s", 0.0)),
            size_mb=float(values.get("size_mb", 0.0)),
            lost=int(values.get("lost", 0)),
            free_gb=float(values.get("free_gb", 0.0)),
            out=values.get("out", ""),
            rates=rates,
            lines=tuple(self._lines),
        )

    def _start(self, key: str = "s") -> None:
        self._tell_about()
        self._say(f"recording {self._client.trigger(RECORDER_START.name)}, seed {self._seed}")

    def _keep(self, key: str) -> None:
        self._say(self._client.set_bool(RECORDER_STOP.name, key == "y"))
        self._seed += 1

    def _discard(self, key: str) -> None:
        self._say(self._client.trigger(RECORDER_DISCARD.name))

    def _redo(self, key: str) -> None:
        self._discard(key)
        self._start()

    def _tell_about(self) -> None:
        self._client.set_parameters("/recorder", {"task": self._task, "seed": self._seed})

    def _may_leave(self) -> bool:
        values = self._client.diagnostics().get("recorder", {})
        if self._client.silent_s("recorder") < SILENT_S and values.get("recording") == "True":
            self._say(f"{values['episode']} is being recorded: press y, n or d first", alarming=True)
            return False
        return True

    def _watch(self, rates: tuple[TopicRate, ...], trouble: str) -> None:
        low = {rate.topic: rate for rate in rates if rate.low}
        for topic in low.keys() - self._low:
            self._say(f"{topic}: {low[topic].hz or 0.0:.1f} Hz, expected {low[topic].contract_hz:g} Hz", alarming=True)
        if trouble and trouble != self._trouble:
            self._say(trouble, alarming=True)
        self._low, self._trouble = set(low), trouble

    def _say(self, text: str, alarming: bool = False) -> None:
        self._lines.append(Line(time.strftime("%H:%M:%S"), text, alarming))


def _rates(values: Mapping[str, str]) -> Iterator[TopicRate]:
    for key, text in values.items():
        if key.endswith("_contract_hz"):
            topic = key.removesuffix("_contract_hz")
            measured = values.get(f"{topic}_rate_hz")
            yield TopicRate(topic, float(measured) if measured is not None else None, float(text))
