"""Listens to the status messages, as plain data, and says at any time what there is to see."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from activemimic_description.latency_stages import ChunkStages, StageSummary

CHUNKS = 100  # that the stages' percentiles are taken over
GREW_S = 5.0  # what a counter has gained in so long is news
RATE_S = 3.0  # window of the rates
SILENT_S = 3.0  # reports come once a second
EVENTS = 5
_INTERVENTIONS = ("rejected_", "holding_", "limited_", "state_invalid")


@dataclass(frozen=True)
class Rate:
    """How often something comes, in Hz. `expected_hz` is what it should be, 0 if nobody says."""

    name: str
    hz: float
    expected_hz: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Counter:
    """A limit event's count since the start of the controller, and in the last GREW_S seconds."""

    kind: str
    total: int
    grew: int


@dataclass(frozen=True)
class Event:
    """Something that happened `ago_s` seconds ago for the last time, `times` in a row."""

    ago_s: float
    text: str
    times: int = 1
    alarming: bool = False


@dataclass(frozen=True)
class Frame:
    """Everything that is shown at one moment."""

    mode: str = ""  # "": no controller was heard
    reason: str = ""
    source: str = ""  # who moves the robot
    rates: tuple[Rate, ...] = ()
    period_p99_ms: float = math.nan
    period_max_ms: float = math.nan
    deadline_misses: int = 0
    deadline_misses_grew: int = 0
    stages: tuple[StageSummary, ...] = ()
    total: StageSummary | None = None
    counters: tuple[Counter, ...] = ()  # those that are not zero
    policy: str = "not there"
    recorder: str = "not there"
    recording: bool = False
    silent: tuple[str, ...] = ()  # nodes that were heard before, and are not any more
    events: tuple[Event, ...] = ()  # the newest first


@dataclass
class _Report:
    heard_s: float
    message: str
    values: Mapping[str, str]


@dataclass
class _Happening:
    when_s: float
    key: tuple[str, ...]
    text: str
    alarming: bool
    times: int = 1


@dataclass
class Watch:
    """`cameras`: name -> rate in Hz. All times are seconds of one clock that does not jump."""

    cameras: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._reports: dict[str, _Report] = {}
        self._stages = ChunkStages(CHUNKS)
        self._arrivals: dict[str, deque[float]] = {
            name: deque(maxlen=1000) for name in (*self.cameras, "policy chunks")
        }
        self._counts: deque[tuple[float, dict[str, int]]] = deque()
        self._events: deque[_Happening] = deque(maxlen=EVENTS)
        self._source = ""

    def on_diagnostics(self, node: str, message: str, values: Mapping[str, str], now_s: float) -> None:
        """A node's report of the last second."""
        self._reports[node] = _Report(now_s, message, values)
        if node != "controller":
            return
        self._source = values.get("source", self._source)
        before = self._counts[-1][1] if self._counts else None
        counts = {key: int(text) for key, text in values.items() if _counts(key)}
        for kind, count in counts.items():
            # Limit events and faults are told when they happen; rejected chunks are only counted.
            gained = 0 if before is None else count - before.get(kind, 0)
            if gained > 0 and kind.startswith("rejected_"):
                self._happened(now_s, ("rejected", kind), f"chunk {kind.replace('_', ': ', 1)}", gained)
        self._counts.append((now_s, counts))
        while self._counts[0][0] < now_s - GREW_S and len(self._counts) > 1:
            self._counts.popleft()

    def on_control(self, message: str, values: Mapping[str, str], now_s: float) -> None:
        """A change of mode or of who moves the robot, or a limit event, as it happens."""
        if "mode" in values:
            self._source = values.get("source", "")
            by = f" (by {self._source})" if self._source else ""
            alarming = values["mode"] in ("holding", "stopped")
            self._happened(now_s, ("mode", values["mode"], self._source), f"{message}{by}", alarming=alarming)
            if (report := self._reports.get("controller")) is not None:
                mode, _, reason = message.partition(": ")
                report.values = {**report.values, "mode": mode, "reason": reason}
        elif "kind" in values:
            asked, sent = values.get("asked", "?"), values.get("sent", "?")
            text = f"{values['kind']}: {message}, asked {asked}, sent {sent}"
            self._happened(now_s, ("kind", values["kind"]), text)

    def on_inference(self, values: Mapping[str, str], now_s: float) -> None:
        """The policy has made a chunk."""
        self._stages.add(values)
        self._arrivals["policy chunks"].append(now_s)

    def on_timing(self, values: Mapping[str, str]) -> None:
        """The controller tells what became of a chunk."""
        self._stages.add(values)

    def on_image(self, camera: str, now_s: float) -> None:
        """An image has come; what it shows is nobody's business here."""
        self._arrivals[camera].append(now_s)

    def heard_controller(self) -> bool:
        return "controller" in self._reports

    def frame(self, now_s: float) -> Frame:
        """What there is to see now."""
        report = self._reports.get("controller")
        values = report.values if report else {}
        grew = self._grew()
        policy, recorder = self._reports.get("policy"), self._reports.get("recorder")
        return Frame(
            mode=values.get("mode", ""),
            reason=values.get("reason", ""),
            source="" if values.get("mode") == "idle" else self._source,  # idle, it moves but a shadow
            rates=tuple(self._rates(values, now_s)),
            period_p99_ms=_number(values.get("period_p99_ms")),
            period_max_ms=_number(values.get("period_max_ms")),
            deadline_misses=int(values.get("deadline_misses", 0)),
            deadline_misses_grew=grew.get("deadline_misses", 0),
            stages=tuple(self._stages.summary()),
            total=self._stages.total(),
            counters=tuple(
                Counter(kind, int(text), grew.get(kind, 0))
                for kind, text in values.items()
                if kind.startswith(_INTERVENTIONS) and int(text)
            ),
            policy=policy.message if policy else "not there",
            recorder=_recorder(recorder.message, recorder.values) if recorder else "not there",
            recording=bool(recorder and recorder.values.get("recording") == "True"),
            silent=tuple(
                f"{node} for {now_s - last.heard_s:.0f} s"
                for node, last in self._reports.items()
                if now_s - last.heard_s > SILENT_S
            ),
            events=tuple(
                Event(now_s - event.when_s, event.text, event.times, event.alarming) for event in reversed(self._events)
            ),
        )

    def _rates(self, values: Mapping[str, str], now_s: float) -> list[Rate]:
        rates = [Rate("controller", _number(values.get("rate_hz")))] if "rate_hz" in values else []
        rates += [
            Rate(key.removesuffix("_rate_hz"), _number(text), note=f"{values.get(_drops(key), '0')} dropped")
            for key, text in values.items()
            if key.endswith("_rate_hz")
        ]
        seen = self._reports["policy"].values if "policy" in self._reports else {}
        for name, times in self._arrivals.items():
            drops = f"{seen[f'{name}_drops']} dropped" if f"{name}_drops" in seen else ""
            lag = f"{_number(seen[f'{name}_lag_ms']):.0f} ms late" if f"{name}_lag_ms" in seen else ""
            note = ", ".join(part for part in (drops, lag) if part)
            rates.append(Rate(name, _rate_hz(times, now_s), self.cameras.get(name, 0.0), note))
        return rates

    def _grew(self) -> dict[str, int]:
        """What every count has gained within GREW_S; a controller that started anew counts from nothing."""
        if not self._counts:
            return {}
        (_, oldest), (_, newest) = self._counts[0], self._counts[-1]
        return {key: count - oldest.get(key, 0) for key, count in newest.items() if count > oldest.get(key, 0)}

    def _happened(self, now_s: float, key: tuple[str, ...], text: str, times: int = 1, alarming: bool = False) -> None:
        """What comes over and over is one line that moves to the top, so that a change of mode is not swept away."""
        last = next((event for event in self._events if event.key == key), None)
        if last is None or key[0] == "mode":
            self._events.append(_Happening(now_s, key, text, alarming, times))
            return
        self._events.remove(last)
        self._events.append(_Happening(now_s, key, text, alarming, last.times + times))


def _counts(key: str) -> bool:
    return key.startswith(_INTERVENTIONS) or key == "deadline_misses"


def _drops(key: str) -> str:
    return f"{key.removesuffix('_rate_hz')}_drops"


def _recorder(message: str, values: Mapping[str, str]) -> str:
    if values.get("recording") != "True":
        return message
    return f"{message}: {values.get('messages', '?')} messages, {values.get('lost', '?')} lost"


def _rate_hz(times: deque[float], now_s: float) -> float:
    recent = [time_s for time_s in times if time_s > now_s - RATE_S]
    return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 and recent[-1] > recent[0] else 0.0


def _number(text: str | None) -> float:
    return float(text) if text else math.nan
