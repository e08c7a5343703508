"""The robot contract: one YAML file that says how a robot speaks ROS 2.

For every camera, state source and command sink it names topic, type, QoS and rate, and which message fields fill
which slots of the robot vector: `slot = sign * scale * raw + offset`. Loading is strict: whatever is unknown,
missing, doubled or of the wrong unit is a `ContractError` that names the file and the field.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, PrivateAttr, ValidationError, model_validator

from activemimic_description import interface as interfaces
from activemimic_description.common.errors import InvalidInputError
from activemimic_description.contract_entries import (
    CameraSource,
    JointSink,
    JointSource,
    JointTopic,
    Positive,
    Qos,
    Strict,
)
from activemimic_description.robot import RobotError, Slot, load_robot

__all__ = [
    "CameraSource",
    "Contract",
    "ContractError",
    "JointSink",
    "JointSource",
    "Qos",
    "load_contract",
    "parse_contract",
]

CONTRACTS_FOLDER = Path(__file__).parent / "contracts"

# Raw units a slot accepts, each with the only scale that is right for it (None: the robot decides).
_RAW_UNITS: dict[str, dict[str, float | None]] = {
    "rad": {"rad": 1.0, "deg": math.pi / 180},
    "m": {"m": 1.0, "cm": 0.01, "mm": 0.001},
    "fraction": {"fraction": None, "rad": None, "deg": None, "m": None, "cm": None, "mm": None, "raw": None},
}


class ContractError(InvalidInputError):
    """A contract that cannot be used: the text names the file, the field, what was expected and what was found."""


class Contract(Strict):
    """How one robot speaks ROS 2. `state` and `commands` each fill every slot of the robot exactly once."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    robot: str
    rate_hz: Positive
    max_chunk_points: Annotated[int, Field(ge=1, le=512)] = 128  # of a chunk of targets, to be taken at all,
    max_chunk_s: Annotated[float, Field(gt=0.0, le=60.0)] = 5.0  # and how long after its stamp it may end
    cameras: Annotated[dict[str, CameraSource], Field(min_length=1)]
    state: Annotated[list[JointSource], Field(min_length=1)]
    commands: Annotated[list[JointSink], Field(min_length=1)]

    _slots: tuple[Slot, ...] = PrivateAttr()
    _text: str = PrivateAttr()

    @model_validator(mode="after")
    def _covers_the_robot(self) -> Contract:
        try:
            self._slots = load_robot(self.robot).slots
        except RobotError as error:
            raise ValueError(f"robot: {error}") from None
        problems = [
            *_topic_problems(self),
            *_slot_problems("state", self.state, self._slots),
            *_slot_problems("commands", self.commands, self._slots),
        ]
        if problems:
            raise ValueError("\n".join(problems))
        for topic in (*self.state, *self.commands):
            topic.bind(self.slots)
        for name, camera in self.cameras.items():
            camera.bind(name)
        return self

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the robot vector's slots, in their order."""
        return tuple(slot.name for slot in self._slots)

    @property
    def text(self) -> str:
        """The YAML this contract was loaded from, to be copied beside whatever was made with it."""
        return self._text

    def topics(self) -> dict[str, CameraSource | JointSource | JointSink]:
        """Every topic of the contract: cameras, then state sources, then command sinks."""
        entries: list[CameraSource | JointSource | JointSink] = [*self.cameras.values(), *self.state, *self.commands]
        return {entry.topic: entry for entry in entries}

    def interface(self) -> dict[str, Any]:
        """What a policy sees of the robot: slots with unit, cameras with size. Topics and rates are not part of it."""
        return {
            "robot": self.robot,
            "slots": [{"name": slot.name, "unit": slot.unit} for slot in self._slots],
            "cameras": {
                name: {"width": camera.width, "height": camera.height} for name, camera in self.cameras.items()
            },
        }

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the interface as canonical JSON: equal means that policies are exchangeable."""
        return interfaces.fingerprint(self.interface())

    def differences(self, other: dict[str, Any], other_name: str = "the checkpoint") -> list[str]:
        """What a person has to know when `other` (an interface) does not fit this contract; empty if it fits."""
        return interfaces.differences(other, self.interface(), other_name, "the contract")


def load_contract(name_or_path: str | Path) -> Contract:
    """A shipped contract by name ("g1_sim"), or any contract by path.

    Raises:
        ContractError: no such contract, or any field of it is wrong.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = CONTRACTS_FOLDER / f"{name_or_path}.yaml"
        if not path.is_file():
            shipped = ", ".join(sorted(p.stem for p in CONTRACTS_FOLDER.glob("*.yaml")))
            raise ContractError(f"no contract {str(name_or_path)!r}: expected {shipped}, or the path of a .yaml file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"{path}: cannot be read: {error}") from None
    return parse_contract(text, str(path))


def parse_contract(text: str, origin: str) -> Contract:
    """A contract from its YAML text; `origin` names it in errors. Raises ContractError."""
    try:
        data = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise ContractError(f"{origin}: {error}") from None
    try:
        contract = Contract.model_validate(data)
    except ValidationError as error:
        raise ContractError("\n".join(f"{origin}: {line}" for line in _sentences(error))) from None
    contract._text = text
    return contract


def _topic_problems(contract: Contract) -> Iterator[str]:
    used: dict[str, str] = {}
    places = [(f"cameras.{name}", camera.topic) for name, camera in contract.cameras.items()]
    places += [(f"state[{i}]", source.topic) for i, source in enumerate(contract.state)]
    places += [(f"commands[{i}]", sink.topic) for i, sink in enumerate(contract.commands)]
    for place, topic in places:
        if topic in used:
            yield f"{place}.topic: {topic} is already used by {used[topic]}; expected every topic once"
        used.setdefault(topic, place)


def _slot_problems(key: str, topics: Sequence[JointTopic], slots: tuple[Slot, ...]) -> Iterator[str]:
    units = {slot.name: slot.unit for slot in slots}
    filled: dict[str, str] = {}
    for t, topic in enumerate(topics):
        raw_names: dict[str | None, str] = {}
        for f, field in enumerate(topic.fields):
            place = f"{key}[{t}].fields[{f}]"
            if field.slot not in units:
                yield f"{place}.slot: expected a slot of the robot ({', '.join(units)}), found {field.slot!r}"
                continue
            if field.slot in filled:
                yield f"{place}.slot: {field.slot} is already filled by {filled[field.slot]}; expected it once"
            filled.setdefault(field.slot, place)
            raw = field.name or field.path
            if raw in raw_names:
                yield f"{place}: {raw!r} is already used by {raw_names[raw]}; expected it once"
            raw_names.setdefault(raw, place)
            allowed = _RAW_UNITS[units[field.slot]]
            if field.unit not in allowed:
                yield f"{place}.unit: expected {' or '.join(allowed)} for {field.slot}, found {field.unit}"
                continue
            scale = allowed[field.unit]
            if scale is not None and not math.isclose(field.scale, scale, rel_tol=1e-6):
                wanted = f"{scale:.9g} ({field.unit} to {units[field.slot]})"
                yield f"{place}.scale: expected {wanted}, found {field.scale}"
    for name in units:
        if name not in filled:
            yield f"{key}: no topic fills slot {name}; expected every slot once"


def _sentences(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
        prefix = f"{place}: " if place else ""
        if problem["type"] == "value_error":
            yield from (f"{prefix}{line}" for line in str(problem["ctx"]["error"]).splitlines())
        elif problem["type"] == "extra_forbidden":
            yield f"{prefix}unknown key, holding {problem['input']!r}"
        elif problem["type"] == "missing":
            yield f"{prefix}missing; expected a value"
        else:
            yield f"{prefix}{problem['msg'].replace('Input should be', 'expected')}, found {problem['input']!r}"


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML takes the last of two equal keys in silence; here the second one is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.YAMLError(f"line {key_node.start_mark.line + 1}: key {key!r} appears twice; expected once")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)
