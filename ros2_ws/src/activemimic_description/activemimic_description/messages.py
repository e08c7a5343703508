"""ROS 2 messages from two factories with one face: installed rosidl classes (live), or rosbags classes (offline).

Both make a message from plain values and serialise it to the same CDR bytes, so that what is generated without ROS
cannot be told from what a node published. Nested messages are given as dictionaries.
"""

from __future__ import annotations

import array
import importlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from activemimic_description.common.errors import InvalidInputError

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

_NUMERIC = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)] + ["float32", "float64"]
_DTYPES: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(name) for name in _NUMERIC},
    "bool": np.dtype(np.bool_),
    **{name: np.dtype(np.uint8) for name in ("octet", "byte", "char")},
}
_ARRAY_CODES = {"int64": "q", "uint64": "Q"}  # numpy calls them by their C type, rosidl by their size
_ROSIDL_NAMES = {"float": "float32", "double": "float64", "boolean": "bool"}


class MessageTypeError(InvalidInputError):
    """A message type or field that does not exist here; the text says what to install or which fields there are."""


class Messages(Protocol):
    """Makes and serialises messages of a type given as "sensor_msgs/msg/JointState"."""

    def make(self, type_name: str, **fields: Any) -> Any:
        """A message with `fields` set and every other field at its default."""

    def serialize(self, msg: Any, type_name: str) -> bytes:
        """The message as little-endian CDR, byte for byte what a publisher sends."""


class RosMessages:
    """Installed rosidl classes: what rclpy publishes and delivers."""

    def make(self, type_name: str, **fields: Any) -> Any:
        msg_class = ros_class(type_name)
        kinds = _ros_kinds(type_name)
        msg = msg_class()
        for name, value in fields.items():
            setattr(msg, name, self._value(_kind(type_name, kinds, name), value))
        return msg

    def serialize(self, msg: Any, type_name: str) -> bytes:
        # Not rclpy's serialize_message: it leaves whatever was in memory in the padding and behind the end. A
        # publisher sends the bytes made here.
        bag_messages = BagMessages()
        return bag_messages.serialize(bag_messages.adopt(msg, type_name), type_name)

    def _value(self, kind: _Kind, value: Any) -> Any:
        if kind.nested:
            if kind.sequence:
                return [self._value(kind._replace(sequence=False), item) for item in value]
            return self.make(kind.base, **value) if isinstance(value, Mapping) else value
        if kind.base == "octet" and not kind.sequence:
            return bytes([value]) if isinstance(value, int) else value
        if not kind.sequence or kind.base in ("string", "bool", "octet"):
            return value
        flat = _flat(kind, value)
        if kind.length:
            return flat
        # The setter takes an array.array as it is; every other sequence is walked element by element (ms per image).
        buffer = array.array(_ARRAY_CODES.get(kind.base, flat.dtype.char))
        buffer.frombytes(flat.tobytes())
        return buffer


class BagMessages:
    """The classes of rosbags' Jazzy typestore: no ROS installation needed."""

    def __init__(self, store: Typestore | None = None) -> None:
        self.store = store or jazzy_typestore()
        self._known: dict[str, dict[str, _Kind]] = {}

    def make(self, type_name: str, **fields: Any) -> Any:
        kinds = self._kinds(type_name)
        for name in fields:
            _kind(type_name, kinds, name)
        values = {
            name: self._value(kind, fields[name]) if name in fields else self._default(kind)
            for name, kind in kinds.items()
        }
        return self.store.types[type_name](**values)

    def adopt(self, msg: Any, type_name: str) -> Any:
        """The same message in this store's class, whatever class `msg` has."""
        return self.make(
            type_name, **{name: getattr(msg, name) for name in self._kinds(type_name) if hasattr(msg, name)}
        )

    def serialize(self, msg: Any, type_name: str) -> bytes:
        return bytes(self.store.serialize_cdr(msg, type_name, little_endian=True))

    def _kinds(self, type_name: str) -> dict[str, _Kind]:
        if type_name not in self._known:
            self._known[type_name] = self._read_kinds(type_name)
        return self._known[type_name]

    def _read_kinds(self, type_name: str) -> dict[str, _Kind]:
        from rosbags.interfaces import Nodetype

        if type_name not in self.store.fielddefs:
            raise MessageTypeError(f"message type {type_name} is not in the bag typestore: register its definition")
        kinds = {}
        for name, field in self.store.fielddefs[type_name][1]:
            inner: Any = field
            length = 0
            if sequence := field[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE):
                inner, count = field[1]
                length = count if field[0] == Nodetype.ARRAY else 0
            nested = inner[0] == Nodetype.NAME
            kinds[name] = _Kind(inner[1] if nested else inner[1][0], nested, sequence, length)
        return kinds

    def _value(self, kind: _Kind, value: Any) -> Any:
        if kind.nested:
            if kind.sequence:
                return [self._value(kind._replace(sequence=False), item) for item in value]
            return self.make(kind.base, **value) if isinstance(value, Mapping) else self.adopt(value, kind.base)
        if kind.sequence:
            return list(value) if kind.base == "string" else _flat(kind, value)
        return value[0] if isinstance(value, bytes) else value

    def _default(self, kind: _Kind) -> Any:
        if kind.sequence:
            if kind.nested:
                return [self.make(kind.base) for _ in range(kind.length)]
            return [""] * kind.length if kind.base == "string" else np.zeros(kind.length, _DTYPES[kind.base])
        if kind.nested:
            return self.make(kind.base)
        return "" if kind.base == "string" else _DTYPES[kind.base].type().item()


def stamp(stamp_ns: int) -> dict[str, int]:
    """The fields of a builtin_interfaces/msg/Time (or Duration) of `stamp_ns` nanoseconds."""
    sec, nanosec = divmod(int(stamp_ns), 1_000_000_000)
    return {"sec": sec, "nanosec": nanosec}


def header(stamp_ns: int, frame_id: str = "") -> dict[str, Any]:
    """The fields of a std_msgs/msg/Header."""
    return {"stamp": stamp(stamp_ns), "frame_id": frame_id}


@lru_cache
def ros_class(type_name: str) -> Any:
    """The installed rosidl class of a type. Raises MessageTypeError, naming the package to install."""
    package, _, name = type_name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except ImportError as error:
        raise MessageTypeError(
            f"message type {type_name} is not installed here ({error}): install the ROS package {package} "
            f"(apt: ros-$ROS_DISTRO-{package.replace('_', '-')}) or source the workspace that builds it"
        ) from None
    except AttributeError:
        raise MessageTypeError(f"the installed package {package} has no message {name}: install its release") from None


@lru_cache
def jazzy_typestore() -> Typestore:
    """rosbags' typestore of ROS 2 Jazzy. Shared: register vendor types in a store of your own."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)


class _Kind(NamedTuple):
    """What a field holds: `base` is a primitive (numpy's name) or, nested, a message type; length 0 is unbounded."""

    base: str
    nested: bool
    sequence: bool
    length: int


@lru_cache
def _ros_kinds(type_name: str) -> dict[str, _Kind]:
    kinds = {}
    for name, text in ros_class(type_name).get_fields_and_field_types().items():
        match = re.fullmatch(r"sequence<([^,>]+(?:<\d+>)?)(?:, \d+)?>|(.+?)(?:\[(\d+)\])?", text)
        assert match, text
        base = re.sub(r"<\d+>", "", match[1] or match[2])
        if nested := "/" in base:
            base = base.replace("/", "/msg/")
        sequence = match[1] is not None or match[3] is not None
        kinds[name] = _Kind(_ROSIDL_NAMES.get(base, base), nested, sequence, int(match[3] or 0))
    return kinds


def _kind(type_name: str, kinds: dict[str, _Kind], name: str) -> _Kind:
    if name not in kinds:
        raise MessageTypeError(f"{type_name} has no field {name!r}: it has {', '.join(kinds)}")
    return kinds[name]


def _flat(kind: _Kind, value: Any) -> np.ndarray:
    """`value` as a contiguous one-dimensional array of the field's type; bytes are not copied."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return np.frombuffer(value, _DTYPES[kind.base])
    return np.ascontiguousarray(value, _DTYPES[kind.base]).reshape(-1)
