"""Writes an episode: serialised messages to MCAP as rosbag2 does, under a name that only a closed episode bears."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from activemimic_description.common.atomic import sync_folder, write_text
from activemimic_description.common.durable import DurableFile
from activemimic_description.contract import Contract, Qos
from mcap.writer import CompressionType, Writer
from rosbags.typesys.store import Typestore

from activemimic_data.bags.definitions import typestore_for
from activemimic_data.bags.episode import UNFINISHED, BagError, DiskFullError, EpisodeInfo, Outcome
from activemimic_data.bags.rosbag2 import TopicMetadata, dump, metadata, offered_qos

CHUNK_BYTES = 1024 * 1024
# No message stays in memory longer than this. A sync takes its time as well: together less than a second.
FLUSH_S = 0.5


class EpisodeWriter:
    """One episode being recorded, in `<folder>.recording` until `close` renames it to `folder`.

    The contract's topics are registered at once, others by `add_topic`. Not thread-safe; the disk is written by
    threads of its own. A second after a message was written it survives the end of the process and a loss of power,
    as long as messages or calls of `flush` keep coming. As a context manager it discards the episode unless `close`
    was called.

    Raises:
        BagError: the folder exists already, cannot be written, or a message type is not known here.
        DiskFullError: from `write` and `flush`; there is room yet to `close`.
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
        definitions: Mapping[str, str] | None = None,
    ) -> None:
        """`definitions`: ros2msg texts by type name, for types that are neither standard nor installed."""
        self.folder = Path(folder)
        self._recording = self.folder.with_name(self.folder.name + UNFINISHED)
        for path in (self.folder, self._recording):
            if path.exists():
                raise BagError(f"{path}: exists already; choose another name or delete it")
        entries = contract.topics()
        given = definitions or {}
        self._definitions: dict[str, str | None] = {entry.type: given.get(entry.type) for entry in entries.values()}
        self._store = typestore_for(self._definitions)
        self._contract = contract
        self._about: dict[str, Any] = {"task": task, "instruction": instruction, "seed": seed}
        self._extra = dict(extra or {})
        self._topics: dict[str, _Topic] = {}
        self._schemas: dict[str, int] = {}
        self._start_ns: int | None = None
        self._stop_ns = 0
        self._flushed_at = time.monotonic()
        self._mcap_name = f"{self.folder.name}_0.mcap"
        self._file = self._create()
        # Most of what is recorded is JPEG, which does not shrink any further.
        self._mcap: Writer | None = Writer(self._file, chunk_size=CHUNK_BYTES, compression=CompressionType.NONE)  # type: ignore[arg-type]
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

    @property
    def size_bytes(self) -> int:
        """Of the file so far."""
        return self._file.tell()

    @property
    def duration_s(self) -> float:
        """From the first message to the last so far."""
        return 0.0 if self._start_ns is None else (self._stop_ns - self._start_ns) / 1e9

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
        offered = offered_qos(qos or Qos(reliability="reliable", depth=10, durability="volatile"))
        about = {"offered_qos_profiles": offered, "topic_type_hash": type_hash}
        channel = mcap.register_channel(topic, "cdr", self._schemas[type_name], about)
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
        self._check_disk()
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
        """Send everything to the disk, without waiting for it. Called by `write`; a pause needs its own calls."""
        mcap = self._open()
        self._check_disk()
        mcap.flush()
        self._flushed_at = time.monotonic()

    def close(self, outcome: Outcome, extra: dict[str, Any] | None = None, recovered: bool = False) -> EpisodeInfo:
        """Finish the episode, put it under its own name and return what `episode.yaml` says.

        Raises BagError if the disk does not take the end; what it took stays in `<folder>.recording`.
        """
        self._open().finish()
        self._mcap = None
        self._extra |= extra or {}
        info = self._info(outcome, recovered)
        try:
            self._file.close()
            write_text(self._recording / "metadata.yaml", self._metadata())
            write_text(self._recording / "episode.yaml", dump(info.model_dump()))
            self._recording.rename(self.folder)
            sync_folder(self.folder.parent)
        except OSError as error:
            raise BagError(
                f"{self._recording}: could not be closed: {error.strerror}; make room, then run "
                f"activemimic bag recover {self._recording}"
            ) from None
        return info

    def discard(self) -> None:
        """Remove what was recorded."""
        self._open()
        self._mcap = None
        with contextlib.suppress(OSError):
            self._file.close()
        shutil.rmtree(self._recording)

    def __enter__(self) -> EpisodeWriter:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._mcap is not None:
            self.discard()

    def _create(self) -> DurableFile:
        """The folder with all that `recover` needs beside the messages, and the file for these."""
        try:
            self._recording.mkdir(parents=True)
            write_text(self._recording / "contract.yaml", self._contract.text)
            write_text(self._recording / "episode.yaml", dump(self._info("unknown").model_dump()))
            file = DurableFile(self._recording / self._mcap_name)
            sync_folder(self._recording.parent)
        except OSError as error:
            shutil.rmtree(self._recording, ignore_errors=True)
            raise BagError(f"{self._recording}: cannot be written: {error.strerror}") from None
        return file

    def _open(self) -> Writer:
        if self._mcap is None:
            raise BagError(f"{self.folder}: the episode is closed already")
        return self._mcap

    def _check_disk(self) -> None:
        if self._file.error is not None:
            raise DiskFullError(f"{self._recording}: cannot be written any more: {self._file.error.strerror}")
        if self._file.full:
            raise DiskFullError(f"{self._recording}: the disk is full")

    def _info(self, outcome: Outcome, recovered: bool = False) -> EpisodeInfo:
        return EpisodeInfo(
            **self._about,
            outcome=outcome,
            recovered=recovered,
            robot=self._contract.robot,
            contract=self._contract.name,
            fingerprint=self._contract.fingerprint(),
            start_ns=self._start_ns or 0,
            stop_ns=self._stop_ns,
            messages=self.messages,
            lost=self.lost,
            extra=self._extra,
        )

    def _metadata(self) -> str:
        topics = (
            TopicMetadata(name, topic.type_name, topic.type_hash, topic.offered_qos, topic.count)
            for name, topic in self._topics.items()
        )
        custom = {"activemimic_contract": self._contract.name}
        return metadata(self._mcap_name, self._start_ns or 0, self._stop_ns, topics, custom)


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
