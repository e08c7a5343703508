"""Whether the policy can infer now: told at once, by a clock that nobody can set, of the cameras that it looks at."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from activemimic_description.codec import encode_image, encode_slots
from activemimic_description.contract import Contract, load_contract, parse_contract
from activemimic_description.liveness import BEAT_S
from activemimic_description.messages import BagMessages
from activemimic_policy.policy_runner import PolicyRunner
from policy_runner_rig import HOME, MS, T0, FakePolicy

SIM = load_contract("g1_sim")
NOISY = parse_contract(SIM.text.replace("max_age_ms: 200", "max_age_ms: 200\n    sensor_noise: true", 3), "noisy")
BEAT_MS = round(1e3 * BEAT_S)


class Bench:
    """Sources at 30 Hz before a runner whose heart beats, on two clocks: that of the stamps and a steady one."""

    def __init__(self, contract: Contract = SIM, policy: FakePolicy | None = None) -> None:
        self.contract = contract
        self.policy = policy or FakePolicy()
        self.planner = PolicyRunner(self.policy, contract, 0.5)
        self.steady_ms = 0
        self.ahead_ms: dict[str, int] = {}  # by source: how far its stamps are before the clock
        self.silent: set[str] = set()
        self.repeating: set[str] = set()
        self.small: set[str] = set()

    def now_ns(self) -> int:
        return T0 + self.steady_ms * MS

    def run(self, ms: int) -> list[tuple[int, str]]:
        """Let time pass; (ms, problem) of every beat on the way that found one."""
        found = []
        for _ in range(ms):
            self.steady_ms += 1
            if self.steady_ms % 33 == 0:
                self.publish()
            if self.steady_ms % BEAT_MS == 0 and (problem := self.planner.beat(self.steady_ms * MS)):
                found.append((self.steady_ms, problem))
        return found

    def stand_still(self, ms: int) -> None:
        """This process does not run: no beat, and what the sources said meanwhile waits to be taken."""
        self.steady_ms += ms

    def publish(self) -> None:
        messages = BagMessages()
        for name, camera in self.contract.cameras.items():
            if name in self.silent:
                continue
            shade = 0 if name in self.repeating else self.steady_ms % 251
            if name in self.small:
                camera = camera.model_copy(update={"width": 112, "height": 112})
            image = np.full((camera.height, camera.width, 3), shade, np.uint8)
            message = encode_image(camera, image, self.stamp_ns(name), messages)
            self.planner.add(camera.topic, message, self.now_ns())
        (source,) = self.contract.state
        if "state" not in self.silent:
            state: Any = encode_slots(source, HOME, self.stamp_ns("state"), messages)
            self.planner.add(source.topic, state, self.now_ns())

    def stamp_ns(self, source: str) -> int:
        return self.now_ns() + self.ahead_ms.get(source, 0) * MS


def test_at_the_beginning_every_source_is_named_and_soon_none() -> None:
    bench = Bench()
    problem = bench.planner.beat(0)
    assert all(f"({topic})" in problem or f"state {topic}" in problem for topic in bench.planner.topics)
    assert bench.run(1000)[1:] == []


@pytest.mark.parametrize("source", ["head", "state"])
@pytest.mark.parametrize("ahead_ms", [0, 90, 5000])
def test_a_source_that_stops_is_told_within_a_beat_of_its_limit_whatever_its_stamps_say(
    source: str, ahead_ms: int
) -> None:
    bench = Bench()
    bench.ahead_ms[source] = ahead_ms
    bench.run(1000)
    bench.silent.add(source)
    last_ms = bench.steady_ms // 33 * 33
    (told_ms, problem), *_ = bench.run(1000)
    assert told_ms - last_ms <= 200 + BEAT_MS
    assert "no newer message for" in problem
    assert "limit 200 ms" in problem
    bench.silent.clear()
    assert bench.run(1000)[2:] == []


def test_a_source_that_comes_late_is_told_while_it_speaks() -> None:
    bench = Bench()
    bench.run(1000)
    bench.ahead_ms["left_wrist"] = -250
    bench.run(300)  # until its stamps are newer again
    assert "left_wrist (/camera/hand_left_color/compressed): comes 250 ms after its stamp" in bench.run(50)[0][1]


def test_messages_that_waited_while_this_process_stood_still_are_no_late_source() -> None:
    bench = Bench()
    bench.run(1000)
    for _ in range(5):
        bench.ahead_ms = dict.fromkeys((*SIM.cameras, "state"), -300)
        bench.stand_still(400)
        for _ in range(9):
            bench.publish()
            assert bench.planner.beat(bench.steady_ms * MS) == ""
            bench.ahead_ms = {source: ms + 33 for source, ms in bench.ahead_ms.items()}
        bench.ahead_ms.clear()
        assert bench.run(500) == []


def test_the_same_stamp_again_and_again_is_silence() -> None:
    bench = Bench()
    bench.run(1000)
    bench.ahead_ms["head"] = -33
    for _ in range(10):
        bench.ahead_ms["head"] -= 33
        bench.run(33)
    assert "camera head" in bench.planner.problem


def test_what_this_process_stood_still_is_not_the_sources_silence() -> None:
    bench = Bench()
    bench.run(1000)
    for _ in range(20):
        bench.stand_still(500)
        assert bench.planner.beat(bench.steady_ms * MS) == ""
        bench.run(50)
    bench.silent.add("head")
    bench.stand_still(500)
    assert "camera head" in bench.run(300)[0][1]


def test_an_image_of_another_size_is_told_by_the_next_beat_and_forgotten_with_a_good_one() -> None:
    bench = Bench()
    bench.run(1000)
    bench.small.add("right_wrist")
    bench.run(33)
    (_, problem), *_ = bench.run(BEAT_MS)
    assert "camera right_wrist" in problem
    assert "expected 224x224 pixels, found 112x112" in problem
    bench.small.clear()
    bench.run(33)
    assert bench.run(1000) == []


@pytest.mark.parametrize(("contract", "told"), [(NOISY, True), (SIM, False)])
def test_a_frame_repeated_under_new_stamps_is_a_fault_where_a_sensor_has_noise(contract: Contract, told: bool) -> None:
    bench = Bench(contract)
    bench.run(1000)
    bench.repeating.add("head")
    bench.run(500)
    problems = bench.run(200)
    assert bool(problems) == told
    assert (bench.planner.infer("pick", bench.now_ns()) is None) == told
    if told:
        assert "camera head: has shown one and the same frame for" in problems[-1][1]
        assert "restart its driver; it goes on by itself with the next new frame" in problems[-1][1]
    bench.repeating.clear()
    bench.run(33)
    assert bench.run(100) == []
    assert bench.planner.infer("pick", bench.now_ns()) is not None


def test_a_camera_that_the_policy_does_not_look_at_may_do_what_it_likes() -> None:
    bench = Bench(NOISY, FakePolicy(cameras=("head", "right_wrist")))
    bench.silent.add("left_wrist")
    bench.run(1000)
    assert bench.planner.infer("pick", bench.now_ns()) is not None
    bench.silent.clear()
    bench.repeating.add("left_wrist")
    bench.small.add("left_wrist")
    assert bench.run(1000) == []
    assert bench.planner.infer("pick", bench.now_ns()) is not None
    assert bench.planner.streams["left_wrist"].lag_ms == 0.0


def test_an_inference_that_hangs_is_told() -> None:
    bench, entered, release = Bench(), threading.Event(), threading.Event()
    answer = bench.policy.infer

    def hang(*arguments: Any, **options: Any) -> np.ndarray:
        entered.set()
        release.wait()
        return answer(*arguments, **options)

    bench.policy.infer = hang  # type: ignore[method-assign]
    bench.run(1000)
    thread = threading.Thread(target=bench.planner.infer, args=("pick", bench.now_ns()))
    thread.start()
    entered.wait()
    assert bench.run(950) == []
    (_, problem), *_ = bench.run(200)
    assert problem.startswith("inference has been running for 1.")
    release.set()
    thread.join()
    assert bench.run(100) == []
    assert bench.planner.inferring_s == 0.0


def test_a_refusal_that_lasts_is_told_and_a_single_one_is_not() -> None:
    bench = Bench()
    bench.run(1000)
    assert bench.planner.infer("", bench.now_ns()) is None
    assert bench.run(100) == []
    assert bench.planner.infer("pick", bench.now_ns()) is not None
    assert bench.run(1000) == []
    for _ in range(10):
        assert bench.planner.infer("", bench.now_ns()) is None
        problems = bench.run(50)
    assert problems[-1][1] == "an instruction without words"


def test_when_the_clock_of_the_stamps_is_set_back_it_infers_from_what_comes_then() -> None:
    bench = Bench()
    bench.run(1000)
    assert bench.planner.infer("pick", bench.now_ns()) is not None
    for source in (*SIM.cameras, "state"):
        bench.ahead_ms[source] = -3_600_000
    bench.run(100)
    inference = bench.planner.infer("pick", bench.now_ns() - 3_600_000 * MS)
    assert inference is not None
    assert inference.chunk.stamp_ns < T0
