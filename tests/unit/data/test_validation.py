"""A verdict names what is wrong with an episode, and only that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from activemimic_data.bags import EpisodeReader, EpisodeWriter, Verdict, interventions, moved_by, validate
from activemimic_data.bags.command_sources import CONTROL, DIAGNOSTICS
from activemimic_description.codec import encode_command, encode_image, encode_slots
from activemimic_description.contract import Contract
from activemimic_description.messages import BagMessages
from synthetic import FPS, MS, START_NS, frame_stamp_ns, joints, numbered_image

FRAMES = 45
HEAD = "/camera/head_color/compressed"
DIAGNOSTIC = "diagnostic_msgs/msg/DiagnosticStatus"


class Episode:
    """One and a half seconds in which nothing is wrong, but for what a test changes."""

    def __init__(self, folder: Path, contract: Contract) -> None:
        self.folder = folder
        self.contract = contract
        self.head_frames = set(range(FRAMES))
        self.head_image: Callable[[int], int] = lambda frame: frame
        self.head_stamp: Callable[[int], int] = frame_stamp_ns
        self.lost_after: dict[int, int] = {}
        self.measured: Callable[[int], np.ndarray] = lambda frame: joints(frame, 0.0)
        self.extra: dict[str, Any] = {}
        self.told: list[tuple[int, str, dict[str, str]]] = []  # frame, topic, values

    def verdict(self) -> Verdict:
        contract, messages = self.contract, BagMessages()
        (state,), (sink,) = contract.state, contract.commands
        with EpisodeWriter(self.folder, contract, task="t", instruction="i", extra=self.extra) as writer:
            writer.add_topic(CONTROL, DIAGNOSTIC)
            writer.add_topic(DIAGNOSTICS, "diagnostic_msgs/msg/DiagnosticArray")
            sequence = 0
            for frame in range(FRAMES):
                stamp = frame_stamp_ns(frame)
                for name, camera in contract.cameras.items():
                    number, image_stamp = frame, stamp
                    if name == "head":
                        if frame not in self.head_frames:
                            continue
                        sequence += 1 + self.lost_after.get(frame, 0)
                        number, image_stamp = self.head_image(frame), self.head_stamp(frame)
                    image = numbered_image(number, camera.height, camera.width)
                    data = messages.serialize(encode_image(camera, image, image_stamp, messages), camera.type)
                    writer.write(camera.topic, data, stamp + MS, stamp, sequence if name == "head" else frame + 1)
                data = messages.serialize(encode_slots(state, self.measured(frame), stamp, messages), state.type)
                writer.write(state.topic, data, stamp + 2 * MS, stamp, frame + 1)
                ((_, msg),) = encode_command(contract, joints(frame, 0.1), stamp, messages)
                writer.write(sink.topic, messages.serialize(msg, sink.type), stamp + 2 * MS, stamp, frame + 1)
                for _, topic, values in (entry for entry in self.told if entry[0] == frame):
                    writer.write(topic, self._status(messages, topic, values), stamp + 2 * MS)
            writer.close("success")
        return validate(self.folder)

    @staticmethod
    def _status(messages: BagMessages, topic: str, values: dict[str, str]) -> bytes:
        pairs = [{"key": key, "value": value} for key, value in values.items()]
        status = {"name": "controller", "values": pairs}
        if topic == CONTROL:
            return messages.serialize(messages.make(DIAGNOSTIC, **status), DIAGNOSTIC)
        kind = "diagnostic_msgs/msg/DiagnosticArray"
        return messages.serialize(messages.make(kind, status=[status]), kind)


@pytest.fixture
def episode(tmp_path: Path, contract: Contract) -> Episode:
    return Episode(tmp_path / "one", contract)


def test_a_good_episode_has_no_problem_and_its_figures(episode: Episode) -> None:
    verdict = episode.verdict()
    assert verdict.good
    assert verdict.problems == verdict.remarks == []
    head = next(report for report in verdict.topics if report.topic == HEAD)
    assert (head.messages, head.lost) == (FRAMES, 0)
    assert head.rate_hz == pytest.approx(FPS, rel=0.05)
    assert head.longest_gap_s == pytest.approx(1 / FPS, abs=1e-6)
    assert json.loads(json.dumps(verdict.as_dict()))["good"] is True


def half_rate(episode: Episode) -> None:
    episode.head_frames = set(range(0, FRAMES, 2))


def gap(episode: Episode) -> None:
    episode.head_frames -= set(range(10, 18))


def stops(episode: Episode) -> None:
    episode.head_frames -= set(range(38, FRAMES))


def silent(episode: Episode) -> None:
    episode.head_frames = set()


def backwards(episode: Episode) -> None:
    episode.head_stamp = lambda frame: frame_stamp_ns(frame - 2 if frame == 20 else frame)


def frozen(episode: Episode) -> None:
    episode.head_image = lambda frame: min(frame, 5)


def lossy(episode: Episode) -> None:
    episode.lost_after = {10: 3}


def beyond(episode: Episode) -> None:
    episode.measured = lambda frame: joints(frame, 0.0) + np.eye(20)[4] * (9.0 if frame == 7 else 0.0)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (half_rate, f"{HEAD}: expected 30 Hz (contract), found 15"),
        (gap, f"{HEAD}: a gap of 0.30 s (limit 0.2 s)"),
        (stops, f"{HEAD}: a gap of 0.23 s at the end"),
        (silent, f"{HEAD}: no message"),
        (backwards, f"{HEAD}: its stamps run backwards 1 times"),
        (frozen, "camera head: has shown one and the same frame for"),
        (lossy, f"{HEAD}: 3 of {FRAMES + 3} messages lost"),
        (beyond, "left_arm_1: measured beyond its limits"),
    ],
)
def test_a_problem_is_named(episode: Episode, harm: Callable[[Episode], None], said: str) -> None:
    harm(episode)
    verdict = episode.verdict()
    assert not verdict.good
    assert [problem for problem in verdict.problems if not problem.startswith(said[:8])] == []
    assert any(problem.startswith(said) for problem in verdict.problems), verdict.problems


def test_images_stored_more_rarely_on_purpose_are_no_problem(episode: Episode) -> None:
    half_rate(episode)
    episode.extra = {"camera_hz": 15}
    assert [problem for problem in episode.verdict().problems if HEAD in problem] == []


def test_another_contract_than_the_first_episodes_is_a_problem(episode: Episode) -> None:
    episode.verdict()
    verdict = validate(episode.folder, fingerprint="0" * 64)
    assert "expected 000000000000, that of the first episode" in verdict.problems[0]


def test_an_unfinished_or_damaged_episode_is_bad_and_says_why(episode: Episode) -> None:
    episode.verdict()
    (file,) = episode.folder.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-100])
    (problem,) = validate(episode.folder).problems
    assert "truncated or damaged" in problem
    episode.folder.rename(episode.folder.with_name("two.recording"))
    (problem,) = validate(episode.folder.with_name("two.recording")).problems
    assert "activemimic bag recover" in problem


def test_who_moved_the_robot_is_found_with_the_takeover(episode: Episode) -> None:
    episode.told = [
        (3, DIAGNOSTICS, {"mode": "running", "source": "policy"}),
        (12, CONTROL, {"mode": "running", "source": "teleop"}),
        (15, CONTROL, {"kind": "limited_motion", "slot": "left_arm_1"}),
        (24, CONTROL, {"mode": "running", "source": "policy"}),
        (36, CONTROL, {"mode": "holding", "source": ""}),
        (42, CONTROL, {"mode": "idle", "source": "policy"}),
    ]
    verdict = episode.verdict()

    def log_ns(frame: int) -> int:
        return frame_stamp_ns(frame) + 2 * MS

    moved = moved_by(EpisodeReader(episode.folder))
    assert moved == [
        ("policy", START_NS + MS, log_ns(12)),
        ("teleop", log_ns(12), log_ns(24)),
        ("policy", log_ns(24), log_ns(36)),
    ]
    assert interventions(moved) == [moved[1]]
    assert interventions(moved[1:2]) == []  # plain teleoperation takes nothing over
    assert verdict.good
    assert "teleoperation took over from the policy: 0.4 to 0.8 s" in verdict.remarks
    assert verdict.limit_events == {"limited_motion": 1}
