"""When an episode may start, what it is called, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from activemimic_bringup.nodes.recording import STACK_TOPICS, Recording, RecordingRefusedError
from activemimic_description.contract import load_contract
from activemimic_training.bags import load_episode_info

CONTRACT = load_contract("g1_sim")
COMMANDS = [sink.topic for sink in CONTRACT.commands]
S = 10**9
T0 = 1000 * S


def recording(out: Path, min_free_gb: float = 0.0, seen: bool = True) -> Recording:
    result = Recording(CONTRACT, out, min_free_gb)
    if seen:
        for topic in CONTRACT.topics():
            result.on_message(topic, b"", T0, T0, 1)
    return result


def start(recording: Recording, now_ns: int = T0) -> Path:
    return recording.start("reaching", "pick", 3, now_ns, COMMANDS)


def test_episodes_are_numbered_on_after_those_that_are_there(tmp_path: Path) -> None:
    for name in ("reaching_000004", "reaching_000007.recording", "pouring_000009"):
        (tmp_path / name).mkdir()
    rec = recording(tmp_path)
    assert start(rec).name == "reaching_000008"
    rec.stop(True)
    assert start(rec).name == "reaching_000009"
    rec.discard()


@pytest.mark.parametrize(("success", "outcome"), [(True, "success"), (False, "failure"), (None, "unknown")])
def test_an_episode_keeps_what_was_said_about_it(tmp_path: Path, success: bool | None, outcome: str) -> None:
    rec = recording(tmp_path)
    start(rec)
    for k in range(10):
        rec.on_message("/joint_states", bytes(8), T0 + k * S, T0 + k * S, k + 5 + (k > 6))
    folder, info = rec.stop(success)
    assert info == load_episode_info(folder)
    assert (info.outcome, info.task, info.instruction, info.seed) == (outcome, "reaching", "pick", 3)
    assert (info.messages["/joint_states"], info.lost["/joint_states"]) == (10, 1)
    assert set(STACK_TOPICS) < set(info.messages)


def test_losses_are_not_guessed_on_a_topic_that_several_nodes_publish(tmp_path: Path) -> None:
    rec = recording(tmp_path)
    start(rec)
    for sequence in (5, 900, 6, 901):
        rec.on_message("/diagnostics", bytes(8), T0, T0, sequence)
    _, info = rec.stop(True)
    assert info.lost["/diagnostics"] is None
    assert info.messages_lost == 0


def test_nothing_is_recorded_before_every_camera_and_state_was_seen(tmp_path: Path) -> None:
    rec = recording(tmp_path, seen=False)
    with pytest.raises(RecordingRefusedError) as caught:
        start(rec)
    for source in (*CONTRACT.cameras.values(), *CONTRACT.state):
        assert f"({source.topic}): no message has arrived" in str(caught.value)


def test_a_camera_that_stopped_is_named_with_its_age(tmp_path: Path) -> None:
    rec = recording(tmp_path)
    for topic in CONTRACT.topics():
        if topic != CONTRACT.cameras["head"].topic:
            rec.on_message(topic, b"", T0 + 3 * S, T0, 2)
    with pytest.raises(RecordingRefusedError, match=r"camera head \(.*\): the last message arrived 3.0 s ago"):
        start(rec, T0 + 3 * S)


def test_without_a_controller_nothing_is_recorded(tmp_path: Path) -> None:
    with pytest.raises(RecordingRefusedError, match="is the controller running"):
        recording(tmp_path).start("reaching", "pick", 0, T0, published=[])


def test_a_nearly_full_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingRefusedError, match=r"GB free in .* expected at least 100000 GB"):
        start(recording(tmp_path, min_free_gb=1e5))


def test_only_one_episode_at_a_time(tmp_path: Path) -> None:
    rec = recording(tmp_path)
    with pytest.raises(RecordingRefusedError, match="not recording"):
        rec.stop(True)
    start(rec)
    with pytest.raises(RecordingRefusedError, match="already recording reaching_000000"):
        start(rec)
    rec.discard()
    with pytest.raises(RecordingRefusedError, match="not recording"):
        rec.discard()
    assert list(tmp_path.iterdir()) == []
