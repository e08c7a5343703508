"""When an episode may start, what it is called, how it goes and how it ends: the recorder without ROS."""

from __future__ import annotations

import re
import shutil
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from activemimic_data.bags import BagError, DiskFullError, EpisodeInfo, EpisodeWriter
from activemimic_data.bags.episode import LOW_RATE, Outcome
from activemimic_description.common.errors import OperationError
from activemimic_description.contract import Contract
from activemimic_description.stack_topics import DIAGNOSTICS, TOPICS

from activemimic_bringup.launching.parameters import RECORDER, refusal

STACK_TOPICS = {topic.name: topic.type for topic in TOPICS}  # recorded beside the contract's
# It has several publishers, so that gaps in its sequence numbers say nothing about lost messages.
SHARED_TOPICS = frozenset({DIAGNOSTICS.name})
FRESH_S = 1.0
RATE_S = 2.0  # longest window of the rates,
KNOWN_S = 0.9  # and shortest: opening and closing a file takes time, in which messages wait to be counted
SPARE = 0.1  # of min_free_gb: with less an episode is ended, so that the disk is not filled to the last byte

_OUTCOMES: dict[bool | None, Outcome] = {True: "success", False: "failure", None: "unknown"}


class RecordingRefusedError(OperationError):
    """The recorder is not able to do what was asked; the text says why and what to do."""


@dataclass(frozen=True)
class RecordingState:
    """How things stand: what a person wants to see while recording. `folder` is None between episodes."""

    folder: Path | None
    duration_s: float
    size_bytes: int
    messages: int
    lost: int
    free_gb: float
    rates_hz: dict[str, float]  # of the contract's topics, over the last RATE_S; empty while they are not known
    trouble: str  # why the last episode was ended by itself; "" once a new one has begun


class Recording:
    """At most one episode at a time, under `out/<task>_<number>`.

    An episode ends by itself, with outcome unknown, when the disk takes no more. `warn` is told of that, and of every
    topic whose rate falls below LOW_RATE of the contract's while an episode is recorded.
    """

    def __init__(self, contract: Contract, out: Path, min_free_gb: float, warn: Callable[[str], object]) -> None:
        self.contract = contract
        self.out = Path(out).resolve()
        self.trouble = ""
        self._min_free_gb = min_free_gb
        self._warn = warn
        self._seen_ns: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._history: deque[tuple[int, Counter[str]]] = deque()  # the counts of the last RATE_S
        self._slow: set[str] = set()
        self._started_ns = 0
        self._writer: EpisodeWriter | None = None

    @property
    def folder(self) -> Path | None:
        """The episode being recorded, or None."""
        return self._writer.folder if self._writer else None

    def on_message(
        self, topic: str, data: bytes, received_ns: int, publish_ns: int | None, sequence: int | None
    ) -> None:
        """Note that a topic is alive and, while an episode is recorded, write the message."""
        self._seen_ns[topic] = received_ns
        self._counts[topic] += 1
        if self._writer is not None:
            known = None if topic in SHARED_TOPICS else sequence
            try:
                self._writer.write(topic, data, received_ns, publish_ns, known)
            except DiskFullError as error:
                self._end(str(error))

    def start(self, task: str, instruction: str, seed: int, now_ns: int, published: Collection[str]) -> Path:
        """Begin an episode and return its folder. `published` are the topics that have a publisher.

        Raises RecordingRefusedError if one is being recorded, task or instruction are no name and no line, a camera
        or joint state was not seen within the last second, nobody publishes the commands, or the disk is nearly full.
        """
        if reason := refusal(RECORDER, {"task": task, "instruction": instruction}):
            raise RecordingRefusedError(reason)
        if self._writer is not None:
            raise RecordingRefusedError(f"already recording {self._writer.folder.name}: call ~/stop or ~/discard")
        if problems := [*self._silent(now_ns), *self._unpublished(published)]:
            raise RecordingRefusedError("; ".join(problems))
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordingRefusedError(f"{self.out}: cannot be made: {error.strerror}") from None
        if (free_gb := self._free_gb()) < self._min_free_gb:
            raise RecordingRefusedError(
                f"{free_gb:.1f} GB free in {self.out}, expected at least {self._min_free_gb:g} GB (min_free_gb)"
            )
        folder = self.out / f"{task}_{_next_number(self.out, task):06d}"
        self._check_place(folder)
        try:
            writer = EpisodeWriter(folder, self.contract, task=task, instruction=instruction, seed=seed)
        except BagError as error:
            raise RecordingRefusedError(str(error)) from None
        for topic, type_name in STACK_TOPICS.items():
            writer.add_topic(topic, type_name)
        self._writer, self._started_ns, self.trouble = writer, now_ns, ""
        self._slow.clear()
        self._history.clear()
        return folder

    def stop(self, success: bool | None) -> tuple[Path, EpisodeInfo]:
        """Close the episode; None leaves its outcome unknown.

        Raises RecordingRefusedError if there is none, or the disk does not take its end.
        """
        writer = self._take()
        try:
            return writer.folder, writer.close(_OUTCOMES[success])
        except BagError as error:
            self.trouble = str(error)
            raise RecordingRefusedError(self.trouble) from None

    def discard(self) -> Path:
        """Delete the episode being recorded. Raises RecordingRefusedError if there is none, or it is not in `out`."""
        if self._writer is not None:
            self._check_place(self._writer.folder)
        writer = self._take()
        writer.discard()
        return writer.folder

    def flush(self) -> None:
        """Send what was written to the disk: in a pause between messages, nobody else does."""
        if self._writer is not None:
            try:
                self._writer.flush()
            except DiskFullError as error:
                self._end(str(error))

    def look(self, now_ns: int) -> RecordingState:
        """How things stand; to be called once a second. Ends the episode if little space is left."""
        self._history.append((now_ns, self._counts.copy()))
        while now_ns - self._history[0][0] > RATE_S * 1.05e9:
            self._history.popleft()
        free_gb, rates_hz = self._free_gb(), self._rates_hz()
        if self._writer is not None:
            self._warn_of_slow_topics(now_ns, rates_hz)
            if free_gb < SPARE * self._min_free_gb:
                self._end(f"{free_gb:.2f} GB free in {self.out}, ended at {SPARE * self._min_free_gb:g} GB")
        writer = self._writer
        return RecordingState(
            folder=self.folder,
            duration_s=writer.duration_s if writer else 0.0,
            size_bytes=writer.size_bytes if writer else 0,
            messages=sum(writer.messages.values()) if writer else 0,
            lost=sum(count or 0 for count in writer.lost.values()) if writer else 0,
            free_gb=free_gb,
            rates_hz=rates_hz,
            trouble=self.trouble,
        )

    def _check_place(self, folder: Path) -> None:
        """Nothing is written or deleted but in `out`."""
        if folder.parent.resolve() != self.out:
            raise RecordingRefusedError(f"{folder}: expected a folder in {self.out}")

    def _take(self) -> EpisodeWriter:
        if self._writer is None:
            raise RecordingRefusedError(self.trouble or "not recording: call ~/start first")
        writer, self._writer = self._writer, None
        self._history.clear()
        return writer

    def _end(self, why: str) -> None:
        """Close the episode although nobody asked for it."""
        try:
            folder, info = self.stop(success=None)
            self.trouble = f"{why}; {folder.name} was ended after {info.duration_s:.1f} s, its outcome unknown"
        except RecordingRefusedError as error:
            self.trouble = f"{why}; {error}"
        self._warn(self.trouble)

    def _free_gb(self) -> float:
        there = next(path for path in (self.out, *self.out.parents) if path.exists())
        return shutil.disk_usage(there).free / 1e9

    def _rates_hz(self) -> dict[str, float]:
        (then_ns, before), (now_ns, counts) = self._history[0], self._history[-1]
        seconds = (now_ns - then_ns) / 1e9
        if seconds < KNOWN_S:
            return {}
        return {topic: (counts[topic] - before[topic]) / seconds for topic in self.contract.topics()}

    def _warn_of_slow_topics(self, now_ns: int, rates_hz: dict[str, float]) -> None:
        """Once for each time a topic falls below its rate; the first window has to be over."""
        if not rates_hz or now_ns - self._started_ns < RATE_S * 1e9:
            return
        for topic, entry in self.contract.topics().items():
            slow = rates_hz[topic] < LOW_RATE * entry.rate_hz
            if slow and topic not in self._slow:
                self._warn(f"{topic}: {rates_hz[topic]:.1f} Hz, expected {entry.rate_hz:g} Hz (contract)")
            (self._slow.add if slow else self._slow.discard)(topic)

    def _silent(self, now_ns: int) -> list[str]:
        sources = {f"camera {name}": camera.topic for name, camera in self.contract.cameras.items()}
        sources |= {f"state {source.topic}": source.topic for source in self.contract.state}
        problems = []
        for what, topic in sources.items():
            age_s = (now_ns - self._seen_ns[topic]) / 1e9 if topic in self._seen_ns else None
            if age_s is None:
                problems.append(f"{what} ({topic}): no message has arrived")
            elif age_s > FRESH_S:
                problems.append(f"{what} ({topic}): the last message arrived {age_s:.1f} s ago")
        return problems

    def _unpublished(self, published: Collection[str]) -> list[str]:
        return [
            f"commands ({sink.topic}): nobody publishes it; is the controller running?"
            for sink in self.contract.commands
            if sink.topic not in published
        ]


def _next_number(out: Path, task: str) -> int:
    found = (re.match(rf"{re.escape(task)}_(\d{{6}})(\.|$)", path.name) for path in out.iterdir())
    return max((int(match[1]) + 1 for match in found if match), default=0)
