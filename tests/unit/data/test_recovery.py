"""What a killed recorder or a damaged file has left becomes an episode again, and nothing is lost on the way."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from activemimic_data.bags import (
    BagError,
    EpisodeReader,
    EpisodeWriter,
    find_episodes,
    load_episode_info,
    recover,
)
from activemimic_data.dataset import build_dataset
from activemimic_description.contract import Contract, Qos
from rosbags.rosbag2 import Reader

# Records half of an episode, and is gone without a word.
DIES = """
import os, sys, time
from pathlib import Path
from activemimic_description.contract import Qos, load_contract
from activemimic_data.bags import EpisodeReader, EpisodeWriter
whole, folder = map(Path, sys.argv[1:])
reader = EpisodeReader(whole)
writer = EpisodeWriter(folder, reader.contract, task="reaching", instruction="grasp", seed=5)
writer.add_topic("/said", "std_msgs/msg/String", Qos(reliability="best_effort", depth=3, durability="transient_local"))
for message in reader.raw_messages():
    writer.write(message.topic, message.data, message.log_time_ns, message.publish_time_ns, message.sequence)
writer.flush()
time.sleep(0.5)
os._exit(9)
"""


@pytest.fixture
def killed(episodes: list[Path], tmp_path: Path) -> Path:
    """A folder that a killed recorder has left."""
    subprocess.run([sys.executable, "-c", DIES, str(episodes[0]), str(tmp_path / "one")], check=False)
    return tmp_path / "one.recording"


@pytest.fixture
def damaged(episodes: list[Path], tmp_path: Path) -> Path:
    """A closed episode whose second half is gone."""
    folder = tmp_path / "episode_000"
    shutil.copytree(episodes[0], folder)
    truncate(folder, 0.5)
    return folder


def truncate(folder: Path, share: float) -> None:
    (file,) = folder.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])


def test_a_killed_recorder_left_an_episode_that_lacks_nothing_that_was_flushed(
    killed: Path, episodes: list[Path]
) -> None:
    recovered = recover(killed)
    assert recovered is not None
    assert (recovered.folder, recovered.original) == (killed.with_name("one"), None)
    assert list(EpisodeReader(recovered.folder).raw_messages()) == list(EpisodeReader(episodes[0]).raw_messages())
    info = load_episode_info(recovered.folder)
    assert (info.outcome, info.recovered, info.task, info.seed) == ("unknown", True, "reaching", 5)
    assert info.messages_lost == 0
    assert [path.name for path in killed.parent.iterdir()] == ["one"]
    with Reader(recovered.folder) as bag:  # as ros2 bag opens it
        said = next(connection for connection in bag.connections if connection.topic == "/said")
        assert said.ext.offered_qos_profiles[0].durability.name == "TRANSIENT_LOCAL"
        assert bag.message_count == sum(info.messages.values())


def test_a_recovered_episode_becomes_part_of_a_dataset(killed: Path, tmp_path: Path) -> None:
    recover(killed.with_name("one"))  # by the name that it would have got
    result = build_dataset([killed.with_name("one")], tmp_path / "dataset", workers=1, only_success=False)
    assert (result.episodes, result.skipped) == (1, [])


def test_a_truncated_episode_keeps_what_stands_before_the_damage(tmp_path: Path, contract: Contract) -> None:
    writer = EpisodeWriter(tmp_path / "long", contract, task="t", instruction="i")
    for number in range(100):
        writer.write("/joint_states", bytes(100_000), 1000 + number, sequence=number + 1)
    writer.close("success", {"operator": "left-handed"})
    truncate(tmp_path / "long", 0.5)
    with pytest.raises(BagError, match="truncated or damaged"):
        EpisodeReader(tmp_path / "long")
    recovered = recover(tmp_path / "long")
    assert recovered is not None
    assert "long_0.mcap from byte" in recovered.damage
    kept = [message.sequence for message in EpisodeReader(tmp_path / "long").raw_messages()]
    assert kept == list(range(1, len(kept) + 1))
    assert 38 <= len(kept) < 50
    assert recovered.info.extra == {"operator": "left-handed", "outcome_before": "success"}
    assert recovered.original == tmp_path / "long.damaged"
    assert find_episodes([tmp_path]) == [tmp_path / "long"]


def test_a_flipped_byte_ends_the_episode_there_and_the_original_is_kept(killed: Path) -> None:
    (file,) = killed.glob("*.mcap")
    data = bytearray(file.read_bytes())
    data[-50_000] ^= 0xFF
    file.write_bytes(data)
    original = file.read_bytes()
    with pytest.raises(BagError, match=r"holds no readable message \(one_0\.mcap from byte .* crc validation failed"):
        recover(killed)
    assert file.read_bytes() == original
    assert [path.name for path in killed.parent.iterdir()] == ["one.recording"]


def test_a_recovery_that_was_killed_between_its_two_renames_is_repeated(episodes: list[Path], tmp_path: Path) -> None:
    folder, aside = tmp_path / "episode_000", tmp_path / "episode_000.damaged"
    shutil.copytree(episodes[0], aside)
    recovered = recover(folder)
    assert recovered is not None
    assert (recovered.folder, recovered.original) == (folder, aside)
    assert sum(1 for _ in EpisodeReader(folder).raw_messages()) == sum(recovered.info.messages.values()) > 0
    with pytest.raises(BagError, match="episode_000: exists already"):
        recover(aside)


def test_a_whole_episode_is_left_alone(episodes: list[Path]) -> None:
    before = {path: path.stat().st_mtime_ns for path in episodes[0].iterdir()}
    assert recover(episodes[0]) is None
    assert {path: path.stat().st_mtime_ns for path in episodes[0].iterdir()} == before


def test_an_episode_that_is_being_recorded_is_not_touched(tmp_path: Path, contract: Contract) -> None:
    with (
        EpisodeWriter(tmp_path / "one", contract, task="t", instruction="i"),
        pytest.raises(BagError, match=r"one\.recording: is still being recorded"),
    ):
        recover(tmp_path / "one.recording")


def test_a_disk_that_fills_up_while_recovering_leaves_the_original(
    damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = {path.name: path.read_bytes() for path in damaged.iterdir()}
    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(BagError, match="cannot be written: No space left on device"):
        recover(damaged)
    assert {path.name: path.read_bytes() for path in damaged.iterdir()} == before
    assert [path.name for path in damaged.parent.iterdir()] == ["episode_000"]


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("contract.yaml", r"contract\.yaml: cannot be read"),
        ("episode.yaml", r"episode\.yaml: missing"),
        ("episode_000_0.mcap", r"expected an \.mcap file, found none"),
    ],
)
def test_what_is_needed_and_missing_is_named(damaged: Path, missing: str, said: str) -> None:
    (damaged / missing).unlink()
    with pytest.raises(BagError, match=said):
        recover(damaged)


def test_qos_comes_back_from_its_text() -> None:
    from activemimic_data.bags.rosbag2 import offered_qos, parse_offered_qos

    qos = Qos(reliability="best_effort", depth=7, durability="transient_local")
    assert parse_offered_qos(offered_qos(qos)) == qos
    with pytest.raises(ValueError, match="no QoS profile"):
        parse_offered_qos("depth: 1")
