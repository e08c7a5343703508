"""Messages become slots and images and back, whoever made them."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace as Msg

import numpy as np
import pytest
from activemimic_description.codec import (
    CodecError,
    check_image_header,
    decode_image,
    decode_slots,
    encode_command,
    encode_image,
    stamp_ns,
)
from activemimic_description.contract import CONTRACTS_FOLDER, CameraSource, load_contract, parse_contract
from activemimic_description.messages import BagMessages
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

SIM = load_contract("g1_sim")
HAL = load_contract("g1_hal")
MESSAGES = BagMessages()
ROBOT_VECTOR = arrays(np.float64, 20, elements=st.floats(-4, 4))


@lru_cache
def camera(encoding: str, width: int = 6, height: int = 4) -> CameraSource:
    text = (CONTRACTS_FOLDER / "g1_sim.yaml").read_text()
    kind = "CompressedImage" if encoding in ("jpeg", "png") else "Image"
    text = text.replace("encoding: jpeg", f"encoding: {encoding}", 1).replace("CompressedImage", kind, 1)
    text = text.replace("width: 224", f"width: {width}", 1).replace("height: 224", f"height: {height}", 1)
    return parse_contract(text, "test").cameras["head"]


@given(slots=ROBOT_VECTOR, stamp=st.integers(0, 2**62), contract=st.sampled_from([SIM, HAL]))
def test_a_command_decodes_to_the_slots_it_was_made_of(slots: np.ndarray, stamp: int, contract) -> None:
    decoded = np.full(20, np.nan)
    for sink, (topic, msg) in zip(contract.commands, encode_command(contract, slots, stamp, MESSAGES), strict=True):
        assert topic == sink.topic
        assert stamp_ns(msg) == stamp
        indices, values = decode_slots(sink, msg)
        decoded[indices] = values
    np.testing.assert_allclose(decoded, slots, atol=1e-12)


@given(slots=ROBOT_VECTOR, order=st.permutations(range(22)))
def test_joints_may_come_in_any_order_among_others(slots: np.ndarray, order: list[int]) -> None:
    ((_, msg),) = encode_command(SIM, slots, 0, MESSAGES)
    names = [*msg.name, "wheel_left", "wheel_right"]
    positions = np.append(msg.position, [7.0, np.nan])  # what is not asked for may be anything
    shuffled = Msg(name=[names[i] for i in order], position=positions[order])
    indices, values = decode_slots(SIM.state[0], shuffled)
    np.testing.assert_allclose(values[np.argsort(indices)], slots, atol=1e-12)


def test_an_open_gripper_is_zero_in_the_simulator_and_raw_35_on_the_robot() -> None:
    ((_, msg),) = encode_command(SIM, np.zeros(20), 0, MESSAGES)
    assert msg.position[msg.name.index("idx41_gripper_l_outer_joint1")] == pytest.approx(np.pi / 4)
    left = next(source for source in HAL.state if source.topic == "/hal/left_ee_data")
    for raw, slot in ((35.0, 0.0), (120.0, 1.0)):
        indices, values = decode_slots(left, Msg(end_state=[Msg(position=raw)]))
        assert indices.tolist() == [18]
        assert values == pytest.approx([slot])


def test_a_missing_joint_is_named_with_its_topic() -> None:
    ((_, msg),) = encode_command(SIM, np.zeros(20), 0, MESSAGES)
    msg.name[0] = "somebody_else"
    with pytest.raises(CodecError, match=r"/joint_states: joint 'idx11_head_joint1' is missing; found somebody_else"):
        decode_slots(SIM.state[0], msg)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused_on_both_ways(bad: float) -> None:
    slots = np.zeros(20)
    ((_, msg),) = encode_command(SIM, slots, 0, MESSAGES)
    msg.position[3] = bad
    with pytest.raises(CodecError, match=r"/joint_states: .*idx01_body_joint1"):
        decode_slots(SIM.state[0], msg)
    slots[3] = bad
    with pytest.raises(CodecError, match="waist_lift"):
        encode_command(SIM, slots, 0, MESSAGES)


def test_names_and_positions_must_match_in_number() -> None:
    with pytest.raises(CodecError, match=r"2 names \(1 different\) and 3 positions"):
        decode_slots(SIM.state[0], Msg(name=["a", "a"], position=[1.0, 2.0, 3.0]))


def test_a_missing_path_is_named_with_its_topic() -> None:
    neck = next(source for source in HAL.state if source.topic == "/hal/neck_state")
    with pytest.raises(CodecError, match=r"/hal/neck_state: motor_states\[1\]\.position is missing"):
        decode_slots(neck, Msg(motor_states=[Msg(position=0.1)]))


@given(image=arrays(np.uint8, (4, 6, 3)), encoding=st.sampled_from(["png", "rgb8", "bgr8", "rgba8"]))
def test_an_image_decodes_to_the_pixels_it_was_made_of(image: np.ndarray, encoding: str) -> None:
    msg = encode_image(camera(encoding), image, 5, MESSAGES)
    assert stamp_ns(msg) == 5
    decoded = decode_image(camera(encoding), msg)
    np.testing.assert_array_equal(decoded, image)
    assert decoded.flags.c_contiguous


def test_a_jpeg_keeps_its_colours_in_rgb_order() -> None:
    image = np.zeros((224, 224, 3), np.uint8)
    image[...] = (200, 100, 30)
    decoded = decode_image(SIM.cameras["head"], encode_image(SIM.cameras["head"], image, 0, MESSAGES))
    np.testing.assert_allclose(decoded, image, atol=4)


def test_rows_that_are_longer_than_the_image_are_cut() -> None:
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    padded = np.full((4, 32), 255, np.uint8)
    padded[:, :18] = image.reshape(4, 18)
    msg = Msg(encoding="rgb8", width=6, height=4, step=32, data=padded.reshape(-1))
    np.testing.assert_array_equal(decode_image(camera("rgb8"), msg), image)


def test_an_image_of_another_size_is_refused_by_naming_the_camera() -> None:
    other = camera("png", width=8, height=4)
    msg = encode_image(other, np.zeros((4, 8, 3), np.uint8), 0, MESSAGES)
    with pytest.raises(CodecError, match=r"camera head \(/camera/head_color/compressed\): expected 6x4 .* found 8x4"):
        decode_image(camera("png"), msg)


def test_an_image_of_another_encoding_is_refused() -> None:
    png = encode_image(camera("png"), np.zeros((4, 6, 3), np.uint8), 0, MESSAGES)
    with pytest.raises(CodecError, match=r"camera head .* expected jpeg, found png"):
        decode_image(camera("jpeg"), png)
    raw = encode_image(camera("rgb8"), np.zeros((4, 6, 3), np.uint8), 0, MESSAGES)
    with pytest.raises(CodecError, match=r"camera head .* expected encoding bgr8, found 'rgb8'"):
        decode_image(camera("bgr8"), raw)


def test_damaged_image_data_are_refused() -> None:
    jpeg = encode_image(camera("jpeg"), np.zeros((4, 6, 3), np.uint8), 0, MESSAGES)
    jpeg.data = jpeg.data[:20]
    with pytest.raises(CodecError, match=r"camera head .* damaged jpeg of 20 bytes"):
        decode_image(camera("jpeg"), jpeg)
    raw = encode_image(camera("rgb8"), np.zeros((4, 6, 3), np.uint8), 0, MESSAGES)
    raw.data = raw.data[:-1]
    with pytest.raises(CodecError, match=r"camera head .* found 71 bytes"):
        decode_image(camera("rgb8"), raw)


@pytest.mark.parametrize("encoding", ["jpeg", "png", "rgb8", "bgr8", "rgba8"])
def test_a_header_tells_the_size_without_decoding(encoding: str) -> None:
    message = encode_image(camera(encoding), np.zeros((4, 6, 3), np.uint8), 0, MESSAGES)
    check_image_header(camera(encoding), message)
    with pytest.raises(CodecError, match=r"camera head .* expected 8x4 pixels, found 6x4"):
        check_image_header(camera(encoding, width=8), message)


@pytest.mark.parametrize(
    ("sent", "wanted", "said"),
    [("png", "jpeg", "expected jpeg, found png"), ("rgb8", "bgr8", "expected encoding bgr8, found 'rgb8'")],
)
def test_a_header_tells_the_encoding(sent: str, wanted: str, said: str) -> None:
    message = encode_image(camera(sent), np.zeros((4, 6, 3), np.uint8), 0, MESSAGES)
    with pytest.raises(CodecError, match=said):
        check_image_header(camera(wanted), message)


@pytest.mark.parametrize("encoding", ["jpeg", "png"])
def test_a_header_that_ends_too_soon_is_left_to_the_decoder(encoding: str) -> None:
    message = encode_image(camera(encoding), np.zeros((4, 6, 3), np.uint8), 0, MESSAGES)
    message.data = message.data[:10]
    check_image_header(camera(encoding), message)
