"""What a training run does, read strictly from YAML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from activemimic_policy.model.config import PRESETS
from activemimic_policy.strict import explain
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
)


class TrainConfigError(ValueError):
    """A training configuration that cannot be used; the message names file, field, expected and found."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSection(_Section):
    """A preset of the network; a size left out is the preset's own."""

    preset: str = "tiny"
    weights: Path | None = None  # folder or file to start from, as `activemimic policy convert` wrote it
    tokenizer: Path | None = None  # PaliGemma's tokenizer.json; without it one is made of the instructions' words
    image_px: PositiveInt | None = None
    horizon: PositiveInt | None = None
    text_length: PositiveInt | None = None

    @field_validator("preset")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in PRESETS:
            raise ValueError(f"expected one of {', '.join(sorted(PRESETS))}, found {name!r}")
        return name

    def sizes(self) -> dict[str, int]:
        """The sizes that override the preset."""
        return self.model_dump(exclude={"preset", "weights", "tokenizer"}, exclude_none=True)


class PolicySection(_Section):
    """How the checkpoint is meant to be served."""

    execute_steps: PositiveInt = 8  # of a chunk, before the next one; long open-loop execution misses the object
    flow_steps: PositiveInt = 10
    max_delay_steps: NonNegativeInt = 0  # train with 0 to this many of a chunk's first steps given (real-time chunking)
    relative_knee: PositiveFloat = 0.02  # rad or m; relative targets are linear below and logarithmic above
    gripper_slots: tuple[str, ...] = ("left_gripper", "right_gripper")


class OptimizerSection(_Section):
    lr: PositiveFloat = 1e-3
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.95, ge=0, lt=1)
    weight_decay: NonNegativeFloat = 1e-4
    clip_norm: PositiveFloat = 1.0
    warmup_steps: NonNegativeInt = 100
    final_lr_share: float = Field(0.02, ge=0, le=1)  # of lr, at the end of the cosine


class TrainConfig(_Section):
    """A training run. Relative paths are relative to the working directory."""

    dataset: Path
    out: Path
    cameras: tuple[str, ...] | None = None  # None: all of the dataset's
    # The paper's: wrist_only predicts 18 of the 27 numbers of the unified action; sft_only starts without actions that
    # were learnt elsewhere.
    variant: Literal["full", "wrist_only", "sft_only"] = "full"
    seed: NonNegativeInt = 0
    steps: PositiveInt = 2400
    batch_size: PositiveInt = 16
    noise_draws: PositiveInt = 2  # per observation, through one pass of the prefix
    slot_weights: dict[str, NonNegativeFloat] = {}  # in the loss, by slot; 1 for those that are not named
    ema_decay: float = Field(0.998, ge=0, lt=1)
    model: ModelSection = ModelSection()
    policy: PolicySection = PolicySection()
    optimizer: OptimizerSection = OptimizerSection()

    # What follows does not change the result, so a run may be resumed with other values.
    device: str = "cpu"
    threads: PositiveInt | None = None  # None: as many as there are CPUs
    checkpoint_every: PositiveInt = 400
    max_image_gb: PositiveFloat = 8.0  # of decoded frames in memory

    def result_fields(self) -> dict[str, Any]:
        """The plain data on which the result depends."""
        free = {"dataset", "out", "device", "threads", "checkpoint_every", "max_image_gb"}
        return self.model_dump(mode="json", exclude=free)


def load_train_config(path: Path | str, overrides: Sequence[str] = ()) -> TrainConfig:
    """The YAML file at `path`, with overrides such as "optimizer.lr=0.0005" on top.

    Raises TrainConfigError.
    """
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TrainConfigError(f"{path}: cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise TrainConfigError(f"{path}: expected fields and values, found {type(data).__name__}")
    for override in overrides:
        _override(data, override)
    try:
        return TrainConfig.model_validate(data)
    except ValidationError as error:
        source = f"{path} with {' '.join(overrides)}" if overrides else str(path)
        raise TrainConfigError(f"{source}: " + "; ".join(explain(error))) from None


def _override(data: dict[str, Any], override: str) -> None:
    field, equals, text = override.partition("=")
    if not equals or not field:
        raise TrainConfigError(f"override {override!r}: expected field=value or section.field=value")
    *sections, name = field.split(".")
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise TrainConfigError(f"override {override!r}: {section} is a value, not a section")
    try:
        data[name] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise TrainConfigError(f"override {override!r}: {text!r} is not a YAML value") from None
