"""When an episode may start, what it is called, and what becomes of it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from activemimic_bringup.nodes.recording import STACK_TOPICS, Recording, RecordingRefusedError
from activemimic_data.bags import EpisodeReader, load_episode_info
from activemimic_description.contract import load_contract

CONTRACT = load_contract("g1_sim")
COMMANDS = [sink.topic for sink in CONTRACT.commands]
S = 10**9
T0 = 1000 * S


def recording(
    out: Path, min_free_gb: float = 0.0, seen: bool = True, warn: Callable[[str], object] = print
) -> Recording:
    result = Recording(CONTRACT, out, min_free_gb, warn)
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


def test_nothing_is_written_or_deleted_outside_of_its_folder(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    rec = recording(out)
    for task in ("../elsewhere", "../../elsewhere/a", str(elsewhere), "a/b", ""):
        with pytest.raises(RecordingRefusedError, match="parameter task: expected a name"):
            rec.start(task, "pick", 3, T0, COMMANDS)
    with pytest.raises(RecordingRefusedError, match="parameter instruction: "):
        rec.start("reaching", "two\nlines", 3, T0, COMMANDS)
    assert list(tmp_path.iterdir()) == [elsewhere]
    folder = start(rec)
    out.rename(tmp_path / "moved")
    out.symlink_to(elsewhere)  # somebody puts another folder in its place
    (elsewhere / f"{folder.name}.recording").mkdir()
    (elsewhere / f"{folder.name}.recording" / "keep").touch()
    with pytest.raises(RecordingRefusedError, match="expected a folder in"):
        rec.discard()
    assert (elsewhere / f"{folder.name}.recording" / "keep").exists()


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


def test_a_topic_below_its_rate_is_warned_of_once_until_it_has_recovered(tmp_path: Path) -> None:
    said: list[str] = []
    rec = recording(tmp_path, warn=said.append)
    start(rec)
    slow = CONTRACT.cameras["head"].topic
    now_ns, told = T0, []
    for second in range(9):
        state = rec.look(now_ns)
        told.append(round(state.rates_hz.get(slow, -1)))
        for topic in CONTRACT.topics():
            for k in range(10 if topic == slow and 3 <= second < 5 else 30):
                rec.on_message(topic, b"", now_ns + k, now_ns, None)
        now_ns += S
    assert said == [f"{slow}: 20.0 Hz, expected 30 Hz (contract)"]
    assert told == [-1, 30, 30, 30, 20, 10, 20, 30, 30]
    rec.discard()


def test_a_full_disk_ends_the_episode_and_the_recorder_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    rec = recording(tmp_path, warn=said.append)
    folder = start(rec)
    rec.on_message("/joint_states", b"kept", T0, T0, 1)
    write, full = os.write, False

    def on_a_full_disk(fd: int, data: bytes) -> int:
        nonlocal full
        if not full and len(data) > 100:
            full = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    monkeypatch.setattr("os.write", on_a_full_disk)
    deadline = time.monotonic() + 5.0
    while rec.folder is not None:
        assert time.monotonic() < deadline
        rec.flush()
        rec.on_message("/joint_states", bytes(1000), T0 + S, T0, 2)
    (told,) = said
    assert "the disk is full; reaching_000000 was ended after" in told
    assert rec.look(T0 + S).trouble == told
    assert load_episode_info(folder).outcome == "unknown"
    assert next(EpisodeReader(folder).raw_messages(["/joint_states"])).data == b"kept"
    with pytest.raises(RecordingRefusedError, match="the disk is full"):
        rec.stop(True)  # whoever wants to close it learns what has become of it
    start(rec)
    assert rec.look(T0 + S).trouble == ""
    rec.discard()


def test_an_episode_ends_while_there_is_space_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    rec = recording(tmp_path, min_free_gb=1.0, warn=said.append)
    start(rec)
    assert rec.look(T0).folder is not None
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=90_000_000))
    assert rec.look(T0 + S).folder is None
    assert "0.09 GB free" in said[0]
    with pytest.raises(RecordingRefusedError, match=r"0\.1 GB free in .* expected at least 1 GB"):
        start(rec)
