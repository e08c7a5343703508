"""Others' recordings become rows that mean what ours mean, or are refused by file and key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from activemimic_data.dataset import Dataset, DatasetError
from activemimic_data.importers import AgibotOptions, EgomimicOptions, agibot_world, import_agibot_world
from activemimic_data.importers import import_egomimic as import_ego
from activemimic_description.contract import load_contract

h5py = pytest.importorskip("h5py", reason="importing needs h5py (optional)")

from foreign import write_agibot, write_egomimic  # noqa: E402
from synthetic import image_number  # noqa: E402

SMALL = AgibotOptions(contract="g1_sim")  # 224 pixels instead of 1280
EGO = EgomimicOptions("put the toy into the bowl")


def test_an_agibot_row_holds_the_frame_the_state_and_the_command_of_the_next_row(tmp_path: Path) -> None:
    write_agibot(tmp_path / "src")
    result = import_agibot_world(tmp_path / "src", tmp_path / "ds", 30, SMALL, workers=1)
    dataset = Dataset(tmp_path / "ds")
    assert (result.episodes, result.frames, dataset.fps) == (1, 39, 30)
    assert dataset.tasks == ["Pickup items in the supermarket"]
    assert dataset.fingerprint == load_contract("g1_sim").fingerprint()
    for number, camera in enumerate(("head", "left_wrist", "right_wrist")):
        seen = [image_number(image) for image in dataset.frames(camera, 0)]
        assert seen == [row + 1000 * number for row in range(39)]
    with h5py.File(tmp_path / "src/proprio_stats/327/648642/proprio_stats.h5") as file:
        arms, arm_commands = file["state/joint/position"][()], file["action/joint/position"][()]
        waist, grip = file["state/waist/position"][()], file["state/effector/position"][()]
        grip_commands = file["action/effector/position"][()]
        stamps = file["timestamp"][()]
    np.testing.assert_allclose(dataset.state[:, 4:18], arms[:39], atol=1e-6)
    np.testing.assert_allclose(dataset.action[:, 4:18], arm_commands[1:], atol=1e-6)
    np.testing.assert_allclose(dataset.state[:, 2:4], waist[:39], atol=1e-6)
    # The waist was never commanded: it stands where it is measured.
    np.testing.assert_allclose(dataset.action[:, 2:4], waist[1:], atol=1e-6)
    # 35 is open and 120 closed in the state; the command is a fraction already.
    np.testing.assert_allclose(dataset.state[:, 18], (grip[:39, 0] - 35) / 85, atol=1e-6)
    np.testing.assert_allclose(dataset.state[:, 19], 1.0)
    np.testing.assert_allclose(dataset.action[:, 18], grip_commands[1:, 0], atol=1e-6)
    np.testing.assert_array_equal(dataset.column("observation_stamp_ns"), stamps[:39])
    source = json.loads((tmp_path / "ds/meta/activemimic.json").read_text())["source"]
    assert (source["format"], source["gripper_open"], source["waist"]) == ("agibot-world", 35.0, "pitch-lift")


def test_commands_that_are_not_given_at_every_frame_hold_and_rows_before_the_first_are_masked(tmp_path: Path) -> None:
    index = np.array([4, 10, 11])
    head = np.array([[0.1, 0.2], [0.2, 0.3], [0.3, 0.4]])
    write_agibot(tmp_path / "src", action__head__position=head, action__head__index=index)
    import_agibot_world(tmp_path / "src", tmp_path / "ds", 30, SMALL, workers=1)
    dataset = Dataset(tmp_path / "ds")
    np.testing.assert_allclose(dataset.action[3:9, 0], 0.1, atol=1e-6)  # row 3: the command of frame 4
    np.testing.assert_allclose(dataset.action[9:11, 1], [0.3, 0.4], atol=1e-6)
    np.testing.assert_allclose(dataset.action[10:, 0], 0.3, atol=1e-6)
    assert np.flatnonzero(dataset.column("loss_weight") == 0).tolist() == [0, 1, 2]


def test_a_pause_splits_an_agibot_episode_and_a_slower_grid_takes_every_third_frame(tmp_path: Path) -> None:
    stamps = 1_700_000_000_000_000_000 + (np.arange(60) / 30 * 1e9).astype(np.int64)
    stamps[32:] += 2_000_000_000
    write_agibot(tmp_path / "src", frames=60, timestamp=stamps)
    result = import_agibot_world(tmp_path / "src", tmp_path / "ds", 10, SMALL, workers=1)
    dataset = Dataset(tmp_path / "ds")
    seen = [[image_number(image) for image in dataset.frames("head", e.index)] for e in dataset.episodes]
    assert seen == [list(range(0, 28, 3)), list(range(32, 57, 3))]
    assert [cut.reason for cut in result.cuts] == ["no frame for 2033 ms, limit 300 ms"]


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"state__joint__position": np.zeros((40, 34))}, {}, r"state/joint/position: expected shape \(40, 14\)"),
        ({"state__effector__position": np.zeros((40, 12))}, {}, r"state/effector/position: expected shape \(40, 2\)"),
        ({"state__head__position": None}, {}, "state/head/position: missing"),
        ({"action__waist__position": None}, {}, "action/waist/position: missing"),
        ({"action__head__position": np.zeros((41, 2))}, {}, "expected at most 40 rows, one a frame, found 41"),
        ({"action__head__position": np.zeros((3, 2))}, {}, r"action/head/index: expected shape \(3\)"),
        ({"state__head__position": np.full((40, 2), np.nan)}, {}, "expected numbers, found nan at "),
        ({"state__head__position": np.full((40, 2), 20.0)}, {}, "head_yaw goes from 20 to 20, its limits are"),
        ({}, {"gripper_action": "raw"}, "action/effector/position: left_gripper goes from -0.412"),
        ({"state__waist__position": np.full((40, 2), 20.0)}, {"lift_unit": "cm"}, "waist_pitch goes from 20 to 20"),
        ({"timestamp": np.arange(40)}, {}, "timestamp: expected ns at 30 frames per second"),
        ({"timestamp": np.zeros(40, np.int64)}, {}, "timestamp: expected growing stamps"),
    ],
)
def test_an_agibot_file_that_does_not_hold_what_it_should_is_named_with_its_key(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    write_agibot(tmp_path / "src", **changes)

    with pytest.raises(DatasetError, match=said) as caught:
        import_agibot_world(tmp_path / "src", tmp_path / "ds", 30, AgibotOptions("g1_sim", **options), workers=1)
    assert "proprio_stats/327/648642/proprio_stats.h5: " in str(caught.value)
    assert not list(tmp_path.glob("ds*"))


def test_units_and_orders_that_sources_disagree_on_are_options(tmp_path: Path) -> None:
    lift_cm_pitch = np.tile([30.0, 0.5], (40, 1))
    changes = {
        "state__waist__position": lift_cm_pitch,
        "state__head__position": np.tile([10.0, 20.0], (40, 1)),
        "action__head__position": np.tile([10.0, 20.0], (40, 1)),
        "action__effector__position": np.tile([35.0, 77.5], (40, 1)),
    }
    write_agibot(tmp_path / "src", **changes)
    options = AgibotOptions("g1_sim", gripper_action="raw", waist="lift-pitch", lift_unit="cm", head_unit="deg")
    import_agibot_world(tmp_path / "src", tmp_path / "ds", 30, options, workers=1)
    row = Dataset(tmp_path / "ds").state[0]
    np.testing.assert_allclose(row[:4], [np.deg2rad(10), np.deg2rad(20), 0.5, 0.3], atol=1e-6)
    np.testing.assert_allclose(Dataset(tmp_path / "ds").action[0, 18:], [0.0, 0.5], atol=1e-6)


def test_an_interrupted_import_goes_on_and_a_bad_episode_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_agibot(tmp_path / "src", episode=1)
    write_agibot(tmp_path / "src", episode=2)
    write_agibot(tmp_path / "src", episode=3)
    short = tmp_path / "src/observations/327/2/videos"
    (short / "head_color.mp4").write_bytes((short / "hand_left_color.mp4").read_bytes()[:3000])
    read: list[str] = []
    task = agibot_world._task

    def interrupted(source: Path, recording: Path) -> tuple[str, str]:
        read.append(recording.name)
        if len(read) == 3:
            raise KeyboardInterrupt
        return task(source, recording)

    monkeypatch.setattr(agibot_world, "_task", interrupted)
    with pytest.raises(KeyboardInterrupt):
        import_agibot_world(tmp_path / "src", tmp_path / "ds", 30, SMALL, workers=1)
    result = import_agibot_world(tmp_path / "src", tmp_path / "ds", 30, SMALL, workers=1)
    assert read == ["1", "2", "3", "2", "3"]
    (broken,) = result.broken
    assert broken.bag.name == "2"
    assert broken.reason.startswith("observations/327/2/videos/head_color.mp4: cannot be opened")
    assert [entry["bag"] for entry in Dataset(tmp_path / "ds").bags] == ["327/1", "327/3"]
    assert str(tmp_path) not in (tmp_path / "ds/meta/activemimic.json").read_text()


def test_a_persons_demonstrations_become_hands_in_the_camera_frame(tmp_path: Path) -> None:
    write_egomimic(tmp_path / "hand.hdf5")
    result = import_ego(tmp_path / "hand.hdf5", tmp_path / "ds", EGO, workers=1)
    dataset = Dataset(tmp_path / "ds")
    assert [bag.name for bag in result.used] == ["demo_0", "demo_2"]
    assert dataset.slots == [f"{side}_hand_{axis}" for side in ("left", "right") for axis in "xyz"]
    assert (dataset.cameras, dataset.interface["robot"]) == (["front"], "egomimic_human")
    assert [image_number(image) for image in dataset.frames("front", 1)] == list(range(200, 223))
    np.testing.assert_allclose(dataset.state[:23, 1], np.arange(23) / 100 + 1, atol=1e-6)
    np.testing.assert_allclose(dataset.action[:23, 1], np.arange(1, 24) / 100 + 1, atol=1e-6)
    chunk = dataset.column("action_chunk").reshape(-1, 10, 6)
    np.testing.assert_allclose(chunk[5, :, 0], np.arange(5, 15) / 100, atol=1e-6)
    source = json.loads((tmp_path / "ds/meta/activemimic.json").read_text())["source"]
    assert (source["split"], source["ignored"], source["horizon"]) == ("train", ["front_img_1_line"], 10)


def test_the_robots_demonstrations_hold_joints_before_hands(tmp_path: Path) -> None:
    write_egomimic(tmp_path / "robot.hdf5", robot=True, arms=1)
    options = EgomimicOptions("fold", fps=50, arm="left", image_order="bgr", split="all")
    import_ego(tmp_path / "robot.hdf5", tmp_path / "ds", options, workers=1, min_seconds=0.3)
    dataset = Dataset(tmp_path / "ds")
    assert len(dataset.episodes) == 3
    assert dataset.slots[5:8] == ["left_joint_6", "left_gripper", "left_hand_x"]
    assert (dataset.cameras, dataset.fps) == (["front", "right_wrist"], 50)
    np.testing.assert_allclose(dataset.action[0], [*(np.arange(7) + 0.52), *(np.arange(3) + 0.01)], atol=1e-6)
    first = next(iter(dataset.frames("front", 0)))
    np.testing.assert_allclose(first[40, 60], (0, 10, 20), atol=8)


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        ({"train": ["demo_0", "demo_1"], "valid": ["demo_1"]}, "mask: demo_1: in both train and valid"),
        ({"train": ["demo_9"], "valid": ["demo_1"]}, "mask/train: names demo_9, which is not among the 3"),
        ({"train": ["demo_0"]}, "mask/valid: missing"),
    ],
)
def test_splits_that_cannot_be_trusted_are_refused(tmp_path: Path, masks: dict, said: str) -> None:
    path = write_egomimic(tmp_path / "hand.hdf5", masks=masks)
    with pytest.raises(DatasetError, match=said) as caught:
        import_ego(path, tmp_path / "ds", EGO, workers=1)
    assert str(path) in str(caught.value)
    assert import_ego(path, tmp_path / "ds", EgomimicOptions("", split="all"), workers=1).episodes == 3


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("obs/ee_pose", np.zeros((24, 7)), "data/demo_0/obs/ee_pose: expected 3 numbers for one hand or 6 for two"),
        ("obs/front_img_1", np.zeros((24, 48, 64), np.uint8), r"front_img_1: expected shape \(any, any, any, 3\)"),
        ("obs/front_img_1", np.zeros((24, 48, 64, 3)), "data/demo_0/obs/front_img_1: expected uint8, found float64"),
        (
            "actions_xyz_act",
            np.zeros((23, 10, 6)),
            r"actions_xyz_act: expected shape \(24, 10, 6\), found \(23, 10, 6\)",
        ),
        ("obs/ee_pose", None, "data/demo_0/obs/ee_pose: missing; expected a dataset"),
    ],
)
def test_an_egomimic_file_that_does_not_hold_what_it_should_is_named_with_its_key(
    tmp_path: Path, key: str, value: np.ndarray | None, said: str
) -> None:
    path = write_egomimic(tmp_path / "hand.hdf5", demos=1, masks={"train": ["demo_0"], "valid": ["demo_0"]})
    with h5py.File(path, "r+") as file:
        del file[f"data/demo_0/{key}"]
        if value is not None:
            file[f"data/demo_0/{key}"] = value
    with pytest.raises(DatasetError, match=said):
        import_ego(path, tmp_path / "ds", EgomimicOptions("", split="all"), workers=1)


def test_what_is_no_source_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "no.hdf5").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"no\.hdf5: cannot be opened as HDF5"):
        import_ego(tmp_path / "no.hdf5", tmp_path / "ds", EGO)
    with pytest.raises(DatasetError, match="no episode; expected proprio_stats/<task>/<episode>"):
        import_agibot_world(tmp_path, tmp_path / "ds")
    with pytest.raises(DatasetError, match="fps 7: expected a divisor of 30"):
        import_agibot_world(tmp_path, tmp_path / "ds", fps=7)
    assert not list(tmp_path.glob("ds*"))
