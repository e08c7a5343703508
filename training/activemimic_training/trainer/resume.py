"""checkpoints/last: everything a killed run needs to go on as if it had not been killed.

Noise and order of rows depend on seed and step alone (see batches.py), so there is no random state to keep.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from activemimic_policy.atomic import recover, written_beside
from activemimic_policy.strict import parse_json
from torch import Tensor

FORMAT_VERSION = 1
STATE = "state.json"
GROUPS = ("model", "ema", "optimizer")


class ResumeError(ValueError):
    """A run folder that cannot be gone on with; the message says why and what to do."""


def save_state(folder: Path, step: int, identity: dict[str, Any], tensors: dict[str, dict[str, Tensor]]) -> None:
    """Writes the state after `step` steps; `identity` is what a resumed run must have in common with this one."""
    state = {"format_version": FORMAT_VERSION, "step": step, "identity": identity}
    with written_beside(folder) as partial:
        (partial / STATE).write_text(json.dumps(state, indent=2), encoding="utf-8")
        for group in GROUPS:
            on_cpu = {name: tensor.cpu().contiguous() for name, tensor in tensors[group].items()}
            safetensors.torch.save_file(on_cpu, partial / f"{group}.safetensors")


def load_state(folder: Path, identity: dict[str, Any]) -> tuple[int, dict[str, dict[str, Tensor]]] | None:
    """The steps done and the tensors of a former run; None when there was none.

    Raises ResumeError when the former run was another one, or its folder is damaged.
    """
    recover(folder)
    if not folder.exists():
        return None
    try:
        state = parse_json((folder / STATE).read_text(encoding="utf-8"))
        tensors = {group: safetensors.torch.load_file(folder / f"{group}.safetensors") for group in GROUPS}
        step, former = int(state["step"]), dict(state["identity"])
        version = state["format_version"]
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise ResumeError(f"{folder}: damaged: {error}; remove it to start from the beginning") from None
    if version != FORMAT_VERSION:
        raise ResumeError(f"{folder}: format_version: expected {FORMAT_VERSION}, found {version}")
    differences = _differences("", json.loads(json.dumps(identity)), former)
    if differences:
        raise ResumeError(
            f"{folder}: this folder holds a run that differs in {'; '.join(differences)}; "
            "choose another out folder, or start with the former values to go on"
        )
    return step, tensors


def _differences(path: str, ours: Any, theirs: Any) -> list[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = [*ours, *(key for key in theirs if key not in ours)]
        return [
            line
            for key in keys
            for line in _differences(f"{path}.{key}" if path else key, ours.get(key), theirs.get(key))
        ]
    return [] if ours == theirs else [f"{path} (now {ours}, then {theirs})"]
