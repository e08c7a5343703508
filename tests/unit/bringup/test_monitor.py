"""What `activemimic top` shows, from plain messages to the picture; without ROS."""

from __future__ import annotations

import math

import numpy as np
import pytest
from activemimic_bringup.monitor.view import BAR, view
from activemimic_bringup.monitor.watch import Counter, Event, Frame, Rate, Watch
from activemimic_description.latency_stages import OF_POLICY, STAGES, ChunkStages, StageSummary
from rich.console import Console

MS = 1_000_000
POLICY_MS = {"receive": 3, "wait": 9, "preprocess": 5, "prefix": 40, "denoise": 60, "postprocess": 1}


def inference(stamp_ns: int, **changed: float) -> dict[str, str]:
    return {"stamp": str(stamp_ns), **{f"{key}_ms": str(ms) for key, ms in (POLICY_MS | changed).items()}}


def timing(stamp_ns: int, age: float = 120.0, first: float = 4.0, motion: float = 70.0) -> dict[str, str]:
    return {
        "stamp": str(stamp_ns),
        "source": "policy",
        "chunk_age_ms": str(age),
        "first_command_ms": str(first),
        "motion_ms": str(motion),
    }


def shown(frame: Frame, width: int = 120) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(view(frame))
    return console.export_text()


@pytest.mark.parametrize("timing_first", [False, True])
def test_the_stages_of_a_chunk_are_put_together_by_its_stamp_in_any_order(timing_first: bool) -> None:
    stages = ChunkStages()
    both = [inference(7), timing(7)]
    for values in reversed(both) if timing_first else both:
        stages.add(values)
    row = stages.rows[7, "policy"]
    assert set(row) == set(STAGES)
    assert row["transport"] == pytest.approx(120 - sum(POLICY_MS.values()))
    assert stages.total().p50_ms == pytest.approx(120 + 4 + 70)


def test_a_teleoperators_chunk_of_the_same_stamp_is_another_chunk() -> None:
    stages = ChunkStages()
    stages.add(inference(7))
    stages.add({**timing(7, age=2.0), "source": "teleop"})
    assert "transport" not in stages.rows[7, "policy"]
    assert set(stages.rows[7, "teleop"]) == {"first_command", "motion"}


def test_what_did_not_happen_is_in_no_percentile() -> None:
    stages = ChunkStages()
    stages.add(timing(1, motion=math.nan))
    stages.add(timing(2, motion=50.0))
    by_stage = {summary.stage: summary for summary in stages.summary()}
    assert (by_stage["motion"].p50_ms, by_stage["motion"].count) == (50.0, 1)
    assert by_stage["first_command"].count == 2
    assert by_stage["prefix"].count == 0
    assert math.isnan(by_stage["prefix"].p50_ms)
    assert stages.total().count == 0  # a teleoperator's chunk has not come all the way


def test_percentiles_are_those_of_the_last_chunks() -> None:
    stages = ChunkStages(most=100)
    for k in range(250):
        stages.add(inference(k, prefix=float(k)))
    prefix = next(summary for summary in stages.summary() if summary.stage == "prefix")
    assert prefix.count == 100
    assert prefix.p50_ms == np.percentile(np.arange(150, 250), 50)
    assert prefix.p99_ms == np.percentile(np.arange(150, 250), 99)


def controller(mode: str = "running", **values: object) -> dict[str, str]:
    some = {"mode": mode, "reason": "playing a policy chunk", "source": "policy", "rate_hz": 99.8} | values
    return {key: str(value) for key, value in some.items()}


def test_the_rates_are_those_of_what_came_and_of_what_the_nodes_say() -> None:
    watch = Watch({"head": 30.0})
    for k in range(90):
        watch.on_image("head", 10 + k / 15)
    reports = controller(**{"/joint_states_rate_hz": 29.9, "/joint_states_drops": 4})
    watch.on_diagnostics("controller", "", reports, 15.9)
    watch.on_diagnostics("policy", "publishing chunks", {"head_drops": "7", "head_lag_ms": "12.4"}, 15.9)
    rates = {rate.name: rate for rate in watch.frame(16.0).rates}
    assert rates["head"].hz == pytest.approx(15.0)
    assert (rates["head"].expected_hz, rates["head"].note) == (30.0, "7 dropped, 12 ms late")
    assert (rates["/joint_states"].hz, rates["/joint_states"].note) == (29.9, "4 dropped")
    assert rates["controller"].hz == 99.8
    assert rates["policy chunks"].hz == 0.0
    assert watch.frame(30.0).rates[-2].hz == 0.0  # nothing has come for long


def test_counters_tell_what_they_gained_lately() -> None:
    watch = Watch()
    for second, limited in enumerate([5, 5, 8, 9, 9, 9, 9, 9, 9, 9]):
        watch.on_diagnostics("controller", "", controller(limited_lead=limited, holding_no_chunk=0), float(second))
        if second == 3:
            assert watch.frame(3.0).counters == (Counter("limited_lead", 9, 4),)
    assert watch.frame(9.0).counters == (Counter("limited_lead", 9, 0),)


def test_events_are_the_last_five_and_repeats_are_one() -> None:
    watch = Watch()
    watch.on_control("idle: nothing", {"mode": "idle", "source": ""}, 0.0)
    for second in range(3):
        values = {"kind": "limited_lead", "slot": "left_arm_1", "asked": "0.9", "sent": f"0.{second}"}
        watch.on_control("left_arm_1: the robot does not follow", values, 1.0 + second)
    watch.on_control("holding: the robot does not follow", {"mode": "holding", "source": ""}, 4.0)
    hold, limited, idle = watch.frame(6.0).events
    assert (hold.ago_s, hold.alarming) == (2.0, True)
    assert (limited.times, limited.ago_s) == (3, 3.0)
    assert "asked 0.9, sent 0.2" in limited.text
    assert not idle.alarming
    for k in range(9):
        watch.on_control(f"armed: {k}", {"mode": ("armed", "running")[k % 2]}, 10.0 + k)
    assert [event.text for event in watch.frame(20.0).events] == [f"armed: {k}" for k in (8, 7, 6, 5, 4)]


def test_rejected_chunks_are_told_though_they_are_only_counted() -> None:
    watch = Watch()
    watch.on_diagnostics("controller", "", controller(accepted_policy=3), 0.0)
    watch.on_diagnostics("controller", "", controller(accepted_policy=3, rejected_stale=2), 1.0)
    (event,) = watch.frame(1.5).events
    assert (event.text, event.times) == ("chunk rejected: stale", 2)


def test_what_was_rejected_before_the_view_was_opened_is_no_event() -> None:
    watch = Watch()
    watch.on_diagnostics("controller", "", controller(rejected_stale=40), 0.0)
    assert watch.frame(0.0).events == ()


def test_a_change_of_mode_is_shown_before_the_next_report_and_a_silent_node_is_named() -> None:
    watch = Watch()
    watch.on_diagnostics("controller", "", controller(), 0.0)
    watch.on_control("stopped: an operator said so", {"mode": "stopped", "source": ""}, 0.2)
    frame = watch.frame(0.3)
    assert (frame.mode, frame.reason, frame.source, frame.silent) == ("stopped", "an operator said so", "", ())
    assert watch.frame(8.0).silent == ("controller for 8 s",)


FULL = Frame(
    mode="holding",
    reason="left_arm_4 is 0.3 rad from its command",
    source="teleop",
    rates=(Rate("controller", 100.0), Rate("head", 12.0, 30.0, "7 dropped")),
    period_p99_ms=11.2,
    period_max_ms=19.9,
    deadline_misses=4,
    deadline_misses_grew=2,
    stages=tuple(StageSummary(stage, 10.0, 20.0, 80) for stage in STAGES),
    total=StageSummary("total", 90.0, 180.0, 80),
    counters=(Counter("limited_collision", 12, 3),),
    policy="publishing chunks",
    recorder="recording reaching_000004: 812 messages, 0 lost",
    recording=True,
    events=(Event(2.0, "holding: left_arm_4 is 0.3 rad from its command", alarming=True),),
)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_picture_shows_everything_at_any_width(width: int) -> None:
    text = shown(FULL, width)
    assert max(map(len, text.splitlines())) <= width
    for words in (
        "H O L D I N G",
        "moved by teleop",
        "left_arm_4 is 0.3 rad from its command",
        "head",
        "7 dropped",
        "4 (+2)",
        "limited_collision 12 (+3 in 5 s)",
        "recording reaching_000004",
        "all the way",
        "2 s ago",
        *STAGES.values(),
    ):
        assert words in text


def test_the_bars_are_as_long_as_their_stages() -> None:
    slow = StageSummary("denoise", 100.0, 100.0, 5)
    fast = StageSummary("prefix", 25.0, 50.0, 5)
    bars = [line for line in shown(Frame(mode="running", stages=(fast, slow))).splitlines() if "█" in line]
    assert [(bar.count("█"), bar.count("─")) for bar in bars] == [
        (round(BAR / 4), round(BAR / 2) - round(BAR / 4)),
        (BAR, 0),
    ]


def test_without_a_controller_the_picture_says_so() -> None:
    assert "NO CONTROLLER" in shown(Watch({"head": 30.0}).frame(0.0))


def test_every_stage_of_the_policy_has_a_title() -> None:
    assert set(OF_POLICY) < set(STAGES)
