"""The contract refuses whatever it does not know, and says where."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
from activemimic_description.contract import CONTRACTS_FOLDER, ContractError, load_contract, parse_contract
from activemimic_description.robot import load_robot

SIM = (CONTRACTS_FOLDER / "g1_sim.yaml").read_text()
HAL = (CONTRACTS_FOLDER / "g1_hal.yaml").read_text()


@pytest.mark.parametrize("name", ["g1_sim", "g1_hal"])
def test_a_shipped_contract_fills_every_slot_of_the_robot_once(name: str) -> None:
    contract = load_contract(name)
    slots = tuple(slot.name for slot in load_robot("g1").slots)
    assert contract.name == name
    assert contract.slots == slots
    for topics in (contract.state, contract.commands):
        filled = [index for topic in topics for index in topic.indices.tolist()]
        assert sorted(filled) == list(range(len(slots)))


def test_a_contract_is_loaded_by_path_and_keeps_its_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SIM)
    contract = load_contract(path)
    assert contract.text == SIM
    assert contract.cameras["left_wrist"].name == "left_wrist"
    assert set(contract.topics()) >= {"/joint_states", "/joint_command", "/camera/head_color/compressed"}


@pytest.mark.parametrize(
    ("old", "new", "field", "said"),
    [
        ("width: 224", "widht: 224", "cameras.head.widht", "unknown key"),
        ("    width: 224\n", "", "cameras.head.width", "missing"),
        ("width: 224", "width: '224'", "cameras.head.width", "found '224'"),
        ("encoding: jpeg", "encoding: jpg", "cameras.head.encoding", "found 'jpg'"),
        ("encoding: jpeg", "encoding: rgb8", "cameras.head", "expected type sensor_msgs/msg/Image"),
        ("reliability: reliable", "reliability: perhaps", "cameras.head.qos.reliability", "found 'perhaps'"),
        ("topic: /joint_states", "topic: joint_states", "state[0].topic", "found 'joint_states'"),
        ("topic: /joint_command", "topic: /joint_states", "commands[0].topic", "already used by state[0]"),
        ("slot: head_yaw", "slot: head_jaw", "state[0].fields[0].slot", "found 'head_jaw'"),
        ("slot: head_yaw", "slot: head_pitch", "state[0].fields[1].slot", "already filled by state[0].fields[0]"),
        ("slot: head_yaw", "slot: head_pitch", "state:", "no topic fills slot head_yaw"),
        ("name: idx11_head_joint1", "name: idx12_head_joint2", "state[0].fields[1]", "already used"),
        ("unit: rad}", "unit: m}", "state[0].fields[0].unit", "expected rad or deg for head_yaw, found m"),
        ("unit: rad}", "unit: furlong}", "state[0].fields[0].unit", "found 'furlong'"),
        ("unit: rad}", "unit: deg}", "state[0].fields[0].scale", "expected 0.0174532925"),
        ("scale: 1.2732395447351628", "scale: 0", "state[0].fields[18].scale", "greater than 0, found 0"),
        ("sign: -1", "sign: 2", "state[0].fields[18].sign", "found 2"),
        ("robot: g1", "robot: g9", "robot", "no robot 'g9'"),
        ("max_age_ms: 200", "max_age_ms: .inf", "cameras.head.max_age_ms", "found inf"),
    ],
)
def test_a_mistake_is_refused_by_naming_file_field_and_value(old: str, new: str, field: str, said: str) -> None:
    assert old in SIM
    with pytest.raises(ContractError) as caught:
        parse_contract(SIM.replace(old, new, 1), "robot.yaml")
    lines = [line for line in str(caught.value).splitlines() if line.startswith(f"robot.yaml: {field}")]
    assert any(said in line for line in lines), str(caught.value)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ContractError) as caught:
        parse_contract(SIM.replace("width: 224", "width: 0", 1).replace("rate_hz: 30", "rate_hz: -1", 1), "robot.yaml")
    assert "cameras.head.width" in str(caught.value)
    assert "robot.yaml: rate_hz" in str(caught.value)


def test_a_key_written_twice_is_refused_with_its_line() -> None:
    with pytest.raises(ContractError, match=r"robot\.yaml: line 5: key 'robot' appears twice"):
        parse_contract(SIM.replace("robot: g1", "robot: g1\nrobot: g1", 1), "robot.yaml")


def test_a_field_needs_a_name_or_a_path_that_suits_the_type() -> None:
    vendor = 'path: "motor_states[0].position", unit: rad'
    for new, said in [
        ("name: yaw, unit: rad", "only a sensor_msgs/msg/JointState has joint names"),
        ("unit: rad", "expected exactly one of name"),
        ('path: "motor states", unit: rad', "expected a path such as"),
    ]:
        with pytest.raises(ContractError, match=said):
            parse_contract(HAL.replace(vendor, new, 1), "hal.yaml")


def test_an_unknown_name_lists_the_shipped_contracts() -> None:
    with pytest.raises(ContractError, match="g1_hal, g1_sim"):
        load_contract("g1_simm")


def test_the_fingerprint_holds_what_a_policy_sees_and_nothing_else() -> None:
    contract = load_contract("g1_sim")
    renamed = parse_contract(
        SIM.replace("/joint_states", "/other/joint_states").replace("rate_hz: 30", "rate_hz: 60"), "x"
    )
    noisy = parse_contract(SIM.replace("max_age_ms: 200", "max_age_ms: 200\n    sensor_noise: true", 3), "x")
    resized = parse_contract(SIM.replace("width: 224", "width: 640", 1), "x")
    assert renamed.fingerprint() == noisy.fingerprint() == contract.fingerprint()
    assert resized.fingerprint() != contract.fingerprint()


def test_differences_are_sentences_about_both_sides() -> None:
    contract = load_contract("g1_sim")
    assert contract.differences(contract.interface()) == []
    other = contract.interface()
    other["cameras"]["head"]["width"] = 640
    del other["cameras"]["left_wrist"]
    other["slots"][3]["unit"] = "cm"
    other["slots"][4]["name"] = "left_arm_0"
    assert contract.differences(other) == [
        "camera head: width 640 in the checkpoint, 224 in the contract",
        "camera left_wrist: missing in the checkpoint, in the contract",
        "slot 3 (waist_lift): unit cm in the checkpoint, m in the contract",
        "slot 4: left_arm_0 in the checkpoint, left_arm_1 in the contract",
    ]


def test_the_example_of_the_reference_page_prints_what_the_page_says() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/contract.md").read_text()
    match = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert match is not None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(match[1], {})
    assert printed.getvalue().splitlines() == re.findall(r"^# (.+)$", match[1], re.MULTILINE)


@pytest.mark.parametrize(("name", "noise"), [("g1_hal", True), ("g1_sim", False)])
def test_the_robots_own_cameras_have_noise_and_the_simulated_ones_have_not(name: str, noise: bool) -> None:
    assert {camera.sensor_noise for camera in load_contract(name).cameras.values()} == {noise}
