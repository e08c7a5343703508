"""A policy on disk: a folder that is complete and consistent, or an error that names what is not.

config.json           format_version, model (ModelConfig), policy (PolicySpec), training (provenance)
model.safetensors     the weights, float32; all of them float16 in a published checkpoint, float32 again once loaded
normalization.json    mean and standard deviation of state and transformed actions, per slot
tokenizer.json        the words of the instructions
contract.yaml         the robot contract of the training data, as text
onnx/                 the same network as exported graphs, if somebody has exported it
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from activemimic_description.common.atomic import written_beside
from activemimic_description.common.errors import InvalidInputError
from activemimic_description.common.strict import explain, parse_json, parse_section
from pydantic import BaseModel, ValidationError
from torch import Tensor

from activemimic_policy.model.flow_policy import FlowPolicy
from activemimic_policy.model.model_config import ModelConfig
from activemimic_policy.normalization import Normalization
from activemimic_policy.runtime.onnx import read_export
from activemimic_policy.spec import PolicySpec
from activemimic_policy.tokenizer import Tokenizer, TokenizerError

FORMAT_VERSION = 2
CONFIG, WEIGHTS, NORMALIZATION = "config.json", "model.safetensors", "normalization.json"
TOKENIZER, CONTRACT, ONNX = "tokenizer.json", "contract.yaml", "onnx"

M = TypeVar("M", bound=BaseModel)


class CheckpointError(InvalidInputError):
    """A checkpoint that cannot be trusted; the message names folder, file, field, expected and found."""

    def __init__(self, folder: Path, file: str, problems: list[str]) -> None:
        shown = problems[:10] + ([f"and {len(problems) - 10} more"] if len(problems) > 10 else [])
        lines = shown[0] if len(shown) == 1 else "".join(f"\n  {line}" for line in shown)
        super().__init__(f"checkpoint {folder}, {file}: {lines}")
        self._parts = (folder, file, problems)

    def __reduce__(self) -> tuple[type[CheckpointError], tuple[Path, str, list[str]]]:
        # Exceptions are rebuilt from their text, which is not what this one is made of: a worker process that met one
        # would break the whole pool.
        return CheckpointError, self._parts


@dataclass(frozen=True)
class Checkpoint:
    """All that serving needs, in memory."""

    model: ModelConfig
    spec: PolicySpec
    weights: dict[str, Tensor]
    normalization: Normalization
    tokenizer: Tokenizer
    contract_yaml: str
    training: dict[str, Any] = field(default_factory=dict)  # provenance: plain data, only ever shown


def save_checkpoint(folder: Path | str, checkpoint: Checkpoint) -> None:
    """Writes the folder beside its place and renames it.

    Raises CheckpointError, and leaves a former folder as it was, when the parts do not fit one another.
    """
    folder = Path(folder)
    check_parts(folder, checkpoint)
    with written_beside(folder) as partial:
        write_files(partial, checkpoint)


def write_files(folder: Path, checkpoint: Checkpoint, half: bool = False) -> None:
    """Writes a checkpoint whose parts fit one another into a folder; with `half` the weights are rounded to float16."""
    config = {
        "format_version": FORMAT_VERSION,
        "model": checkpoint.model.model_dump(mode="json"),
        "policy": checkpoint.spec.model_dump(mode="json"),
        "training": checkpoint.training,
    }
    texts = {
        CONFIG: json.dumps(config, indent=2, allow_nan=False),
        NORMALIZATION: checkpoint.normalization.model_dump_json(indent=2),
        TOKENIZER: checkpoint.tokenizer.to_json(),
        CONTRACT: checkpoint.contract_yaml,
    }
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    dtype = torch.float16 if half else None
    weights = {name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in checkpoint.weights.items()}
    safetensors.torch.save_file(weights, folder / WEIGHTS)


def load_checkpoint(folder: Path | str) -> Checkpoint:
    """Reads and checks the whole folder. Raises CheckpointError."""
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(folder, "the folder", ["expected a checkpoint, found no folder at this path"])
    for file in (CONFIG, WEIGHTS, NORMALIZATION, TOKENIZER, CONTRACT):
        if not (folder / file).is_file():
            found = ", ".join(sorted(path.name for path in folder.iterdir())) or "an empty folder"
            raise CheckpointError(folder, file, [f"expected this file, found {found}"])
    config = _read_config(folder)
    checkpoint = Checkpoint(
        model=_parse(folder, CONFIG, ModelConfig, config["model"], "model"),
        spec=_parse(folder, CONFIG, PolicySpec, config["policy"], "policy"),
        weights=_read_weights(folder),
        normalization=_parse(folder, NORMALIZATION, Normalization, _read_json(folder, NORMALIZATION)),
        tokenizer=_read_tokenizer(folder),
        contract_yaml=_read_text(folder, CONTRACT),
        training=config["training"],
    )
    check_parts(folder, checkpoint)
    return checkpoint


def describe_checkpoint(folder: Path | str) -> dict[str, Any]:
    """Plain data for a person: sizes by part, what the policy needs and gives, statistics, provenance.

    Raises CheckpointError.
    """
    checkpoint = load_checkpoint(folder)
    spec, table = checkpoint.spec, checkpoint.normalization
    parts: dict[str, int] = {}
    for name, tensor in checkpoint.weights.items():
        part = name.split(".")[0]
        parts[part] = parts.get(part, 0) + tensor.numel()
    described = spec.model_dump(mode="json", exclude={"interface"})
    described["chunk_s"] = spec.horizon / spec.fps
    described["image_px"] = checkpoint.model.image_px
    described["vocabulary"] = checkpoint.tokenizer.vocab_size
    described["parameters"] = {**parts, "total": sum(parts.values())}
    described["exported"] = _exports(Path(folder))
    described["std_floor"] = table.std_floor
    described["normalization"] = [
        {
            "slot": slot,
            "relative": spec.relative_slots[i],
            "state_mean": table.state.mean[i],
            "state_std": table.state.std[i],
            "action_mean": table.action.mean[i],
            "action_std": table.action.std[i],
        }
        for i, slot in enumerate(table.slots)
    ]
    return {"folder": str(folder), "format_version": FORMAT_VERSION, **described, "training": checkpoint.training}


def _exports(folder: Path) -> dict[str, str] | str:
    if not (folder / ONNX).is_dir():
        return "nothing"
    about = read_export(folder / ONNX)
    fits = about.weights_sha256 == file_sha256(folder / WEIGHTS)
    state = "" if fits else ", of other weights: export again"
    return {f"onnx {name}": f"chunks within {error:.1g} of their size{state}" for name, error in about.errors.items()}


def file_sha256(path: Path) -> str:
    """The digest of a file, such as of the weights: by it an export knows what it was made of."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()


def check_parts(folder: Path, checkpoint: Checkpoint) -> None:
    """Raises CheckpointError unless the parts, each valid by itself, fit one another."""
    model, spec = checkpoint.model, checkpoint.spec
    vocabulary = checkpoint.tokenizer.vocab_size
    # (file, field, what it must equal, that value, what was found)
    pairs: list[tuple[str, str, str, Any, Any]] = [
        (CONFIG, "model.cameras", "the number of policy.cameras", len(spec.cameras), model.cameras),
        (CONFIG, "model.horizon", "policy.horizon", spec.horizon, model.horizon),
        (CONFIG, "model.action_dim", "the number of policy.slots", len(spec.slots), model.action_dim),
        (CONFIG, "model.state_dim", "the number of policy.slots", len(spec.slots), model.state_dim),
        (CONFIG, "model.state_width", "model.action_width", model.action_width, model.state_width),
        (TOKENIZER, "number of words", "model.vocab_size", model.vocab_size, vocabulary),
    ]
    slots = zip_longest(spec.slots, checkpoint.normalization.slots, fillvalue="none")
    pairs += [(NORMALIZATION, f"slots[{i}]", f"policy.slots[{i}]", *pair) for i, pair in enumerate(slots)]
    for file, name, source, expected, found in pairs:
        if expected != found:
            raise CheckpointError(folder, file, [f"{name}: expected {expected} ({source}), found {found}"])
    if not checkpoint.contract_yaml.strip():
        raise CheckpointError(folder, CONTRACT, ["expected the robot contract, found an empty file"])
    problems = _weight_problems(model, checkpoint.weights)
    if problems:
        raise CheckpointError(folder, WEIGHTS, problems)


def _weight_problems(model: ModelConfig, weights: dict[str, Tensor]) -> list[str]:
    with torch.device("meta"):
        expected = FlowPolicy(model).state_dict()
    problems = [
        f"{name}: expected a tensor {list(expected[name].shape)}, found nothing"
        for name in expected
        if name not in weights
    ]
    problems += [f"{name}: expected no such tensor" for name in weights if name not in expected]
    for name in expected.keys() & weights.keys():
        want, found = expected[name], weights[name]
        if want.shape != found.shape:
            problems.append(f"{name}: expected shape {list(want.shape)}, found {list(found.shape)}")
        elif found.dtype != want.dtype:
            problems.append(f"{name}: expected {want.dtype}, found {found.dtype}")
        elif not bool(torch.isfinite(found).all()):
            problems.append(f"{name}: expected finite numbers, found NaN or infinity")
    return sorted(problems)


def _read_config(folder: Path) -> dict[str, Any]:
    config = _read_json(folder, CONFIG)
    if not isinstance(config, dict):
        raise CheckpointError(folder, CONFIG, [f"expected an object, found {type(config).__name__}"])
    version = config.get("format_version", "nothing")
    if version != FORMAT_VERSION:
        raise CheckpointError(folder, CONFIG, [f"format_version: expected {FORMAT_VERSION}, found {version}"])
    sections = {"model", "policy", "training"}
    problems = [f"{name}: expected an object, found nothing" for name in sorted(sections - set(config))]
    problems += [f"{name}: expected no such field" for name in sorted(set(config) - sections - {"format_version"})]
    problems += [
        f"{name}: expected an object, found {type(config[name]).__name__}"
        for name in sorted(sections & set(config))
        if not isinstance(config[name], dict)
    ]
    if problems:
        raise CheckpointError(folder, CONFIG, problems)
    return config


def _read_weights(folder: Path) -> dict[str, Tensor]:
    try:
        weights = safetensors.torch.load_file(folder / WEIGHTS)
    except safetensors.SafetensorError as error:
        raise CheckpointError(folder, WEIGHTS, [f"not a whole safetensors file: {error}"]) from None
    if all(tensor.dtype == torch.float16 for tensor in weights.values()):
        return {name: tensor.float() for name, tensor in weights.items()}
    return weights


def _read_tokenizer(folder: Path) -> Tokenizer:
    try:
        return Tokenizer.from_json(_read_text(folder, TOKENIZER))
    except TokenizerError as error:
        raise CheckpointError(folder, TOKENIZER, [str(error)]) from None


def _read_json(folder: Path, file: str) -> Any:
    try:
        return parse_json(_read_text(folder, file))
    except ValueError as error:
        raise CheckpointError(folder, file, [str(error)]) from None


def _read_text(folder: Path, file: str) -> str:
    try:
        return (folder / file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(folder, file, [f"expected UTF-8 text: {error}"]) from None


def _parse(folder: Path, file: str, model: type[M], section: Any, prefix: str = "") -> M:
    try:
        return parse_section(model, section)
    except ValidationError as error:
        raise CheckpointError(folder, file, explain(error, prefix)) from None
