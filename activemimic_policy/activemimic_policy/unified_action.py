"""The unified action of the paper (Sec. 3.1): camera and wrists, 27 numbers, in the camera frame at the chunk's start.

Each of the three is a position (m) and the first two columns of a rotation matrix, column after column (rot6d).
"""

from __future__ import annotations

from collections.abc import Sequence

POSE = ("x", "y", "z", "r1_x", "r1_y", "r1_z", "r2_x", "r2_y", "r2_z")
BODIES = ("camera", "left_wrist", "right_wrist")
UNIFIED_SLOTS: tuple[str, ...] = tuple(f"{body}_{part}" for body in BODIES for part in POSE)
WRIST_SLOTS: tuple[str, ...] = UNIFIED_SLOTS[len(POSE) :]  # the paper's wrist-only variant, 18 numbers


def body_columns(slots: Sequence[str]) -> dict[str, list[int]]:
    """Where the numbers of each body stand among `slots`; of those bodies alone that are there, of a robot none."""
    names = {body: [f"{body}_{part}" for part in POSE] for body in BODIES}
    return {body: [list(slots).index(it) for it in parts] for body, parts in names.items() if {*parts} <= {*slots}}


def wrist_columns(slots: Sequence[str]) -> list[int]:
    """Where the wrist-only variant's slots stand among `slots`.

    Raises ValueError when they are not all there: the variant is one of egocentric pretraining, not of joints.
    """
    missing = [name for name in WRIST_SLOTS if name not in slots]
    if missing:
        raise ValueError(
            f"variant wrist_only needs the {len(WRIST_SLOTS)} wrist slots of the unified action; "
            f"missing: {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}"
        )
    return [list(slots).index(name) for name in WRIST_SLOTS]
