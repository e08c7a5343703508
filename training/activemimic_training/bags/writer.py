"""Writes an episode: serialised messages to MCAP as rosbag2 does, under a name that only a closed episode bears."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from activemimic_description.contract import Contract, Qos
from mcap.writer import CompressionType, Writer
from rosbags.typesys.store import Typestore

from activemimic_training.bags.definitions import typestore_for
from activemimic_training.bags.episode import UNFINISHED, BagError, EpisodeInfo, Outcome

# What a killed recorder may lose: chunks are small and none stays in memory longer than a second.
CHUNK_BYTES = 256 * 1024
FLUSH_S = 1.0

# rosbag2's layout 8 writes QoS as text: Humble cannot read 9, Jazzy reads both.
METADATA_VERSION = 8

_INFINITE = {"sec": 9223372036, "nsec": 854775807}
_RELIABILITY = {"reliable": 1, "best_effort": 2}
_DURABILITY = {"transient_local": 1, "volatile": 2}


class EpisodeWriter:
    """One episode being recorded, in `<folder>.recording` until `close` renames it to `folder`.

    The contract's topics are registered at once, others by `add_topic`. Not thread-safe. As a context manager it
    discards the episode unless `close` was called.

    Raises:
        BagError: the folder exists already, or a message type is not known here.
    """

    def __init__(
        self,
        folder: Path | str,
        contract: Contract,
        *,
        task: str,
        instruction: str,
        seed: int | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._recording = self.folder.with_name(self.folder.name + UNFINISHED)
        for path in (self.folder, self._recording):
            if path.exists():
                raise BagError(f"{path}: exists already; choose another name or delete it")
        entries = contract.topics()
        self._definitions: dict[str, str | None] = {entry.type: None for entry in entries.values()}
        self._store = typestore_for(self._definitions)
        self._contract = contract
        self._about: dict[str, Any] = {"task": task, "instruction": instruction, "seed": seed}
        self._extra = dict(extra or {})
        self._topics: dict[str, _Topic] = {}
        self._schemas: dict[str, int] = {}
        self._start_ns: int | None = None
        self._stop_ns = 0
        self._flushed_at = time.monotonic()
        self._recording.mkdir(parents=True)
        self._mcap_name = f"{self.folder.name}_0.mcap"
        self._file = (self._recording / self._mcap_name).open("wb")
        self._mcap: Writer | None = Writer(self._file, chunk_size=CHUNK_BYTES, compression=CompressionType.LZ4)
        self._mcap.start(profile="ros2")
        for topic, entry in entries.items():
            self.add_topic(topic, entry.type, entry.qos)

    @property
    def typestore(self) -> Typestore:
        """Knows every type of this episode: `BagMessages(writer.typestore)` makes and serialises its messages."""
        return self._store

    @property
    def messages(self) -> dict[str, int]:
        """Messages written so far, by topic."""
        return {name: topic.count for name, topic in self._topics.items()}

    @property
    def lost(self) -> dict[str, int | None]:
        """Messages lost so far, by topic, from gaps in sequence numbers; None where none were given."""
        return {name: topic.lost for name, topic in self._topics.items()}

    def add_topic(self, topic: str, type_name: str, qos: Qos | None = None, definition: str | None = None) -> None:
        """Register a further topic.

        Args:
            topic: absolute name.
            type_name: such as "std_msgs/msg/String".
            qos: what its publisher offers; reliable and volatile when not known.
            definition: ros2msg text of a type that is neither standard nor installed.
        """
        mcap = self._open()
        if topic in self._topics:
            raise BagError(f"{self.folder}: topic {topic} is registered already")
        if type_name not in self._store.fielddefs:
            self._definitions[type_name] = definition
            self._store = typestore_for(self._definitions)
        type_hash = self._store.hash_rihs01(type_name)
        if type_name not in self._schemas:
            text, _ = self._store.generate_msgdef(type_name, ros_version=2)
            self._schemas[type_name] = mcap.register_schema(type_name, "ros2msg", text.encode())
        offered = _offered_qos(qos or Qos(reliability="reliable", depth=10, durability="volatile"))
        metadata = {"offered_qos_profiles": offered, "topic_type_hash": type_hash}
        channel = mcap.register_channel(topic, "cdr", self._schemas[type_name], metadata)
        self._topics[topic] = _Topic(channel, type_name, type_hash, offered)

    def write(
        self,
        topic: str,
        data: bytes,
        log_time_ns: int,
        publish_time_ns: int | None = None,
        sequence: int | None = None,
    ) -> None:
        """Write one message.

        Args:
            topic: a registered topic.
            data: the message as CDR.
            log_time_ns: when it arrived.
            publish_time_ns: the publisher's source timestamp; the log time when not known.
            sequence: the publisher's sequence number, from which lost messages are counted.
        """
        mcap = self._open()
        if topic not in self._topics:
            raise BagError(f"{self.folder}: topic {topic} is not registered; expected one of {', '.join(self._topics)}")
        entry = self._topics[topic]
        entry.saw(sequence)
        mcap.add_message(
            entry.channel,
            log_time_ns,
            bytes(data),
            log_time_ns if publish_time_ns is None else publish_time_ns,
            (sequence or 0) & 0xFFFFFFFF,
        )
        self._start_ns = log_time_ns if self._start_ns is None else min(self._start_ns, log_time_ns)
        self._stop_ns = max(self._stop_ns, log_time_ns)
        if time.monotonic() - self._flushed_at > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the operating system. Called by `write` once a second; a pause needs its own call."""
        self._open().flush()
        self._flushed_at = time.monotonic()

    def close(self, outcome: Outcome, extra: dict[str, Any] | None = None) -> EpisodeInfo:
        """Finish the episode, put it under its own name and return what `episode.yaml` says."""
        self._open().finish()
        self._mcap = None
        _sync_and_close(self._file)
        info = EpisodeInfo(
            **self._about,
            outcome=outcome,
            robot=self._contract.robot,
            contract=self._contract.name,
            fingerprint=self._contract.fingerprint(),
            start_ns=self._start_ns or 0,
            stop_ns=self._stop_ns,
            messages=self.messages,
            lost=self.lost,
            extra={**self._extra, **(extra or {})},
        )
        self._write_text("metadata.yaml", _dump({"rosbag2_bagfile_information": self._metadata()}))
        self._write_text("contract.yaml", self._contract.text)
        self._write_text("episode.yaml", _dump(info.model_dump()))
        self._recording.rename(self.folder)
        return info

    def discard(self) -> None:
        """Remove what was recorded."""
        self._open()
        self._mcap = None
        self._file.close()
        shutil.rmtree(self._recording)

    def __enter__(self) -> EpisodeWriter:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._mcap is not None:
            self.discard()

    def _open(self) -> Writer:
        if self._mcap is None:
            raise BagError(f"{self.folder}: the episode is closed already")
        return self._mcap

    def _write_text(self, name: str, text: str) -> None:
        file = (self._recording / name).open("wb")
        file.write(text.encode())
        _sync_and_close(file)

    def _metadata(self) -> dict[str, Any]:
        """rosbag2's metadata.yaml, by which `ros2 bag` and rosbags open the folder."""
        count = sum(self.messages.values())
        start = {"nanoseconds_since_epoch": self._start_ns or 0}
        duration = {"nanoseconds": self._stop_ns - (self._start_ns or 0)}
        return {
            "version": METADATA_VERSION,
            "storage_identifier": "mcap",
            "duration": duration,
            "starting_time": start,
            "message_count": count,
            "topics_with_message_count": [
                {
                    "topic_metadata": {
                        "name": name,
                        "type": topic.type_name,
                        "serialization_format": "cdr",
                        "offered_qos_profiles": topic.offered_qos,
                        "type_description_hash": topic.type_hash,
                    },
                    "message_count": topic.count,
                }
                for name, topic in self._topics.items()
            ],
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [self._mcap_name],
            "files": [{"path": self._mcap_name, "starting_time": start, "duration": duration, "message_count": count}],
            "custom_data": {"activemimic_contract": self._contract.name},
            "ros_distro": "jazzy",
        }


@dataclass
class _Topic:
    channel: int
    type_name: str
    type_hash: str
    offered_qos: str
    count: int = 0
    lost: int | None = None
    last_sequence: int | None = None

    def saw(self, sequence: int | None) -> None:
        self.count += 1
        if sequence is None:
            return
        # A number that does not grow is a new publisher's first, not a loss.
        if self.last_sequence is not None and sequence > self.last_sequence:
            self.lost = (self.lost or 0) + sequence - self.last_sequence - 1
        self.lost = self.lost or 0
        self.last_sequence = sequence


def _offered_qos(qos: Qos) -> str:
    profile = {
        "history": 1,  # keep last
        "depth": qos.depth,
        "reliability": _RELIABILITY[qos.reliability],
        "durability": _DURABILITY[qos.durability],
        "deadline": _INFINITE,
        "lifespan": _INFINITE,
        "liveliness": 1,
        "liveliness_lease_duration": _INFINITE,
        "avoid_ros_namespace_conventions": False,
    }
    return _dump([profile])


def _dump(data: Any) -> str:
    return str(yaml.dump(data, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=120))


class _PlainDumper(yaml.SafeDumper):
    """Writes equal values out instead of as aliases (&id001), which are correct but not for reading."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _sync_and_close(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
