"""What the keys of `record --manual` ask of the recorder, and what is seen while it records."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest
from activemimic_bringup.monitor.recorder_view import recorder_view
from activemimic_bringup.nodes.manual_recording import ManualRecording
from activemimic_rollout.trials.trial_series import TrialError
from rich.console import Console


class FakeRecorder:
    """Answers as the recorder does, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.seed = -1
        self.recording = False
        self.silent = 0.5
        self.head_hz = 30.0
        self.trouble = ""

    def set_parameters(self, node: str, values: Mapping[str, Any]) -> None:
        assert node == "/recorder"
        self.seed = values["seed"]

    def trigger(self, service: str) -> str:
        self.calls.append(f"{service} {self.seed}")
        if self.recording == (service == "/recorder/start"):
            raise TrialError(f"{service}: refused")
        self.recording = not self.recording
        return "/out/reaching_000004"

    def set_bool(self, service: str, data: bool) -> str:
        self.calls.append(f"{service} {data}")
        self.recording = False
        return "closed"

    def diagnostics(self) -> dict[str, dict[str, str]]:
        values = {
            "recording": str(self.recording),
            "episode": "reaching_000004" if self.recording else "",
            "duration_s": "60.000",
            "size_mb": "600.000",
            "lost": "2",
            "free_gb": "100.000",
            "out": "/out",
            "trouble": self.trouble,
            "/head_rate_hz": f"{self.head_hz:.3f}",
            "/head_contract_hz": "30.000",
        }
        return {"recorder": values}

    def silent_s(self, node: str) -> float:
        return self.silent


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


@pytest.fixture
def manual(recorder: FakeRecorder) -> ManualRecording:
    return ManualRecording(recorder, "reaching", first_seed=7)


def shown(manual: ManualRecording, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(recorder_view(manual.frame()))
    return console.file.getvalue()  # type: ignore[attr-defined]


def press(manual: ManualRecording, keys: str) -> None:
    for key in keys:
        assert manual.press(key)


def test_seeds_count_the_episodes_that_are_kept(manual: ManualRecording, recorder: FakeRecorder) -> None:
    press(manual, "sysnsdsr")
    starts = [call for call in recorder.calls if "start" in call]
    assert [start.split()[1] for start in starts] == ["7", "8", "9", "9", "9"]
    assert [call for call in recorder.calls if "stop" in call] == ["/recorder/stop True", "/recorder/stop False"]


def test_redo_discards_and_starts_anew_with_the_same_seed(manual: ManualRecording, recorder: FakeRecorder) -> None:
    press(manual, "sr")
    assert recorder.calls == ["/recorder/start 7", "/recorder/discard 7", "/recorder/start 7"]
    assert recorder.recording


def test_a_refusal_is_shown_and_the_loop_goes_on(manual: ManualRecording) -> None:
    press(manual, "d")
    assert "/recorder/discard: refused" in shown(manual)


def test_nobody_leaves_in_the_middle_of_an_episode_unasked(manual: ManualRecording, recorder: FakeRecorder) -> None:
    press(manual, "sq")
    assert "is being recorded: press y, n or d first" in shown(manual)
    recorder.silent = 60.0  # a recorder that died keeps nobody
    assert not manual.press("q")


def test_the_view_tells_rates_size_losses_and_the_time_until_the_disk_is_full(
    manual: ManualRecording, recorder: FakeRecorder
) -> None:
    assert "idle" in shown(manual)
    press(manual, "s")
    text = shown(manual)
    assert "R E C O R D I N G    reaching_000004   60 s   600.0 MB   2 lost" in text
    assert "100.0 GB free, 167 min at this rate in /out" in text
    assert "too slow" not in text


def test_a_topic_below_its_rate_is_said_once_each_time(manual: ManualRecording, recorder: FakeRecorder) -> None:
    press(manual, "s")
    for recorder.head_hz in (30.0, 12.0, 11.0, 29.0, 10.0):
        text = shown(manual)
    assert text.count("expected 30 Hz") == 2
    assert "/head: 12.0 Hz" in text
    assert "too slow" in text


def test_an_episode_that_was_ended_by_a_full_disk_is_told(manual: ManualRecording, recorder: FakeRecorder) -> None:
    press(manual, "s")
    recorder.recording, recorder.trouble = False, "the disk is full; reaching_000004 was ended"
    assert shown(manual).count("the disk is full") == 1
    assert shown(manual).count("the disk is full") == 1


def test_a_recorder_that_is_gone_is_told(manual: ManualRecording, recorder: FakeRecorder) -> None:
    recorder.silent = 5.0
    assert "NO RECORDER" in shown(manual)
