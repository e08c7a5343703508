"""An episode comes back as it was written, and a damaged one says which file is damaged."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from activemimic_data.bags import BagError, EpisodeReader, EpisodeWriter, find_episodes, load_episode_info
from activemimic_description.codec import decode_slots
from activemimic_description.contract import Contract, Qos, load_contract
from activemimic_description.messages import BagMessages, header
from mcap.exceptions import McapError
from mcap.records import Message
from mcap.stream_reader import StreamReader
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

T0 = 1_700_000_000_000_000_000


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def text(data: str) -> bytes:
    messages = BagMessages()
    return messages.serialize(messages.make("std_msgs/msg/String", data=data), "std_msgs/msg/String")


@pytest.fixture
def writer(tmp_path: Path, contract: Contract) -> EpisodeWriter:
    writer = EpisodeWriter(tmp_path / "one", contract, task="reaching", instruction="grasp the cube", seed=3)
    writer.add_topic("/said", "std_msgs/msg/String")
    return writer


def test_messages_come_back_with_times_and_sequence_numbers_in_the_order_of_arrival(writer: EpisodeWriter) -> None:
    writer.write("/said", text("second"), T0 + 20, publish_time_ns=T0 + 11, sequence=2)
    writer.write("/said", text("first"), T0 + 10, publish_time_ns=T0 + 12, sequence=1)
    writer.close("success")
    messages = list(EpisodeReader(writer.folder).messages(["/said"]))
    assert [(m.msg.data, m.log_time_ns, m.publish_time_ns, m.sequence) for m in messages] == [
        ("first", T0 + 10, T0 + 12, 1),
        ("second", T0 + 20, T0 + 11, 2),
    ]
    assert [m.data for m in EpisodeReader(writer.folder).raw_messages()] == [text("first"), text("second")]


def test_an_episode_tells_what_it_is_about(writer: EpisodeWriter, contract: Contract) -> None:
    writer.write("/said", text("a"), T0, sequence=1)
    info = writer.close("failure", extra={"operator": "left-handed"})
    assert load_episode_info(writer.folder) == info
    assert (info.task, info.instruction, info.outcome, info.seed) == ("reaching", "grasp the cube", "failure", 3)
    assert (info.robot, info.contract, info.fingerprint) == ("g1", "g1_sim", contract.fingerprint())
    assert info.extra == {"operator": "left-handed"}
    assert (writer.folder / "contract.yaml").read_text() == contract.text
    assert EpisodeReader(writer.folder).contract.interface() == contract.interface()


def test_gaps_in_sequence_numbers_are_counted_as_lost_messages(writer: EpisodeWriter) -> None:
    for sequence in (5, 6, 9, 10):
        writer.write("/said", text("a"), T0 + sequence, sequence=sequence)
    writer.write("/said", text("a new publisher counts from one"), T0 + 20, sequence=1)
    writer.write("/joint_states", b"", T0)
    info = writer.close("success")
    assert info.lost["/said"] == 2
    assert info.lost["/joint_states"] is None  # no numbers, no knowledge
    assert info.messages_lost == 2
    assert info.messages["/said"] == 5


def test_rosbags_opens_the_folder_with_types_counts_and_qos(writer: EpisodeWriter) -> None:
    writer.add_topic(
        "/latched", "std_msgs/msg/String", Qos(reliability="best_effort", depth=3, durability="transient_local")
    )
    writer.write("/latched", text("hello"), T0 + 5)
    writer.write("/said", text("x"), T0 + 8)
    writer.close("success")
    with Reader(writer.folder) as bag:
        assert (bag.message_count, bag.start_time, bag.duration) == (2, T0 + 5, 4)
        latched = next(connection for connection in bag.connections if connection.topic == "/latched")
        assert latched.msgtype == "std_msgs/msg/String"
        assert latched.digest == get_typestore(Stores.ROS2_JAZZY).hash_rihs01("std_msgs/msg/String")
        (qos,) = latched.ext.offered_qos_profiles
        assert (qos.depth, qos.reliability.name, qos.durability.name) == (3, "BEST_EFFORT", "TRANSIENT_LOCAL")
    with AnyReader([writer.folder]) as bag:  # reads types from the schemas in the file
        said = [bag.deserialize(data, connection.msgtype).data for connection, _, data in bag.messages()]
    assert said == ["hello", "x"]


def test_metadata_is_of_the_layout_that_humble_reads(writer: EpisodeWriter) -> None:
    writer.close("success")
    metadata = yaml.safe_load((writer.folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert metadata["version"] == 8
    qos = metadata["topics_with_message_count"][0]["topic_metadata"]["offered_qos_profiles"]
    assert yaml.safe_load(qos)[0]["reliability"] == 1


def test_only_a_closed_episode_bears_its_name(writer: EpisodeWriter) -> None:
    assert not writer.folder.exists()
    with pytest.raises(BagError, match=r"one\.recording: the recorder ended before it closed"):
        EpisodeReader(writer.folder)
    writer.close("success")
    assert [path.name for path in writer.folder.parent.iterdir()] == ["one"]
    with pytest.raises(BagError, match="closed already"):
        writer.write("/said", text("late"), T0)


def test_what_was_flushed_survives_the_recorder(writer: EpisodeWriter) -> None:
    writer.write("/said", text("kept"), T0, sequence=1)
    writer.flush()
    (file,) = (writer.folder.parent / "one.recording").glob("*.mcap")
    wait_until(lambda: file.stat().st_size > 1000)  # a thread of its own writes
    found = []
    try:
        for record in StreamReader(file.open("rb")).records:
            if isinstance(record, Message):
                found.append(record.data)
    except McapError:
        pass  # there is no end yet
    assert found == [text("kept")]


def test_a_message_waits_no_longer_than_a_second_for_the_disk(
    writer: EpisodeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = (writer.folder.parent / "one.recording").glob("*.mcap")
    writer.write("/said", text("in memory"), T0)
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda _: synced.append(file.stat().st_size))
    monkeypatch.setattr("activemimic_data.bags.writer.FLUSH_S", 0.0)
    writer.write("/said", text("and out"), T0)
    wait_until(lambda: bool(synced))
    assert text("in memory") in file.read_bytes()[: synced[0]]
    assert text("and out") in file.read_bytes()[: synced[0]]


def test_a_discarded_episode_leaves_nothing(writer: EpisodeWriter) -> None:
    writer.discard()
    assert list(writer.folder.parent.iterdir()) == []


def test_an_exception_discards_the_episode(tmp_path: Path, contract: Contract) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        EpisodeWriter(tmp_path / "two", contract, task="t", instruction="i"),
    ):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_an_existing_episode_is_not_overwritten(writer: EpisodeWriter, contract: Contract) -> None:
    with pytest.raises(BagError, match="exists already"):
        EpisodeWriter(writer.folder, contract, task="t", instruction="i")


def test_an_unregistered_topic_is_refused_by_name(writer: EpisodeWriter) -> None:
    with pytest.raises(BagError, match="topic /unheard is not registered"):
        writer.write("/unheard", b"", T0)


def read_everything(folder: Path) -> None:
    reader = EpisodeReader(folder)
    _ = reader.contract
    list(reader.messages())


def truncate(folder: Path) -> None:
    (file,) = folder.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_byte(folder: Path) -> None:
    (file,) = folder.glob("*.mcap")
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 0xFF
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate, r"_0\.mcap: truncated or damaged"),
        (flip_a_byte, r"_0\.mcap: truncated or damaged"),
        (lambda folder: next(folder.glob("*.mcap")).unlink(), r"_0\.mcap: missing; metadata\.yaml lists it"),
        (lambda folder: (folder / "metadata.yaml").unlink(), r"metadata\.yaml: missing"),
        (lambda folder: (folder / "metadata.yaml").write_text("{"), r"metadata\.yaml: cannot be read"),
        (lambda folder: (folder / "metadata.yaml").write_text("a: 1"), r"metadata\.yaml: expected rosbag2_bagfile"),
        (lambda folder: (folder / "episode.yaml").unlink(), r"episode\.yaml: missing"),
        (lambda folder: (folder / "episode.yaml").write_text("task: 1"), r"episode\.yaml: task: .* found 1"),
        (lambda folder: (folder / "contract.yaml").write_text("name: x"), r"contract\.yaml: robot: missing"),
        (lambda folder: (folder / "contract.yaml").unlink(), r"contract\.yaml: cannot be read"),
        (shutil.rmtree, r"episode_000: there is no such folder"),
    ],
)
def test_a_damaged_episode_names_the_file(
    episodes: list[Path], tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    folder = tmp_path / "episode_000"
    shutil.copytree(episodes[0], folder)
    damage(folder)
    with pytest.raises(BagError, match=said) as caught:
        read_everything(folder)
    assert str(folder) in str(caught.value)


def test_a_contract_that_was_changed_afterwards_is_found_out(episodes: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(episodes[0], folder)
    path = folder / "contract.yaml"
    path.write_text(path.read_text().replace("width: 224", "width: 320", 1))
    with pytest.raises(BagError, match="one of the two files was changed"):
        _ = EpisodeReader(folder).contract


def test_episodes_are_found_below_a_folder_in_order_and_once(episodes: list[Path], tmp_path: Path) -> None:
    root = episodes[0].parent
    assert find_episodes([episodes[1], root]) == [episodes[1], episodes[0], episodes[2]]
    assert find_episodes([tmp_path / "nowhere"]) == [tmp_path / "nowhere"]


DEFINITIONS = {
    "MotorState": "float64 position\nfloat64 velocity\n",
    "HeadState": "std_msgs/Header header\nMotorState[] motor_states\n",
    "WaistState": "std_msgs/Header header\nstring[] name\nMotorState[] motor_states\n",
    "EndState": "std_msgs/Header header\nstring[] name\ngenie_msgs/MotorState[] end_state\n",
}


def test_vendor_types_are_recorded_from_their_installed_definitions_and_read_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = load_contract("g1_hal")
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    with pytest.raises(BagError, match="genie_msgs/msg/HeadState is neither a standard type nor installed"):
        EpisodeWriter(tmp_path / "hal", contract, task="t", instruction="i")

    share = tmp_path / "prefix" / "share" / "genie_msgs" / "msg"
    share.mkdir(parents=True)
    for name, definition in DEFINITIONS.items():
        (share / f"{name}.msg").write_text(definition)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "prefix"))
    with EpisodeWriter(tmp_path / "hal", contract, task="t", instruction="i") as writer:
        messages = BagMessages(writer.typestore)
        kind = "genie_msgs/msg/HeadState"
        msg = messages.make(kind, header=header(T0), motor_states=[{"position": 0.25}, {"position": -0.5}])
        writer.write("/hal/neck_state", messages.serialize(msg, kind), T0)
        writer.close("success")

    monkeypatch.delenv("AMENT_PREFIX_PATH")
    (read,) = EpisodeReader(tmp_path / "hal").messages()
    neck = next(source for source in contract.state if source.topic == "/hal/neck_state")
    indices, values = decode_slots(neck, read.msg)
    assert indices.tolist() == [0, 1]
    np.testing.assert_allclose(values, [0.25, -0.5])
