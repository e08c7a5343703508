"""Who moved the robot, and when: the policy, or a human (or the simulator's expert) who teleoperates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import dropwhile
from typing import Literal, NamedTuple

from activemimic_data.bags.reader import EpisodeReader

# The controller tells every change on the first as it happens, and on the second once a second what holds.
CONTROL = "/activemimic/control"
DIAGNOSTICS = "/diagnostics"


class Moved(NamedTuple):
    """From `start_ns` to `stop_ns` (log times) the chunks of `source` moved the robot."""

    source: Literal["policy", "teleop"]
    start_ns: int
    stop_ns: int

    @property
    def duration_s(self) -> float:
        return (self.stop_ns - self.start_ns) / 1e9


def moved_by(reader: EpisodeReader) -> list[Moved]:
    """Who moved the robot, one range after the other; between them nobody did.

    Empty for an episode without a controller, such as a headless demonstration. Raises BagError for a damaged one.
    """
    changes = [(reader.info.start_ns, "")]
    for log_time_ns, status in _statuses(reader, CONTROL, DIAGNOSTICS):
        if "mode" not in status:
            continue
        source = "" if status["mode"] == "idle" else status.get("source", "")  # what plays while idle is a shadow
        if source != changes[-1][1]:
            # Nothing was told before the first report, so that it holds for what came before, too.
            known_since_ns = log_time_ns if len(changes) > 1 else reader.info.start_ns
            changes.append((known_since_ns, source))
    ends_ns = [time_ns for time_ns, _ in changes[1:]] + [reader.info.stop_ns]
    return [
        Moved(source, start_ns, end_ns)  # type: ignore[arg-type]
        for (start_ns, source), end_ns in zip(changes, ends_ns, strict=True)
        if source
    ]


def interventions(moved: list[Moved]) -> list[Moved]:
    """Those of the ranges in which a human took over from the policy: what corrections are learned from."""
    since_policy = dropwhile(lambda one: one.source != "policy", moved)
    return [one for one in since_policy if one.source == "teleop"]


def limit_events(reader: EpisodeReader) -> dict[str, int]:
    """Kind -> reports of the controller's limit events; it reports at most ten of a kind in a second."""
    return dict(Counter(status["kind"] for _, status in _statuses(reader, CONTROL) if "kind" in status))


def _statuses(reader: EpisodeReader, *topics: str) -> Iterator[tuple[int, dict[str, str]]]:
    present = [topic for topic in topics if topic in reader.types]
    for message in reader.messages(present) if present else ():
        for status in message.msg.status if message.topic == DIAGNOSTICS else [message.msg]:
            if status.name == "controller":
                yield message.log_time_ns, {pair.key: pair.value for pair in status.values}
