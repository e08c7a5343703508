"""A recorded run, with or without a trial around it: modes, stages of every chunk, joins, limit events.

It is read from an episode that the recorder made; `run_figure.draw_run` draws it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from activemimic_description.chunk_fields import ChunkRejectedError, check_fields, read_trajectory
from activemimic_description.common.errors import InvalidInputError
from activemimic_description.latency_stages import STAGES, ChunkStages, Key
from activemimic_description.robot import load_robot
from activemimic_description.stack_topics import CHUNK, CONTROL, DIAGNOSTICS, INFERENCE, TELEOP, TIMING

from activemimic_rollout.reports.html import render
from activemimic_rollout.reports.recorded_trial import Motion, RecordedTrial

FORMATS = (".png", ".html")


class TraceError(InvalidInputError):
    """A trace that cannot be written; the text says what to give instead."""


@dataclass(frozen=True)
class ModeChange:
    """From `time_s` on the controller was in `mode`, and `source` moved the robot ("": nobody)."""

    time_s: float
    mode: str
    source: str


@dataclass(frozen=True)
class ReportedLimitEvent:
    """One of the reports on /activemimic/control; there are at most ten of a kind in a second."""

    time_s: float
    kind: str
    slot: str


@dataclass(frozen=True)
class PlayedChunk:
    """A chunk that the controller accepted at `arrived_s`: its points (T, S) in slot units and when each is due."""

    arrived_s: float
    source: str
    times_s: np.ndarray
    points: np.ndarray

    def at(self, time_s: float) -> np.ndarray:
        """(S,) what it wants at a time, between its points."""
        return np.array([np.interp(time_s, self.times_s, column) for column in self.points.T])


@dataclass(frozen=True)
class RunView:
    """What `templates/run_trace.html` shows.

    Attributes:
        about: task, outcome, duration and number of chunks, in a line.
        figure: PNG of the run over time.
        stages: rows of a latency stage, its median and 99th percentile in ms, and of how many chunks.
        modes: rows of when a mode began, the mode, and who moved the robot.
        limit_events: rows of a kind, the slot, and how often it was reported.
    """

    name: str
    about: str
    figure: bytes
    stages: Sequence[tuple[str, ...]]
    modes: Sequence[tuple[str, ...]]
    limit_events: Sequence[tuple[str, ...]]


class RunTrace:
    """One episode. All times are seconds since its first message. Raises BagError for a damaged one."""

    def __init__(self, folder: Path | str) -> None:
        self.trial = RecordedTrial(folder)
        self.slots = self.trial.contract.slots
        self._start_ns = self.trial.info.start_ns

    @property
    def motion(self) -> Motion:
        return self.trial.motion

    @cached_property
    def modes(self) -> list[ModeChange]:
        """As they followed each other. What was before the recording is known from the next report."""
        changes: list[ModeChange] = []
        for time_s, status in self._statuses(CONTROL.name, DIAGNOSTICS.name):
            if "mode" not in status:
                continue
            moves = status["mode"] != "idle"  # what plays while it is idle is a shadow
            now = ModeChange(time_s if changes else 0.0, status["mode"], status.get("source", "") if moves else "")
            if not changes or (now.mode, now.source) != (changes[-1].mode, changes[-1].source):
                changes.append(now)
        return changes

    @cached_property
    def limit_events(self) -> list[ReportedLimitEvent]:
        return [
            ReportedLimitEvent(time_s, status["kind"], status.get("slot", ""))
            for time_s, status in self._statuses(CONTROL.name)
            if "kind" in status
        ]

    @cached_property
    def stages(self) -> ChunkStages:
        """Of every chunk; those that were rejected end before `transport`."""
        stages = ChunkStages()
        for _, status in self._statuses(INFERENCE.name, TIMING.name):
            if "stamp" in status and {"source", "receive_ms"} & status.keys():
                stages.add(status)
        return stages

    @cached_property
    def chunks(self) -> list[PlayedChunk]:
        """Those that were accepted, in the order of their arrival."""
        arrived_s: dict[Key, float] = {}
        for _, status in self._statuses(TIMING.name):
            stamp_ns = int(status["stamp"])
            arrived_s[stamp_ns, status["source"]] = self._seconds(stamp_ns) + float(status["chunk_age_ms"]) / 1e3
        played = []
        for topic, source in ((CHUNK.name, "policy"), (TELEOP.name, "teleop")):
            for message in self._messages(topic):
                try:
                    chunk = check_fields(read_trajectory(message.msg), self.slots)
                except ChunkRejectedError:
                    continue
                if (key := (chunk.stamp_ns, source)) in arrived_s:
                    steps = 1 + np.arange(len(chunk.positions))
                    times_s = self._seconds(chunk.stamp_ns) + steps * chunk.step_ns / 1e9
                    played.append(PlayedChunk(arrived_s[key], source, times_s, chunk.positions))
        return sorted(played, key=lambda chunk: chunk.arrived_s)

    def sharpest_join(self) -> tuple[PlayedChunk, PlayedChunk, int] | None:
        """The two chunks of one source that disagreed most when the second came, and in which slot (its number).

        Grippers do not count: theirs are decisions, not motions.
        """
        robot = load_robot(self.trial.contract.robot)
        counts = np.array([not slot.is_gripper for slot in robot.slots])
        best, found = 0.0, None
        for former, latter in zip(self.chunks, self.chunks[1:], strict=False):
            if former.source != latter.source or latter.arrived_s > former.times_s[-1]:
                continue
            apart = counts * np.abs(former.at(latter.arrived_s) - latter.at(latter.arrived_s))
            if apart.max() > best:
                best, found = float(apart.max()), (former, latter, int(apart.argmax()))
        return found

    def _seconds(self, time_ns: int) -> float:
        return (time_ns - self._start_ns) / 1e9

    def _messages(self, *topics: str) -> Iterator[Any]:
        present = [topic for topic in topics if topic in self.trial.reader.types]
        return iter(self.trial.reader.messages(present)) if present else iter(())

    def _statuses(self, *topics: str) -> Iterator[tuple[float, dict[str, str]]]:
        for message in self._messages(*topics):
            for status in message.msg.status if message.topic == DIAGNOSTICS.name else [message.msg]:
                if message.topic != DIAGNOSTICS.name or status.name == "controller":
                    yield (
                        self._seconds(message.log_time_ns),
                        {pair.key: pair.value for pair in status.values},
                    )


def write_trace(episode: Path, out: Path) -> str:
    """Draw an episode to `out`, a .png or a page that holds all it shows; return a line about it.

    Raises TraceError for another kind of file.
    """
    from activemimic_rollout.reports.run_figure import draw_run

    if out.suffix not in FORMATS:
        raise TraceError(f"{out}: expected a file that ends in {' or '.join(FORMATS)}")
    run = RunTrace(episode)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure = draw_run(run)
    if out.suffix == ".png":
        out.write_bytes(figure)
    else:
        out.write_text(render(__package__, "run_trace.html", _view(run, figure)), encoding="utf-8")
    return f"{out}: {run.trial.info.duration_s:.1f} s, {len(run.chunks)} chunks played"


def _view(run: RunTrace, figure: bytes) -> RunView:
    info = run.trial.info
    kinds = Counter((event.kind, event.slot) for event in run.limit_events)
    return RunView(
        run.trial.reader.folder.name,
        f"{info.task}, {info.outcome}, {info.duration_s:.1f} s; {len(run.chunks)} chunks played",
        figure,
        [
            (STAGES[stage.stage], f"{stage.p50_ms:.1f}", f"{stage.p99_ms:.1f}", str(stage.count))
            for stage in run.stages.summary()
            if stage.count
        ],
        [(f"{change.time_s:.2f} s", change.mode, change.source or "nobody") for change in run.modes],
        [(kind, slot, str(count)) for (kind, slot), count in kinds.most_common()],
    )
