"""Makes a proper episode of what a killed recorder or a damaged file has left."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from activemimic_description.common.atomic import sync_folder
from activemimic_description.common.durable import locked
from activemimic_description.contract import Contract, ContractError, load_contract
from mcap.exceptions import EndOfFile
from mcap.records import Channel, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader

from activemimic_data.bags.episode import (
    DAMAGED,
    RECOVERING,
    UNFINISHED,
    BagError,
    EpisodeInfo,
    read_episode_info,
)
from activemimic_data.bags.reader import EpisodeReader
from activemimic_data.bags.rosbag2 import parse_offered_qos
from activemimic_data.bags.writer import EpisodeWriter


class Recovery(NamedTuple):
    """A recovered episode in `folder`."""

    folder: Path
    info: EpisodeInfo
    damage: str  # where and why reading ended
    original: Path | None  # where the damaged files lie now; None if they are gone, as they held nothing more


def recover(folder: Path | str) -> Recovery | None:
    """Put everything that is readable up to the damage into a closed episode, its outcome unknown.

    `<name>.recording` becomes `<name>`, a damaged `<name>` is replaced. Until the result is complete, the original
    stays where and as it is. Then it is kept as `<name>.damaged`, unless only the end was missing.

    Args:
        folder: either of them; of an unfinished recording, and where a recovery was killed in between, also the name
            that it would have got.

    Returns:
        None if the episode is closed and whole.

    Raises:
        BagError: it is still being recorded, holds no message, or its episode.yaml or contract.yaml is missing.
    """
    original = _original(Path(folder))
    unfinished, moved = original.name.endswith(UNFINISHED), original.name.endswith(DAMAGED)
    if not unfinished and not moved and _whole(original):
        return None
    files = sorted(original.glob("*.mcap"))
    if not files:
        raise BagError(f"{original}: expected an .mcap file, found none")
    if any(locked(file) for file in files):
        raise BagError(f"{original}: is still being recorded; stop the recorder first")
    target = original.with_name(original.name.removesuffix(UNFINISHED).removesuffix(DAMAGED))
    aside = target.with_name(target.name + DAMAGED)
    for path in (target, aside):
        if path != original and path.exists():
            raise BagError(f"{path}: exists already; move or delete it first")
    work = target.with_name(target.name + RECOVERING)
    shutil.rmtree(work, ignore_errors=True)
    try:
        info, reading = _rewrite(original, files, work / target.name)
        if not unfinished and not moved:
            original.rename(aside)
        (work / target.name).rename(target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if unfinished and reading.torn:
        shutil.rmtree(original)
    elif unfinished:
        original.rename(aside)
    return Recovery(target, info, reading.damage, aside if aside.exists() else None)


def _original(folder: Path) -> Path:
    if not folder.exists():
        for suffix in (UNFINISHED, DAMAGED):
            if (found := folder.with_name(folder.name + suffix)).is_dir():
                return found
    if not folder.is_dir():
        raise BagError(f"{folder}: there is no such folder; expected a recorded episode")
    return folder


def _whole(folder: Path) -> bool:
    try:
        reader = EpisodeReader(folder)
        _ = reader.contract
        for _ in reader.raw_messages():
            pass
    except BagError:
        return False
    return True


def _rewrite(original: Path, files: list[Path], target: Path) -> tuple[EpisodeInfo, _Reading]:
    about, contract = read_episode_info(original / "episode.yaml"), _contract(original)
    extra = {**about.extra, **({"outcome_before": about.outcome} if about.outcome != "unknown" else {})}
    with EpisodeWriter(
        target,
        contract,
        task=about.task,
        instruction=about.instruction,
        seed=about.seed,
        extra=extra,
        definitions=_definitions(files[0]),
    ) as writer:
        for file in files:
            reading = _copy(file, writer)
            if reading.damage:
                break
        if not sum(writer.messages.values()):
            raise BagError(f"{original}: holds no readable message ({reading.damage}); there is nothing to recover")
        return writer.close("unknown", recovered=True), reading


def _contract(original: Path) -> Contract:
    try:
        return load_contract(original / "contract.yaml")
    except ContractError as error:
        raise BagError(str(error)) from None


def _copy(file: Path, writer: EpisodeWriter) -> _Reading:
    """Write the messages of one file, in its order."""
    schemas: dict[int, Schema] = {}
    topics: dict[int, str] = {}
    reading = _Reading(file)
    for record in reading:
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel) and record.id not in topics:
            topics[record.id] = record.topic
            if record.topic not in writer.messages:
                schema = schemas[record.schema_id]
                qos = parse_offered_qos(record.metadata["offered_qos_profiles"])
                writer.add_topic(record.topic, schema.name, qos, schema.data.decode())
        elif isinstance(record, Message):
            # Where the publisher's number was not known, the recorder wrote 0; publishers count from 1.
            sequence = record.sequence or None
            writer.write(topics[record.channel_id], record.data, record.log_time, record.publish_time, sequence)
    return reading


def _definitions(file: Path) -> dict[str, str]:
    """Message type -> definition, as far as they stand before the first message."""
    found = {}
    for record in _Reading(file):
        if isinstance(record, Schema):
            found[record.name] = record.data.decode()
        elif isinstance(record, Message):
            break
    return found


class _Reading:
    """The records of a file as far as they can be read.

    Afterwards `damage` says where and why they end ("": the file is whole), `torn` that just its end is missing.
    """

    def __init__(self, path: Path) -> None:
        self.damage = ""
        self.torn = False
        self._path = path

    def __iter__(self) -> Iterator[McapRecord]:
        size = self._path.stat().st_size
        with self._path.open("rb") as file:
            records = StreamReader(file, validate_crcs=True, record_size_limit=size).records
            read_until = 0
            while True:
                try:
                    record = next(records)
                except StopIteration:
                    return
                except Exception as error:  # whatever damaged bytes make the mcap library raise
                    cause = str(error) or type(error).__name__
                    self.torn = isinstance(error, EndOfFile)
                    self.damage = f"{self._path.name} from byte {read_until} of {size} on: {cause}"
                    return
                read_until = file.tell()
                yield record
