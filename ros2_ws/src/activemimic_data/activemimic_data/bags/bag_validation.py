"""Whether an episode is fit to learn from: a verdict with reasons, from its messages."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from activemimic_description.codec import CodecError, decode_slots, stamp_ns
from activemimic_description.contract import CameraSource, Contract, JointSink, JointSource
from activemimic_description.frozen_cameras import FrozenCameras
from activemimic_description.robot import Robot, load_robot

from activemimic_data.bags.command_sources import Moved, interventions, limit_events, moved_by
from activemimic_data.bags.episode import LOW_RATE, BagError, EpisodeInfo
from activemimic_data.bags.reader import BagMessage, EpisodeReader

COMMAND_GAP_S = 0.5  # a robot that was commanded nothing for so long was not under control
LOST_SHARE = 0.01  # of a topic's messages; fewer losses are only told
# Beyond a limit by more than this share of the range. A gripper that squeezes and an arm that sags are measured a
# little beyond theirs; much more is a wrong unit or offset. Commands are never sent beyond.
BEYOND = {"measured": 0.05, "commanded": 0.01}
MOVES = 0.01  # of the range: a joint that moves less stands
AT_LIMIT = 0.001  # so near to a limit, as a share of the range, a command has been clipped to it
CLIPPED_S = 0.5


@dataclass(frozen=True)
class TopicReport:
    """One of the contract's topics over the whole episode; the longest gap is between header stamps."""

    topic: str
    messages: int
    rate_hz: float
    expected_hz: float
    longest_gap_s: float
    lost: int | None


@dataclass(frozen=True)
class Verdict:
    """What is wrong with an episode (`problems`), and what is worth knowing of it (`remarks`)."""

    folder: Path
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    topics: list[TopicReport] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    limit_events: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        moved = [one._asdict() for one in self.moved]
        return {**asdict(self), "folder": str(self.folder), "good": self.good, "moved": moved}


def validate(folder: Path | str, fingerprint: str | None = None) -> Verdict:
    """Look at every message of the contract's topics.

    Args:
        folder: an episode; a damaged or unfinished one gets a verdict, too.
        fingerprint: the contract's that the episode is to be used with, if that is known.
    """
    try:
        reader = EpisodeReader(folder)
        return _verdict(reader, fingerprint)
    except BagError as error:
        return Verdict(Path(folder), problems=[str(error)])


def expected_rates(info: EpisodeInfo, contract: Contract) -> dict[str, float]:
    """Topic -> Hz that the contract says; of a headless demonstration the rate it was asked to store images at."""
    camera_hz = info.extra.get("camera_hz")
    return {
        topic: float(camera_hz) if camera_hz and isinstance(entry, CameraSource) else entry.rate_hz
        for topic, entry in contract.topics().items()
    }


def _verdict(reader: EpisodeReader, fingerprint: str | None) -> Verdict:
    info, contract = reader.info, reader.contract
    entries = contract.topics()
    wrong_types = [
        f"{topic}: expected {entry.type} (contract.yaml), found {reader.types[topic]}"
        for topic, entry in entries.items()
        if reader.types.get(topic, entry.type) != entry.type
    ]
    if wrong_types:
        return Verdict(reader.folder, problems=wrong_types)
    streams = {topic: _Stream(topic) for topic in entries}
    cameras, joints = _Cameras(contract), _Joints(contract)
    for message in reader.messages(topic for topic in entries if topic in reader.types):
        streams[message.topic].add(message)
        entry = entries[message.topic]
        if isinstance(entry, CameraSource):
            cameras.add(message)
        elif (posture := joints.add(entry, message)) is not None:
            cameras.moved_to(posture)
    expected_hz = expected_rates(info, contract)
    reports = [stream.report(info, expected_hz[topic]) for topic, stream in streams.items()]
    moved, told = moved_by(reader), limit_events(reader)
    problems = _contract_problems(info, contract, fingerprint)
    for report in reports:
        problems += streams[report.topic].problems(report, entries[report.topic], info)
    problems += [*cameras.problems(), *joints.problems()]
    remarks = [*_lost_remarks(reports), *joints.remarks(info), *_control_remarks(info, moved, told)]
    return Verdict(reader.folder, problems, remarks, reports, moved, told)


class _Stream:
    """One topic's messages, in the order of their arrival."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.count = self.backwards = 0
        self.longest_gap_ns = 0
        self.first_log_ns = self.last_log_ns = self._stamp_ns = 0

    def add(self, message: BagMessage) -> None:
        stamp = stamp_ns(message.msg)
        if self.count:
            self.longest_gap_ns = max(self.longest_gap_ns, stamp - self._stamp_ns)
            self.backwards += stamp < self._stamp_ns
        else:
            self.first_log_ns = message.log_time_ns
        self._stamp_ns, self.last_log_ns = stamp, message.log_time_ns
        self.count += 1

    def report(self, info: EpisodeInfo, expected_hz: float) -> TopicReport:
        rate_hz = self.count / info.duration_s if info.duration_s else 0.0
        lost = info.lost.get(self.topic)
        return TopicReport(self.topic, self.count, rate_hz, expected_hz, self.longest_gap_ns / 1e9, lost)

    def problems(
        self, report: TopicReport, entry: CameraSource | JointSource | JointSink, info: EpisodeInfo
    ) -> list[str]:
        if not self.count:
            return [f"{self.topic}: no message; expected every topic of the contract"]
        found = []
        if report.rate_hz < LOW_RATE * report.expected_hz:
            found.append(
                f"{self.topic}: expected {report.expected_hz:g} Hz (contract), found {report.rate_hz:.1f} Hz over all"
            )
        commands = isinstance(entry, JointSink)
        most_s = COMMAND_GAP_S if isinstance(entry, JointSink) else max(entry.max_age_ms / 1e3, 2 / report.expected_hz)
        begin_s = 0.0 if commands else (self.first_log_ns - info.start_ns) / 1e9
        end_s = (info.stop_ns - self.last_log_ns) / 1e9
        for gap_s, where in ((report.longest_gap_s, ""), (begin_s, " at the beginning"), (end_s, " at the end")):
            if gap_s > most_s:
                found.append(f"{self.topic}: a gap of {gap_s:.2f} s{where} (limit {most_s:g} s)")
        if self.backwards:
            found.append(f"{self.topic}: its stamps run backwards {self.backwards} times")
        if report.lost and report.lost > LOST_SHARE * (self.count + report.lost):
            found.append(f"{self.topic}: {report.lost} of {self.count + report.lost} messages lost")
        return found


class _Cameras:
    """Looks for a camera that shows one frame while the robot moves before it."""

    def __init__(self, contract: Contract) -> None:
        self._frozen = FrozenCameras(contract)
        self._found: dict[str, str] = {}

    def add(self, message: BagMessage) -> None:
        self._frozen.add_image(message.topic, message.msg.data, stamp_ns(message.msg))

    def moved_to(self, posture: np.ndarray) -> None:
        self._frozen.add_state(posture)
        self._found |= {sentence.partition(" has ")[0]: sentence for sentence in self._frozen.problems()}

    def problems(self) -> list[str]:
        return list(self._found.values())


class _Joints:
    """Measured and commanded slots against the robot's limits."""

    def __init__(self, contract: Contract) -> None:
        self._robot: Robot = load_robot(contract.robot)
        self._measured = np.full(len(contract.slots), np.nan)
        # By slot, in time.
        self._values: dict[str, list[list[float]]] = {
            verb: [[] for _ in contract.slots] for verb in ("measured", "commanded")
        }
        self._undecoded: dict[str, str] = {}

    def add(self, entry: JointSource | JointSink, message: BagMessage) -> np.ndarray | None:
        """Takes a message; returns the measured robot vector (S,) once all of it is known."""
        try:
            indices, values = decode_slots(entry, message.msg)
        except CodecError as error:
            self._undecoded.setdefault(entry.topic, str(error))
            return None
        verb = "commanded" if isinstance(entry, JointSink) else "measured"
        for index, value in zip(indices, values, strict=True):
            self._values[verb][index].append(value)
        if verb == "commanded":
            return None
        self._measured[indices] = values
        return None if np.isnan(self._measured).any() else self._measured.copy()

    def problems(self) -> list[str]:
        found = list(self._undecoded.values())
        for verb, by_slot in self._values.items():
            for slot, listed in zip(self._robot.slots, by_slot, strict=True):
                span, values = slot.upper - slot.lower, np.array(listed)
                beyond = np.maximum(slot.lower - values, values - slot.upper)
                if (count := int((beyond > BEYOND[verb] * span).sum())) > 0:
                    found.append(
                        f"{slot.name}: {verb} beyond its limits [{slot.lower:g}, {slot.upper:g}] {count} times, "
                        f"by at most {beyond.max():.3f} {slot.unit}"
                    )
        return found

    def remarks(self, info: EpisodeInfo) -> list[str]:
        """Joints that stood clipped at a limit for long; a gripper, or a joint that never moves, is at home there."""
        found = []
        for slot, listed in zip(self._robot.slots, self._values["commanded"], strict=True):
            span, values = slot.upper - slot.lower, np.array(listed)
            if slot.is_gripper or not len(values) or np.ptp(values) < MOVES * span:
                continue
            at_limit = (values < slot.lower + AT_LIMIT * span) | (values > slot.upper - AT_LIMIT * span)
            seconds = float(at_limit.mean()) * info.duration_s
            if seconds > CLIPPED_S:
                found.append(f"{slot.name}: commanded at a limit for {seconds:.1f} s")
        return found


def _contract_problems(info: EpisodeInfo, contract: Contract, fingerprint: str | None) -> list[str]:
    if fingerprint in (None, info.fingerprint):
        return []
    return [
        f"contract {contract.name}: fingerprint {info.fingerprint[:12]}, expected {str(fingerprint)[:12]}, "
        f"that of the first episode; one dataset holds one interface"
    ]


def _lost_remarks(reports: list[TopicReport]) -> list[str]:
    lost = {report.topic: report.lost for report in reports if report.lost}
    return [f"lost: {', '.join(f'{count} on {topic}' for topic, count in lost.items())}"] if lost else []


def _control_remarks(info: EpisodeInfo, moved: list[Moved], told: dict[str, int]) -> list[str]:
    remarks = [
        word for word, holds in (("recovered", info.recovered), ("no instruction", not info.instruction)) if holds
    ]
    if taken := interventions(moved):
        when = ", ".join(
            f"{(one.start_ns - info.start_ns) / 1e9:.1f} to {(one.stop_ns - info.start_ns) / 1e9:.1f} s"
            for one in taken
        )
        remarks.append(f"teleoperation took over from the policy: {when}")
    if told:
        remarks.append(f"limit events: {', '.join(f'{kind} {count}' for kind, count in told.items())}")
    return remarks
