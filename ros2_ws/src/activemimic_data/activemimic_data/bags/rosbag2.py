"""rosbag2's words: QoS profiles as text, and the metadata.yaml by which `ros2 bag` and rosbags open a folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml
from activemimic_description.contract import Qos

# Layout 8 writes QoS as text: Humble cannot read 9, Jazzy reads both.
METADATA_VERSION = 8

_INFINITE = {"sec": 9223372036, "nsec": 854775807}
_RELIABILITY = {"reliable": 1, "best_effort": 2}
_DURABILITY = {"transient_local": 1, "volatile": 2}


@dataclass(frozen=True)
class TopicMetadata:
    """One topic as metadata.yaml lists it; `offered_qos` as `offered_qos` below writes it."""

    name: str
    type_name: str
    type_hash: str
    offered_qos: str
    count: int


def offered_qos(qos: Qos) -> str:
    """The QoS that a publisher offers, as the text that rosbag2 keeps for it."""
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
    return dump([profile])


def parse_offered_qos(text: str) -> Qos:
    """What `offered_qos` was made from. Raises ValueError if it is no such text."""
    try:
        (profile,) = yaml.safe_load(text)
        reliability = {number: name for name, number in _RELIABILITY.items()}[profile["reliability"]]
        durability = {number: name for name, number in _DURABILITY.items()}[profile["durability"]]
        return Qos.model_validate({"reliability": reliability, "durability": durability, "depth": profile["depth"]})
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no QoS profile: {text!r}") from error


def metadata(file: str, start_ns: int, stop_ns: int, topics: Iterable[TopicMetadata], custom: dict[str, str]) -> str:
    """The text of metadata.yaml for a folder that holds the one MCAP file `file`."""
    listed = list(topics)
    count = sum(topic.count for topic in listed)
    start = {"nanoseconds_since_epoch": start_ns}
    duration = {"nanoseconds": stop_ns - start_ns}
    information = {
        "version": METADATA_VERSION,
        "storage_identifier": "mcap",
        "duration": duration,
        "starting_time": start,
        "message_count": count,
        "topics_with_message_count": [_topic(topic) for topic in listed],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [file],
        "files": [{"path": file, "starting_time": start, "duration": duration, "message_count": count}],
        "custom_data": custom,
        "ros_distro": "jazzy",
    }
    return dump({"rosbag2_bagfile_information": information})


def dump(data: Any) -> str:
    """`data` as YAML in the order given."""
    return str(yaml.dump(data, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=120))


def _topic(topic: TopicMetadata) -> dict[str, Any]:
    return {
        "topic_metadata": {
            "name": topic.name,
            "type": topic.type_name,
            "serialization_format": "cdr",
            "offered_qos_profiles": topic.offered_qos,
            "type_description_hash": topic.type_hash,
        },
        "message_count": topic.count,
    }


class _PlainDumper(yaml.SafeDumper):
    """Writes equal values out instead of as aliases (&id001), which are correct but not for reading."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
