"""Message definitions: rosbags' own, and those of packages installed beside ROS (vendor types)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from activemimic_description.messages import jazzy_typestore
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from activemimic_data.bags.episode import BagError


def typestore_for(types: dict[str, str | None]) -> Typestore:
    """A store that knows every type, standard or vendor's.

    Args:
        types: type name -> definition as a bag's ros2msg schema holds it, or None to look for the installed package.

    Raises:
        BagError: a definition is neither standard, given, nor installed, or cannot be parsed.
    """
    if all(name in jazzy_typestore().fielddefs for name in types):
        return jazzy_typestore()
    store = get_typestore(Stores.ROS2_JAZZY)
    for name, definition in types.items():
        if name in store.fielddefs:
            continue
        try:
            _register(store, name, definition)
        except TypesysError as error:
            raise BagError(f"message type {name}: its definition cannot be parsed: {error}") from None
    return store


def _register(store: Typestore, name: str, definition: str | None) -> None:
    parsed = get_types_from_msg(definition or _installed(name), name)
    new = {key: value for key, value in parsed.items() if key not in store.fielddefs}
    store.register(new)
    for dependency in _references(new):
        if dependency not in store.fielddefs:
            _register(store, dependency, None)


def _references(types: dict[str, Any]) -> set[str]:
    found: set[str] = set()

    def walk(node: object) -> None:
        if isinstance(node, str) and "/msg/" in node:
            found.add(node)
        elif isinstance(node, (tuple, list)):
            for part in node:
                walk(part)

    for _, fields in types.values():
        walk([field[1] for field in fields])
    return found


def _installed(name: str) -> str:
    package, _, message = name.split("/")
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    for prefix in prefixes:
        path = prefix / "share" / package / "msg" / f"{message}.msg"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    searched = ", ".join(map(str, prefixes)) or "AMENT_PREFIX_PATH is empty"
    raise BagError(
        f"message type {name} is neither a standard type nor installed: install the ROS package {package} or source "
        f"the workspace that builds it (searched: {searched})"
    )
