"""Reads an episode back: its description, its contract, and its messages in the order they arrived."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from activemimic_description.contract import Contract, ContractError, load_contract
from mcap.reader import SeekingReader
from mcap.records import Channel, Message, Schema
from rosbags.interfaces import Nodetype
from rosbags.serde import SerdeError
from rosbags.typesys.store import Typestore

from activemimic_data.bags.definitions import typestore_for
from activemimic_data.bags.episode import BagError, load_episode_info, load_yaml


class RawMessage(NamedTuple):
    """A message as it was recorded: `data` is CDR, times are ns."""

    topic: str
    data: bytes
    log_time_ns: int
    publish_time_ns: int
    sequence: int


class BagMessage(NamedTuple):
    """A message whose `msg` has the attributes that rclpy's class has; times are ns."""

    topic: str
    msg: Any
    log_time_ns: int
    publish_time_ns: int
    sequence: int


class EpisodeReader:
    """A closed episode.

    Raises:
        BagError: the folder or one of its files is missing, unfinished, truncated or wrong; from the constructor, or
            from the generators where damage shows only while reading.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.info = load_episode_info(self.folder)
        self.files = _files(self.folder)
        self.types: dict[str, str] = {}  # topic -> message type
        self._definitions: dict[str, str | None] = {}
        for path in self.files:
            self._read_summary(path)

    @cached_property
    def contract(self) -> Contract:
        """The contract the episode was recorded with."""
        try:
            contract = load_contract(self.folder / "contract.yaml")
        except ContractError as error:
            raise BagError(str(error)) from None
        if contract.fingerprint() != self.info.fingerprint:
            raise BagError(
                f"{self.folder / 'contract.yaml'}: expected fingerprint {self.info.fingerprint[:12]} (episode.yaml), "
                f"found {contract.fingerprint()[:12]}; one of the two files was changed"
            )
        return contract

    def raw_messages(self, topics: Iterable[str] | None = None) -> Generator[RawMessage]:
        """Messages in log-time order, as recorded; `topics` limits them."""
        wanted = None if topics is None else list(topics)
        for path in self.files:
            with path.open("rb") as file:
                records = SeekingReader(file, validate_crcs=True).iter_messages(wanted)
                for _, channel, message in _guarded(path, records):
                    yield RawMessage(
                        channel.topic, message.data, message.log_time, message.publish_time, message.sequence
                    )

    def messages(self, topics: Iterable[str] | None = None) -> Generator[BagMessage]:
        """Messages in log-time order, deserialised; `topics` limits them."""
        for raw in self.raw_messages(topics):
            type_name = self.types[raw.topic]
            try:
                msg = self._store.deserialize_cdr(raw.data, type_name)
            except SerdeError as error:
                raise BagError(
                    f"{self.folder}: {raw.topic}: message {raw.sequence} is no {type_name}: {error}"
                ) from None
            yield BagMessage(raw.topic, msg, raw.log_time_ns, raw.publish_time_ns, raw.sequence)

    def begins_with_header(self, topic: str) -> bool:
        """Whether the topic's messages begin with a std_msgs/msg/Header."""
        fields = self._store.fielddefs[self.types[topic]][1]
        return bool(fields) and fields[0][1] == (Nodetype.NAME, "std_msgs/msg/Header")

    @cached_property
    def _store(self) -> Typestore:
        try:
            return typestore_for(self._definitions)
        except BagError as error:
            raise BagError(f"{self.folder}: {error}") from None

    def _read_summary(self, path: Path) -> None:
        with path.open("rb") as file:
            try:
                summary = SeekingReader(file).get_summary()
            except Exception as error:
                raise BagError(_damaged(path, error)) from None
        if summary is None or summary.statistics is None:
            raise BagError(f"{path}: has no summary; the recorder did not close it")
        for channel in summary.channels.values():
            schema = summary.schemas[channel.schema_id]
            if schema.encoding != "ros2msg" or channel.message_encoding != "cdr":
                raise BagError(
                    f"{path}: {channel.topic}: expected cdr messages with a ros2msg schema, "
                    f"found {channel.message_encoding} with {schema.encoding}"
                )
            self.types[channel.topic] = schema.name
            self._definitions[schema.name] = schema.data.decode()


def _files(folder: Path) -> list[Path]:
    path = folder / "metadata.yaml"
    data = load_yaml(path)
    try:
        metadata = data["rosbag2_bagfile_information"]
        storage, names = metadata["storage_identifier"], list(metadata["relative_file_paths"])
    except (KeyError, TypeError):
        raise BagError(f"{path}: expected rosbag2_bagfile_information with relative_file_paths") from None
    if storage != "mcap":
        raise BagError(f"{path}: storage_identifier: expected mcap, found {storage!r}")
    files = [folder / Path(name).name for name in names]
    for file in files:
        if not file.is_file():
            raise BagError(f"{file}: missing; metadata.yaml lists it")
    return files


def _guarded(
    path: Path, records: Iterator[tuple[Schema | None, Channel, Message]]
) -> Iterator[tuple[Schema | None, Channel, Message]]:
    """`records`, with whatever a damaged file makes the mcap library raise turned into one error."""
    while True:
        try:
            record = next(records)
        except StopIteration:
            return
        except Exception as error:
            raise BagError(_damaged(path, error)) from None
        yield record


def _damaged(path: Path, error: Exception) -> str:
    cause = str(error) or type(error).__name__
    return f"{path}: truncated or damaged ({path.stat().st_size} bytes): {cause}"
