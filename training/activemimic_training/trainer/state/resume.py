"""checkpoints/last: everything a killed run needs to go on as if it had not been killed.

Tensors lie in safetensors files, of torch.distributed.checkpoint's kind where several processes wrote them; nothing
is ever unpickled. Noise and order of rows depend on seed and step alone (see batches.py): no random state is kept.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch.distributed.checkpoint as dcp
from activemimic_description.common.atomic import recover, written_beside
from activemimic_description.common.errors import InvalidInputError
from activemimic_description.common.renamed import with_new_names
from activemimic_description.common.strict import parse_json
from activemimic_policy.spec import FORMER_NAMES
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.api import CheckpointException

from activemimic_training.trainer.optimization.distributed import Ranks

FORMAT_VERSION = 1
STATE = "state.json"
GROUPS = ("model", "ema", "optimizer")


class ResumeError(InvalidInputError):
    """A run folder that cannot be gone on with; the message says why and what to do."""


def save_state(
    folder: Path, step: int, identity: dict[str, Any], tensors: dict[str, dict[str, Tensor]], ranks: Ranks
) -> None:
    """Writes the state after `step` steps; `identity` is what a resumed run must have in common with this one.

    Several processes each write what they hold of the tensors; one alone writes them whole.
    """
    state = {"format_version": FORMAT_VERSION, "step": step, "identity": identity}
    with written_beside(folder) if ranks.first else nullcontext(folder) as partial:
        partial = Path(ranks.shared(str(partial)))
        if ranks.first:
            (partial / STATE).write_text(json.dumps(state, indent=2), encoding="utf-8")
        for group in GROUPS:
            if ranks.count > 1:
                writer = HuggingFaceStorageWriter(str(partial / group), save_distributed=True)
                dcp.save(dict(tensors[group]), storage_writer=writer)
            else:
                on_cpu = {name: tensor.cpu().contiguous() for name, tensor in tensors[group].items()}
                safetensors.torch.save_file(on_cpu, partial / f"{group}.safetensors")
        ranks.wait()
    ranks.wait()


def load_state(
    folder: Path, identity: dict[str, Any], blank: Callable[[], dict[str, dict[str, Tensor]]], ranks: Ranks
) -> tuple[int, dict[str, dict[str, Tensor]]] | None:
    """The steps done and the tensors of a former run, of however many processes; None when there was none.

    `blank` makes tensors of the shapes that this process holds.

    Raises ResumeError when the former run was another one, or its folder is damaged.
    """
    if ranks.first:
        recover(folder)
    ranks.wait()
    if not folder.exists():
        return None
    try:
        state = parse_json((folder / STATE).read_text(encoding="utf-8"))
        step, former, version = int(state["step"]), _with_new_names(state["identity"]), state["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, error) from None
    if version != FORMAT_VERSION:
        raise ResumeError(f"{folder}: format_version: expected {FORMAT_VERSION}, found {version}")
    differences = _differences("", json.loads(json.dumps(identity)), former)
    if differences:
        raise ResumeError(
            f"{folder}: this folder holds a run that differs in {'; '.join(differences)}; "
            "choose another out folder, or start with the former values to go on"
        )
    try:
        return step, _load_sharded(folder, blank(), ranks) if (folder / GROUPS[0]).is_dir() else _load_whole(folder)
    except (OSError, ValueError, KeyError, RuntimeError, safetensors.SafetensorError, CheckpointException) as error:
        raise _damaged(folder, error) from None


def _with_new_names(identity: dict[str, Any]) -> dict[str, Any]:
    config = dict(identity.get("config", {}))
    if "policy" in config:
        config["policy"] = with_new_names(config["policy"], FORMER_NAMES, STATE)
    return {**identity, "config": config} if config else dict(identity)


def _load_whole(folder: Path) -> dict[str, dict[str, Tensor]]:
    return {group: safetensors.torch.load_file(folder / f"{group}.safetensors") for group in GROUPS}


def _load_sharded(folder: Path, tensors: dict[str, dict[str, Tensor]], ranks: Ranks) -> dict[str, dict[str, Tensor]]:
    for group in GROUPS:
        reader = HuggingFaceStorageReader(str(folder / group))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*assuming the intent is to load in a single process")
            dcp.load(tensors[group], storage_reader=reader, no_dist=ranks.count == 1)
    return tensors


def _damaged(folder: Path, error: Exception | CheckpointException) -> ResumeError:
    text = str(error).strip().splitlines()
    return ResumeError(f"{folder}: damaged: {text[0] if text else error!r}; remove it to start from the beginning")


def _differences(path: str, ours: Any, theirs: Any) -> list[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = [*ours, *(key for key in theirs if key not in ours)]
        return [
            line
            for key in keys
            for line in _differences(f"{path}.{key}" if path else key, ours.get(key), theirs.get(key))
        ]
    return [] if ours == theirs else [f"{path} (now {ours}, then {theirs})"]
