"""The observation at a tick is made of the newest messages that are not after it."""

from __future__ import annotations

import numpy as np
import pytest
from activemimic_description import observation as module
from activemimic_description.codec import encode_command, encode_image
from activemimic_description.contract import load_contract
from activemimic_description.messages import BagMessages
from activemimic_description.observation import ObservationBuffer, ObservationNotReady

CONTRACT = load_contract("g1_sim")
MESSAGES = BagMessages()
MS = 1_000_000
START = 1_700_000_000_000_000_000


def add_image(buffer: ObservationBuffer, name: str, stamp_ns: int, grey: int = 0, late_ns: int = 0) -> None:
    camera = CONTRACT.cameras[name]
    image = np.full((224, 224, 3), grey, np.uint8)
    buffer.add(camera.topic, encode_image(camera, image, stamp_ns, MESSAGES), stamp_ns + late_ns)


def add_state(buffer: ObservationBuffer, stamp_ns: int, value: float = 0.0) -> None:
    ((_, msg),) = encode_command(CONTRACT, np.full(20, value), stamp_ns, MESSAGES)
    buffer.add("/joint_states", msg, stamp_ns)


def filled(*stamps_ms: int) -> ObservationBuffer:
    buffer = ObservationBuffer(CONTRACT)
    for ms in stamps_ms:
        for name in CONTRACT.cameras:
            add_image(buffer, name, START + ms * MS, grey=min(ms, 255))
        add_state(buffer, START + ms * MS, value=ms / 1000)
    return buffer


def test_the_newest_message_not_after_the_tick_is_taken() -> None:
    seen = filled(0, 33, 66, 100).snapshot(START + 70 * MS)
    assert seen.stamp_ns == START + 70 * MS
    assert set(seen.images) == {"head", "left_wrist", "right_wrist"}
    assert all(abs(int(image[0, 0, 0]) - 66) <= 1 for image in seen.images.values())
    np.testing.assert_allclose(seen.state, 0.066)
    assert seen.ages_ns == {name: 4 * MS for name in ("head", "left_wrist", "right_wrist", "/joint_states")}


def test_a_message_that_overtakes_another_is_put_in_its_place() -> None:
    seen = filled(33, 0, 66).snapshot(START + 10 * MS)
    np.testing.assert_allclose(seen.state, 0.0)


def test_missing_sources_are_all_named() -> None:
    buffer = ObservationBuffer(CONTRACT)
    add_image(buffer, "head", START)
    with pytest.raises(ObservationNotReady) as caught:
        buffer.snapshot(START)
    assert "camera left_wrist (/camera/hand_left_color/compressed): no message yet" in str(caught.value)
    assert "state /joint_states: no message yet" in str(caught.value)
    assert "camera head" not in str(caught.value)
    assert buffer.newest_common_stamp_ns() is None


def test_a_source_that_stopped_is_named_with_age_and_limit() -> None:
    buffer = filled(0)
    for name in ("head", "right_wrist"):
        add_image(buffer, name, START + 300 * MS)
    add_state(buffer, START + 300 * MS)
    with pytest.raises(ObservationNotReady) as caught:
        buffer.snapshot(START + 300 * MS)
    assert str(caught.value) == (
        "camera left_wrist (/camera/hand_left_color/compressed): newest message is 300 ms old, limit 200 ms"
    )
    assert buffer.problems(START + 300 * MS) == [str(caught.value)]


def test_an_old_message_with_a_foreign_clock_asks_for_the_clocks() -> None:
    buffer = filled(0)
    add_image(buffer, "head", START + MS, late_ns=3000 * MS)
    assert "arrived 3000 ms after its stamp: are the clocks synchronised?" in buffer.problems(START + 3000 * MS)[0]


def test_the_common_stamp_is_that_of_the_slowest_source() -> None:
    buffer = filled(0, 33)
    add_state(buffer, START + 66 * MS)
    assert buffer.newest_common_stamp_ns() == START + 33 * MS


def test_only_what_is_looked_at_is_decoded_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    monkeypatch.setattr(
        module, "decode_image", lambda camera, msg: decoded.append(camera.name) or np.zeros((224, 224, 3), np.uint8)
    )
    buffer = filled(0, 33, 66, 100)
    assert decoded == []
    buffer.snapshot(START + 100 * MS)
    buffer.snapshot(START + 101 * MS)
    assert sorted(decoded) == ["head", "left_wrist", "right_wrist"]


def test_messages_older_than_the_history_are_forgotten_but_the_last_one_before_it_stays() -> None:
    buffer = filled(0, 33, 1500)
    with pytest.raises(ObservationNotReady, match="no message at or before the tick"):
        buffer.snapshot(START + 10 * MS)
    assert buffer.snapshot(START + 40 * MS).state[0] == pytest.approx(0.033)


def test_a_topic_that_is_not_in_the_contract_is_refused() -> None:
    with pytest.raises(KeyError, match="/elsewhere"):
        ObservationBuffer(CONTRACT).add("/elsewhere", None, 0)


def test_clearing_forgets_everything() -> None:
    buffer = filled(0)
    buffer.clear()
    assert buffer.newest_common_stamp_ns() is None
