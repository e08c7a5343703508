"""What `activemimic trace` reads from a recorded run, and what it draws; the run is made up, so that all is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from activemimic_data.bags import EpisodeWriter
from activemimic_description.chunk import Chunk
from activemimic_description.chunk_fields import TRAJECTORY, write_trajectory
from activemimic_description.codec import encode_command, encode_slots
from activemimic_description.contract import load_contract
from activemimic_description.latency_stages import STAGES
from activemimic_description.messages import BagMessages
from activemimic_description.robot import load_robot
from activemimic_rollout.reports.run_figure import slots_that_moved
from activemimic_rollout.reports.run_trace import ModeChange, RunTrace, TraceError, write_trace

CONTRACT = load_contract("g1_sim")
HOME = load_robot("g1").home
MS = 1_000_000
T0 = 10**15
STATUS = "diagnostic_msgs/msg/DiagnosticStatus"
ELBOW, WRIST, GRIPPER = 7, 10, 18
STAGE_MS = {"receive": 4, "wait": 6, "preprocess": 5, "prefix": 30, "denoise": 20, "postprocess": 1}
AGE_MS = 70  # of a chunk when it arrives
LATE_MS = 100  # the robot behind its commands
JOIN = 3  # the chunk that disagrees with the one before it


def at(ms: float, by: float = 0.0) -> np.ndarray:
    """Where the robot is wanted: the elbow swings, the wrist a little, and nothing else moves."""
    position = HOME.copy()
    position[ELBOW] += 0.3 * np.sin(ms / 500) + by
    position[WRIST] += 0.05 * np.sin(ms / 300)
    return position


def chunk(number: int) -> Chunk:
    """One every 500 ms, a second long; JOIN lies 0.2 rad beside the others, and all grippers jump."""
    points = np.array([at(500 * number + 100 * (k + 1), by=0.2 if number == JOIN else 0.0) for k in range(10)])
    points[:, GRIPPER] = number % 2
    return Chunk(T0 + 500 * number * MS, 100 * MS, points)


def episode(folder: Path) -> Path:
    """Five seconds: run at 0.5 s, a rejected chunk, limit events, holding from 4 s on."""
    with EpisodeWriter(folder, CONTRACT, task="reaching", instruction="pick", seed=1) as writer:
        topics = {name: STATUS for name in ("inference", "timing", "control")} | {"chunk": TRAJECTORY}
        for name, kind in topics.items():
            writer.add_topic(f"/activemimic/{name}", kind)
        messages = BagMessages(writer.typestore)
        rows: list[tuple[int, str, bytes]] = []

        def put(ms: float, topic: str, message: Any, kind: str) -> None:
            rows.append((T0 + int(ms * MS), topic, bytes(messages.serialize(message, kind))))

        def say(ms: float, name: str, **values: object) -> None:
            pairs = [{"key": key, "value": str(value)} for key, value in values.items()]
            put(ms, f"/activemimic/{name}", messages.make(STATUS, name="", values=pairs), STATUS)

        (source,), (sink,) = CONTRACT.state, CONTRACT.commands
        for ms in range(0, 5000, 10):
            for topic, message in encode_command(CONTRACT, at(ms), T0 + ms * MS, messages):
                put(ms, topic, message, sink.type)
            if ms % 30 == 0:
                state = encode_slots(source, at(ms - LATE_MS), T0 + ms * MS, messages)
                put(ms, source.topic, state, source.type)
        for number in range(9):
            made, arrived_ms = chunk(number), 500 * number + AGE_MS
            put(arrived_ms - 4, "/activemimic/chunk", write_trajectory(made, CONTRACT.slots, messages), TRAJECTORY)
            stages = {f"{stage}_ms": ms for stage, ms in STAGE_MS.items()}
            say(arrived_ms - 3, "inference", stamp=made.stamp_ns, inference_ms=55, **stages)
            if number:  # the first is rejected
                times = {"chunk_age_ms": AGE_MS, "first_command_ms": 5, "motion_ms": LATE_MS}
                say(arrived_ms + 120, "timing", stamp=made.stamp_ns, source="policy", **times)
        say(10, "control", mode="idle", source="policy")
        say(500, "control", mode="running", source="policy")
        for ms in (2000, 2100, 2200):
            say(ms, "control", kind="limited_motion", slot="left_arm_4", asked=1, sent=0.9)
        say(4000, "control", mode="holding", source="")
        for log_ns, topic, data in sorted(rows, key=lambda row: row[0]):
            writer.write(topic, data, log_ns)
        writer.close("success")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunTrace:
    return RunTrace(episode(tmp_path_factory.mktemp("run") / "reaching_000000"))


def test_modes_follow_each_other_from_the_start(run: RunTrace) -> None:
    assert run.modes[0] == ModeChange(0.0, "idle", "")  # a shadow moves nobody
    assert [(change.mode, change.source) for change in run.modes[1:]] == [("running", "policy"), ("holding", "")]
    assert [change.time_s for change in run.modes[1:]] == pytest.approx([0.5, 4.0])


def test_interventions_are_those_reported(run: RunTrace) -> None:
    assert [(event.kind, event.slot) for event in run.limit_events] == [("limited_motion", "left_arm_4")] * 3
    assert [event.time_s for event in run.limit_events] == pytest.approx([2.0, 2.1, 2.2])


def test_stages_are_those_of_every_chunk_and_a_rejected_one_ends_early(run: RunTrace) -> None:
    summary = {stage.stage: stage for stage in run.stages.summary()}
    assert summary["denoise"].count == 9
    assert summary["transport"].count == summary["motion"].count == 8
    assert summary["transport"].p50_ms == pytest.approx(AGE_MS - sum(STAGE_MS.values()))
    assert run.stages.total().p50_ms == pytest.approx(AGE_MS + 5 + LATE_MS)


def test_chunks_are_those_that_were_accepted_with_their_points_in_time(run: RunTrace) -> None:
    assert len(run.chunks) == 8
    first = run.chunks[0]
    assert first.arrived_s == pytest.approx(0.57)
    np.testing.assert_allclose(first.times_s, 0.5 + 0.1 * np.arange(1, 11))
    np.testing.assert_allclose(first.at(0.75), (chunk(1).positions[1] + chunk(1).positions[2]) / 2)


def test_the_sharpest_join_is_where_the_chunks_disagree_and_grippers_do_not_count(run: RunTrace) -> None:
    join = run.sharpest_join()
    assert join is not None
    former, latter, slot = join
    assert slot == ELBOW
    times_s = [former.arrived_s, latter.arrived_s]
    # Onto the odd one or back from it: they are equally far apart.
    assert times_s == pytest.approx([1.07, 1.57]) or times_s == pytest.approx([1.57, 2.07])


def test_the_slots_that_moved_most_come_first(run: RunTrace) -> None:
    assert list(slots_that_moved(run)[:2]) == [ELBOW, WRIST]


def test_the_picture_has_the_modes_colours_and_the_join(run: RunTrace, tmp_path: Path) -> None:
    out = tmp_path / "new" / "run.png"
    assert "8 chunks played" in write_trace(run.trial.reader.folder, out)
    picture = cv2.cvtColor(cv2.imread(str(out)), cv2.COLOR_BGR2RGB)

    def share(colour: str) -> float:
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        return float((np.abs(picture.astype(int) - wanted).max(axis=2) <= 2).mean())

    running, holding = share("#a6d8b5"), share("#f3d27a")
    assert running > 3 * holding > 0.001  # 3.5 s and 1 s
    assert share("#d1495b") > 1e-4  # commands and limit events
    assert share("#1b7f4b") > 1e-5  # the new chunk's points


def test_the_page_holds_the_picture_and_the_numbers(run: RunTrace, tmp_path: Path) -> None:
    write_trace(run.trial.reader.folder, tmp_path / "run.html")
    text = (tmp_path / "run.html").read_text()
    assert "data:image/png;base64," in text
    for words in (*STAGES.values(), "limited_motion", "left_arm_4", "holding", "100.0"):
        assert words in text


def test_another_kind_of_file_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"run\.pdf: expected a file that ends in \.png or \.html"):
        write_trace(tmp_path / "nowhere", tmp_path / "run.pdf")


def test_a_recording_without_a_policy_can_be_drawn_too(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path / "bare", CONTRACT, task="reaching", instruction="", seed=0) as writer:
        messages = BagMessages(writer.typestore)
        (source,) = CONTRACT.state
        for ms in (0, 1000):
            state = encode_slots(source, HOME, T0 + ms * MS, messages)
            writer.write(source.topic, messages.serialize(state, source.type), T0 + ms * MS)
        writer.close("unknown")
    assert "0 chunks played" in write_trace(tmp_path / "bare", tmp_path / "bare.png")
