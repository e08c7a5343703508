"""When an episode may start, and what it is called: the recorder without ROS."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from pathlib import Path

from activemimic_description.contract import Contract
from activemimic_training.bags import BagError, EpisodeInfo, EpisodeWriter
from activemimic_training.bags.episode import Outcome

from activemimic_bringup.nodes.topics import DIAGNOSTICS, TOPICS

STACK_TOPICS = {topic.name: topic.type for topic in TOPICS}  # recorded beside the contract's
# It has several publishers, so that gaps in its sequence numbers say nothing about lost messages.
SHARED_TOPICS = frozenset({DIAGNOSTICS.name})
FRESH_S = 1.0

_OUTCOMES: dict[bool | None, Outcome] = {True: "success", False: "failure", None: "unknown"}


class RecordingRefusedError(RuntimeError):
    """The recorder is not able to do what was asked; the text says why and what to do."""


class Recording:
    """At most one episode at a time, under `out/<task>_<number>`."""

    def __init__(self, contract: Contract, out: Path, min_free_gb: float) -> None:
        self.contract = contract
        self.out = Path(out).resolve()
        self._min_free_gb = min_free_gb
        self._seen_ns: dict[str, int] = {}
        self._writer: EpisodeWriter | None = None

    @property
    def folder(self) -> Path | None:
        """The episode being recorded, or None."""
        return self._writer.folder if self._writer else None

    @property
    def messages(self) -> int:
        return sum(self._writer.messages.values()) if self._writer else 0

    @property
    def lost(self) -> int:
        return sum(count or 0 for count in self._writer.lost.values()) if self._writer else 0

    def on_message(
        self, topic: str, data: bytes, received_ns: int, publish_ns: int | None, sequence: int | None
    ) -> None:
        """Note that a topic is alive and, while an episode is recorded, write the message."""
        self._seen_ns[topic] = received_ns
        if self._writer is not None:
            known = None if topic in SHARED_TOPICS else sequence
            self._writer.write(topic, data, received_ns, publish_ns, known)

    def start(self, task: str, instruction: str, seed: int, now_ns: int, published: Collection[str]) -> Path:
        """Begin an episode and return its folder. `published` are the topics that have a publisher.

        Raises RecordingRefusedError if one is being recorded, a camera or joint state was not seen within the
        last second, nobody publishes the commands, or the disk is nearly full.
        """
        if self._writer is not None:
            raise RecordingRefusedError(f"already recording {self._writer.folder.name}: call ~/stop or ~/discard")
        if problems := [*self._silent(now_ns), *self._unpublished(published)]:
            raise RecordingRefusedError("; ".join(problems))
        self.out.mkdir(parents=True, exist_ok=True)
        free_gb = shutil.disk_usage(self.out).free / 1e9
        if free_gb < self._min_free_gb:
            raise RecordingRefusedError(
                f"{free_gb:.1f} GB free in {self.out}, expected at least {self._min_free_gb:g} GB (min_free_gb)"
            )
        folder = self.out / f"{task}_{_next_number(self.out, task):06d}"
        try:
            writer = EpisodeWriter(folder, self.contract, task=task, instruction=instruction, seed=seed)
        except BagError as error:
            raise RecordingRefusedError(str(error)) from None
        for topic, type_name in STACK_TOPICS.items():
            writer.add_topic(topic, type_name)
        self._writer = writer
        return folder

    def stop(self, success: bool | None) -> tuple[Path, EpisodeInfo]:
        """Close the episode; None leaves its outcome unknown. Raises RecordingRefusedError if there is none."""
        writer = self._take()
        return writer.folder, writer.close(_OUTCOMES[success])

    def discard(self) -> Path:
        """Delete the episode being recorded. Raises RecordingRefusedError if there is none."""
        writer = self._take()
        writer.discard()
        return writer.folder

    def flush(self) -> None:
        """Hand what was written to the operating system, so that a killed recorder loses a second at most."""
        if self._writer is not None:
            self._writer.flush()

    def _take(self) -> EpisodeWriter:
        if self._writer is None:
            raise RecordingRefusedError("not recording: call ~/start first")
        writer, self._writer = self._writer, None
        return writer

    def _silent(self, now_ns: int) -> list[str]:
        sources = {f"camera {name}": camera.topic for name, camera in self.contract.cameras.items()}
        sources |= {f"state {source.topic}": source.topic for source in self.contract.state}
        problems = []
        for what, topic in sources.items():
            age_s = (now_ns - self._seen_ns[topic]) / 1e9 if topic in self._seen_ns else None
            if age_s is None:
                problems.append(f"{what} ({topic}): no message has arrived")
            elif age_s > FRESH_S:
                problems.append(f"{what} ({topic}): the last message arrived {age_s:.1f} s ago")
        return problems

    def _unpublished(self, published: Collection[str]) -> list[str]:
        return [
            f"commands ({sink.topic}): nobody publishes it; is the controller running?"
            for sink in self.contract.commands
            if sink.topic not in published
        ]


def _next_number(out: Path, task: str) -> int:
    found = (re.match(rf"{re.escape(task)}_(\d{{6}})(\.|$)", path.name) for path in out.iterdir())
    return max((int(match[1]) + 1 for match in found if match), default=0)
