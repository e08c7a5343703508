"""What a policy sees of a robot: its slots with their units and its cameras with their sizes, as plain data.

`Contract.interface()` makes it; checkpoints and datasets carry it, so that a mismatch is found before anything moves.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def fingerprint(interface: dict[str, Any]) -> str:
    """SHA-256 (hex) of an interface as canonical JSON."""
    return hashlib.sha256(json.dumps(interface, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def differences(theirs: dict[str, Any], ours: dict[str, Any], their_name: str, our_name: str) -> list[str]:
    """Every difference between two interfaces as a sentence; empty where they agree.

    Example: "camera head: width 224 in the checkpoint, 640 in the contract".
    """
    found: list[str] = []

    def compare(what: str, their_value: object, our_value: object) -> None:
        if their_value != our_value:
            found.append(f"{what} {their_value} in {their_name}, {our_value} in {our_name}")

    compare("robot:", theirs.get("robot"), ours.get("robot"))
    their_cameras, our_cameras = theirs.get("cameras", {}), ours.get("cameras", {})
    for name in sorted({*their_cameras, *our_cameras}):
        if name not in our_cameras:
            found.append(f"camera {name}: in {their_name}, missing in {our_name}")
        elif name not in their_cameras:
            found.append(f"camera {name}: missing in {their_name}, in {our_name}")
        else:
            for key in ("width", "height"):
                compare(f"camera {name}: {key}", their_cameras[name].get(key), our_cameras[name].get(key))
    their_slots, our_slots = theirs.get("slots", []), ours.get("slots", [])
    compare("number of slots:", len(their_slots), len(our_slots))
    for index, (their_slot, our_slot) in enumerate(zip(their_slots, our_slots, strict=False)):
        name = our_slot.get("name")
        compare(f"slot {index}:", their_slot.get("name"), name)
        if their_slot.get("name") == name:
            compare(f"slot {index} ({name}): unit", their_slot.get("unit"), our_slot.get("unit"))
    return found
