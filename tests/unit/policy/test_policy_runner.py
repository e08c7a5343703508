"""When the policy is asked, from what, and why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from activemimic_description.codec import encode_image, encode_slots
from activemimic_description.messages import BagMessages
from activemimic_policy.policy_runner import PolicyRunner
from policy_runner_rig import CONTRACT, HOME, MS, T0, FakePolicy


def runner(max_age_s: float = 0.5) -> PolicyRunner:
    return PolicyRunner(FakePolicy(), CONTRACT, max_age_s)


def feed(runner: PolicyRunner, stamp_ns: int, without: str = "", state: np.ndarray = HOME, frozen: str = "") -> None:
    messages = BagMessages()
    for name, camera in CONTRACT.cameras.items():
        if name != without:
            shade = 0 if name == frozen else stamp_ns // MS % 251
            image = np.full((camera.height, camera.width, 3), shade, np.uint8)
            runner.add(camera.topic, encode_image(camera, image, stamp_ns, messages), stamp_ns)
    (source,) = CONTRACT.state
    if without != "state":
        message: Any = encode_slots(source, state, stamp_ns, messages)
        runner.add(source.topic, message, stamp_ns)


def test_a_chunk_bears_the_stamp_of_the_newest_instant_that_every_source_has_reached() -> None:
    planner = runner()
    feed(planner, T0)
    feed(planner, T0 + 33 * MS, without="head")
    inference = planner.infer("pick", T0 + 40 * MS)
    assert inference is not None
    assert (inference.chunk.stamp_ns, inference.chunk.step_ns) == (T0, 100 * MS)
    np.testing.assert_allclose(inference.chunk.positions, np.tile(HOME, (16, 1)))
    assert inference.observation_age_ms == pytest.approx(40.0)
    assert planner.refusal == ""


def test_before_anything_has_arrived_every_source_is_named() -> None:
    planner = runner()
    assert planner.infer("pick", T0) is None
    for topic in planner.topics:
        assert topic in planner.refusal
    assert planner.refusals == 1


@pytest.mark.parametrize("source", ["left_wrist", "state"])
def test_a_source_that_stops_is_named_and_its_return_is_enough(source: str) -> None:
    planner = runner()
    for k in range(15):
        feed(planner, T0 + k * 33 * MS, without=source if k > 3 else "")
    now_ns = T0 + 15 * 33 * MS
    assert planner.infer("pick", now_ns) is None
    topic = CONTRACT.state[0].topic if source == "state" else CONTRACT.cameras[source].topic
    assert topic in planner.refusal
    assert "limit 200 ms" in planner.refusal
    feed(planner, now_ns)
    assert planner.infer("pick", now_ns + MS) is not None
    assert planner.refusal == ""


def test_one_observation_is_answered_once() -> None:
    planner = runner()
    feed(planner, T0)
    assert planner.infer("pick", T0 + MS) is not None
    assert planner.infer("pick", T0 + 2 * MS) is None
    assert (planner.refusals, planner.chunks) == (0, 1)


def test_after_a_restart_only_newer_observations_count() -> None:
    planner = runner()
    feed(planner, T0)
    planner.restart(T0 + 5 * MS)
    assert planner.infer("pick", T0 + 6 * MS) is None
    feed(planner, T0 + 33 * MS)
    assert planner.infer("pick", T0 + 34 * MS) is not None


def test_what_the_policy_refuses_is_the_reason_given() -> None:
    planner = runner()
    feed(planner, T0)
    assert planner.infer("", T0 + MS) is None
    assert planner.refusal == "an instruction without words"


def test_a_damaged_image_is_a_refusal_and_not_the_end() -> None:
    planner = runner()
    feed(planner, T0)
    camera = CONTRACT.cameras["head"]
    broken = encode_image(camera, np.zeros((224, 224, 3), np.uint8), T0 + MS, BagMessages())
    broken.data = broken.data[:0]
    planner.add(camera.topic, broken, T0 + MS)
    feed(planner, T0 + MS, without="head")
    assert planner.infer("pick", T0 + 2 * MS) is None
    assert camera.topic in planner.refusal


def infer_and_send(planner: PolicyRunner, stamp_ns: int, delay_ms: int) -> None:
    feed(planner, stamp_ns)
    inference = planner.infer("pick", stamp_ns + MS)
    assert inference is not None
    planner.sent(inference.chunk, stamp_ns + delay_ms * MS)


def test_the_policy_is_given_the_chunk_that_was_sent_before_and_none_after_a_restart() -> None:
    policy = FakePolicy(max_delay_steps=4)
    planner = PolicyRunner(policy, CONTRACT, 0.5)
    infer_and_send(planner, T0, 900)
    infer_and_send(planner, T0 + 800 * MS, 130)
    infer_and_send(planner, T0 + 1600 * MS, 130)
    planner.restart(T0 + 2000 * MS)
    infer_and_send(planner, T0 + 2400 * MS, 130)
    first, second, third, fourth = policy.in_flight
    assert first == (None, False)
    assert second[0] is not None
    assert third[0] is not None
    assert third[0].targets.shape == (8, 20)
    assert (second[0].delay, third[0].delay) == (4, 2)  # the first inference, a cold one, says nothing of the next
    assert fourth == (None, False)


def test_a_policy_is_guided_when_it_is_asked_to_be() -> None:
    policy = FakePolicy()
    planner = PolicyRunner(policy, CONTRACT, 0.5, rtc_mode="rtc_guided")
    infer_and_send(planner, T0, 60)
    infer_and_send(planner, T0 + 400 * MS, 60)
    (first, guided_first), (second, guided) = policy.in_flight
    assert (first, guided_first) == (None, False)
    assert second is not None
    assert guided


def test_a_chunk_from_before_a_restart_that_is_sent_after_it_is_not_gone_on_from() -> None:
    policy = FakePolicy(max_delay_steps=4)
    planner = PolicyRunner(policy, CONTRACT, 0.5)
    feed(planner, T0)
    inference = planner.infer("pick", T0 + MS)
    assert inference is not None
    planner.restart(T0 + 50 * MS)
    planner.sent(inference.chunk, T0 + 60 * MS)
    infer_and_send(planner, T0 + 400 * MS, 60)
    assert policy.in_flight[-1] == (None, False)


def test_the_first_inference_does_not_enter_the_statistics() -> None:
    planner = runner()
    for k in range(3):
        infer_and_send(planner, T0 + k * 100 * MS, 20)
    assert (planner.chunks, len(planner.inference_ms)) == (3, 2)
    planner.restart(T0 + 250 * MS)
    infer_and_send(planner, T0 + 300 * MS, 20)
    assert (planner.chunks, len(planner.inference_ms)) == (4, 2)


def test_the_stages_tell_where_the_time_from_the_stamp_to_the_answer_went() -> None:
    planner = runner()
    feed(planner, T0)
    (source,) = CONTRACT.state
    late: Any = encode_slots(source, HOME, T0, BagMessages())
    planner.add(source.topic, late, T0 + 12 * MS)  # the last of what the observation is made of
    inference = planner.infer("pick", T0 + 40 * MS)
    assert inference is not None
    stages = inference.stages_ms
    assert list(stages) == ["receive_ms", "wait_ms", "preprocess_ms", "prefix_ms", "denoise_ms"]
    assert (stages["receive_ms"], stages["wait_ms"]) == (12.0, 28.0)
    assert (stages["prefix_ms"], stages["denoise_ms"]) == (20.0, 30.0)
    assert stages["preprocess_ms"] > 1.0  # and the images were decoded


def test_what_arrives_while_the_observation_is_taken_has_not_waited() -> None:
    planner = runner()
    feed(planner, T0)
    (source,) = CONTRACT.state
    late: Any = encode_slots(source, HOME, T0, BagMessages())
    planner.add(source.topic, late, T0 + 41 * MS)
    inference = planner.infer("pick", T0 + 40 * MS)
    assert inference is not None
    assert (inference.stages_ms["receive_ms"], inference.stages_ms["wait_ms"]) == (40.0, 0.0)


def test_every_camera_and_state_is_watched_by_its_name() -> None:
    planner = runner()
    feed(planner, T0)
    feed(planner, T0 + 100 * MS)
    assert set(planner.streams) == {*CONTRACT.cameras, "/joint_states"}
    assert {stream.drops for stream in planner.streams.values()} == {2}
