"""A disk that fills up in the middle of an episode costs nothing of what was recorded before."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from activemimic_data.bags import BagError, DiskFullError, EpisodeReader, EpisodeWriter, recover
from activemimic_description.common.durable import RESERVE_BYTES
from activemimic_description.contract import Contract

MB = 1024 * 1024
T0 = 1_700_000_000_000_000_000
TOPIC = "/joint_states"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with 4 MB beside the writer's reserve."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = f"size={RESERVE_BYTES + 4 * MB}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a tmpfs")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(writer: EpisodeWriter, most: int) -> int:
    """Write half-megabyte messages until the disk is full; how many were taken."""
    for count in range(most):
        try:
            writer.write(TOPIC, bytes(MB // 2), T0 + count, sequence=count + 1)
        except DiskFullError:
            return count
        time.sleep(0.01)
    raise AssertionError(f"{most} messages fitted")


def test_a_full_disk_ends_the_episode_with_everything_before_it_readable(small_disk: Path, contract: Contract) -> None:
    writer = EpisodeWriter(small_disk / "one", contract, task="t", instruction="i")
    written = fill(writer, 100)
    writer.close("unknown")
    read = list(EpisodeReader(small_disk / "one").raw_messages())
    assert [message.sequence for message in read] == list(range(1, written + 1))
    assert written >= 6
    with pytest.raises(BagError, match=r"two\.recording: cannot be written: No space left"):
        EpisodeWriter(small_disk / "two", contract, task="t", instruction="i")
    assert not (small_disk / "two.recording").exists()


def test_a_disk_that_takes_nothing_any_more_leaves_what_can_be_recovered(tmp_path: Path, contract: Contract) -> None:
    writer = EpisodeWriter(tmp_path / "one", contract, task="t", instruction="i")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * MB, limits[1]))
    try:
        written = fill(writer, 100)
        with pytest.raises(BagError, match=r"one\.recording: could not be closed: File too large; make room, then run"):
            writer.close("unknown")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    recovered = recover(tmp_path / "one")
    assert recovered is not None
    # The chunk that did not fit is gone.
    kept = [message.sequence for message in EpisodeReader(tmp_path / "one").raw_messages()]
    assert kept == list(range(1, len(kept) + 1))
    assert written - 3 <= len(kept) <= written
