"""A camera that hangs is told from one that stands still."""

import numpy as np
import pytest
from activemimic_description.contract import load_contract, parse_contract
from activemimic_description.frozen_cameras import FrozenCameras
from activemimic_description.robot import load_robot

CONTRACT = load_contract("g1_sim")
ROBOT = load_robot("g1")


def shown(frames, slot=None, seconds=1.0, contract=CONTRACT, cameras=None):
    """Problems after `seconds` in which the head camera shows `frames(k)` and a slot moves by 0.3 in all."""
    cameras, posture = FrozenCameras(contract, cameras), ROBOT.home.copy()
    topic = CONTRACT.cameras["head"].topic
    count = round(30 * seconds)
    for k in range(count):
        if slot is not None:
            posture = posture.copy()
            posture[ROBOT.slot_index[slot]] += 0.3 / count
        cameras.add_state(posture)
        cameras.add_image(topic, frames(k), k * 33_333_333)
    return cameras.problems()


def test_a_head_camera_that_repeats_its_frame_while_the_head_turns_is_named():
    (problem,) = shown(lambda k: b"the same", "head_yaw")
    assert "camera head: has shown one and the same frame for 1.0 s" in problem


@pytest.mark.parametrize(
    ("frames", "slot", "seconds"),
    [
        (lambda k: b"%d" % k, "head_yaw", 1.0),  # it shows something new each time
        (lambda k: b"the same", None, 5.0),  # nothing moves
        (lambda k: b"the same", "left_arm_4", 5.0),  # an arm does not carry the head
        (lambda k: b"the same", "head_yaw", 0.4),  # not yet
        (lambda k: b"%d" % (k // 10), "waist_lift", 2.0),  # slow, but alive
    ],
)
def test_a_camera_that_does_not_hang_is_not(frames, slot, seconds):
    assert shown(frames, slot, seconds) == []


def test_after_a_reset_it_begins_anew():
    cameras = FrozenCameras(CONTRACT)
    topic = CONTRACT.cameras["head"].topic
    for k in range(30):
        cameras.add_state(ROBOT.home + 0.01 * k)
        cameras.add_image(topic, np.zeros(10, np.uint8), k * 33_333_333)
    assert cameras.problems()
    cameras.clear()
    assert cameras.problems() == []


NOISY = parse_contract(CONTRACT.text.replace("max_age_ms: 200", "max_age_ms: 200\n    sensor_noise: true", 3), "noisy")


@pytest.mark.parametrize(("seconds", "hangs"), [(0.4, False), (1.0, True)])
def test_where_a_sensor_has_noise_the_same_bytes_are_enough(seconds, hangs):
    problems = shown(lambda k: b"the same", seconds=seconds, contract=NOISY)
    assert bool(problems) == hangs
    assert problems == [] or "camera head: has shown one and the same frame for 1.0 s under new stamps" in problems[0]
    assert shown(lambda k: b"the same" if k < 29 else b"another", contract=NOISY) == []


def test_only_the_cameras_that_are_asked_for_are_judged():
    assert shown(lambda k: b"the same", contract=NOISY, cameras=["left_wrist"]) == []
