"""What a training run does, read strictly from YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from activemimic_description.common.configuration import read_config
from activemimic_description.common.errors import InvalidInputError
from activemimic_policy.model.model_config import PRESETS
from activemimic_policy.spec import FORMER_NAMES
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

DEFAULT_STEPS = 2400
# What does not change the result, but for rounding.
_FREE = {"device", "threads", "accumulate", "recompute", "checkpoint_every", "closed_loop"}
_FREE |= {"images", "workers", "max_image_gb"}
Part = Literal["vision", "text", "prefix", "expert"]


class TrainConfigError(InvalidInputError):
    """A training configuration that cannot be used; the message names file, field, expected and found."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSection(_Section):
    """A preset of the network; a size left out is the preset's own."""

    preset: str = Field("tiny", description=f"One of {', '.join(sorted(PRESETS))}.")
    weights: Path | None = Field(
        None, description="Folder or file to start from, as `activemimic policy convert` wrote it."
    )
    tokenizer: Path | None = Field(
        None, description="PaliGemma's tokenizer.json; without it one is made of the instructions' words."
    )
    image_px: PositiveInt | None = Field(None, description="Side of the square that frames are shrunk to.")
    horizon: PositiveInt | None = Field(None, description="Steps of a chunk.")
    text_length: PositiveInt | None = Field(None, description="Words of an instruction, with the one that begins it.")

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

    FORMER_NAMES: ClassVar[Mapping[str, str]] = FORMER_NAMES

    execution_horizon: PositiveInt = Field(
        8, description="Of a chunk, before the next one; long open-loop execution misses the object."
    )
    num_inference_steps: PositiveInt = Field(10, description="Euler steps from noise to actions.")
    noise_scale: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Of the noise that served chunks start from; 0: the same for what looks the same.",
    )
    max_delay_steps: NonNegativeInt = Field(
        0, description="Up to so many of a chunk's first steps are given in half of the draws (real-time chunking)."
    )
    relative_knee: PositiveFloat = Field(
        0.02, description="Rad or m; relative targets are linear below and logarithmic above."
    )
    absolute_slots: tuple[str, ...] = Field(
        ("left_gripper", "right_gripper"), description="Slots whose targets stay absolute."
    )


class OptimizerSection(_Section):
    """AdamW, clipped gradients, linear warm-up and a cosine."""

    lr: PositiveFloat = Field(1e-3, description="The highest rate, after the warm-up.")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.95, ge=0, lt=1)
    weight_decay: NonNegativeFloat = 1e-4
    clip_norm: PositiveFloat = Field(1.0, description="Longest gradient.")
    warmup_steps: NonNegativeInt = 100
    final_lr_share: float = Field(0.02, ge=0, le=1, description="Of `lr`, at the end of the cosine.")


class ValidationSection(_Section):
    """Episodes that are not trained on, and how often the actions for them are looked at."""

    episodes: PositiveInt | float = Field(
        0.1, description="How many are held out; below 1: this share of them, at least one."
    )
    every: PositiveInt = Field(400, description="Steps between two looks; the last step is always one.")
    batches: PositiveInt = Field(8, description="Batches a look, of rows spread evenly over the held-out episodes.")

    @field_validator("episodes")
    @classmethod
    def _share_or_count(cls, episodes: float) -> float:
        if isinstance(episodes, float) and not 0 < episodes < 1:
            raise ValueError(f"expected a share between 0 and 1 or a whole number, found {episodes}")
        return episodes


class ClosedLoopSection(_Section):
    """Trials in the simulator, by `activemimic eval`; the best checkpoint is then the one that succeeds most often."""

    task: str = Field(description="A task of the simulator.")
    every: PositiveInt = Field(description="Steps between two evaluations; the last step is always one.")
    trials: PositiveInt = Field(18, description="How many each time, the same ones.")
    first_seed: NonNegativeInt = Field(
        900_000, description="Of their scenes; the seeds of the reported trials stay unseen, as `best` is chosen here."
    )
    workers: PositiveInt = Field(2, description="Processes that simulate.")


class LoraSection(_Section):
    """Low-rank adapters for GPUs that are too small for the whole; merged into the checkpoint that is served."""

    rank: PositiveInt = Field(16, description="Rows of the small matrices.")
    alpha: PositiveFloat = Field(16.0, description="The adapters count alpha / rank.")
    parts: tuple[Literal["vision", "prefix", "expert"], ...] = Field(
        ("vision", "prefix", "expert"), min_length=1, description="Whose blocks stay as they are and get adapters."
    )


class CotrainSection(_Section):
    """A list of other datasets of the same slots, cameras and rate, some rows of which are in every batch.

    Each is normalised by its own statistics; the checkpoint has those of `dataset`, whose robot it is served on.
    """

    dataset: Path = Field(description="Its folder.")
    share: float = Field(gt=0, lt=1, description="Of every batch, rounded to whole rows.")


class TrainConfig(_Section):
    """A training run. Relative paths are relative to the working directory."""

    dataset: Path = Field(description="The folder that `activemimic dataset build` wrote.")
    cotrain: tuple[CotrainSection, ...] = ()
    out: Path = Field(description="The run's folder; one that holds a killed run is gone on with.")
    cameras: tuple[str, ...] | None = Field(None, description="None: all of the dataset's.")
    variant: Literal["full", "wrist_only", "sft_only"] = Field(
        "full",
        description="The paper's: wrist_only predicts 18 of the 27 numbers of the unified action; sft_only starts "
        "without actions that were learnt elsewhere.",
    )
    seed: NonNegativeInt = Field(0, description="Of first weights, order, noise, held-out episodes and augmentation.")
    steps: PositiveInt | None = Field(None, description=f"{DEFAULT_STEPS} without `epochs`.")
    epochs: PositiveFloat | None = Field(None, description="In place of `steps`: how often every row starts a chunk.")
    batch_size: PositiveInt = Field(16, description="Rows a step, over all processes.")
    noise_draws: PositiveInt = Field(2, description="Per observation, through one pass of the prefix.")
    slot_weights: dict[str, NonNegativeFloat] = Field(
        {}, description="In the loss, by slot; 1 for those that are not named."
    )
    confidence_weighting: bool = Field(
        False, description="Of egocentric video: each body's numbers count in the loss by their confidence, 0 to 1."
    )
    ema_decay: float = Field(0.998, ge=0, lt=1, description="Of the average of the weights, which is served.")
    freeze: tuple[Part, ...] = Field(
        (), description="Parts of the network that stay as they are; the paper's VLM is vision, text and prefix."
    )
    start_from: Path | None = Field(
        None, description="A checkpoint whose weights are taken, such as stage 1's; its robot may be another."
    )
    model: ModelSection = ModelSection()
    policy: PolicySection = PolicySection()
    optimizer: OptimizerSection = OptimizerSection()
    augment: bool = Field(
        False, description="Crop to 95 %, turn by up to 5° (never wrist cameras) and recolour the images, as pi0 does."
    )
    relight: bool = Field(
        False,
        description="Half of the rows in a light of a random colour, of these half with colour channels swapped, alike "
        "in all cameras.",
    )
    lora: LoraSection | None = None
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: of the computation; weights stay float32.")
    validation: ValidationSection | None = None
    closed_loop: ClosedLoopSection | None = None

    # What follows does not change the result but for rounding, so a run may be resumed with other values.
    device: str = Field("cpu", description="cpu, cuda or cuda:N; of torchrun's processes each takes its own GPU.")
    threads: PositiveInt | None = Field(None, description="None: as many as there are CPUs, shared by the processes.")
    accumulate: PositiveInt = Field(1, description="In how many parts, one after the other, a batch is computed.")
    recompute: bool = Field(False, description="Compute activations twice instead of keeping them: less memory.")
    checkpoint_every: PositiveInt = Field(400, description="Steps; the last one is always kept.")
    images: Literal["memory", "disk", "video"] = Field(
        "memory",
        description="Where frames are: all decoded once, in memory or in files that are gone with the run; or in the "
        "videos until a batch needs them.",
    )
    workers: NonNegativeInt | None = Field(
        None, description="Threads that make batches ahead; none: 4 with `images: video`, otherwise 0."
    )
    max_image_gb: PositiveFloat = Field(8.0, description="Most memory that decoded frames may take.")

    @model_validator(mode="after")
    def _agrees(self) -> TrainConfig:
        if self.steps and self.epochs:
            raise ValueError(f"steps {self.steps} and epochs {self.epochs:g}: expected one of the two")
        if (rows := self.cotrained_rows()) and (min(rows) < 1 or sum(rows) >= self.batch_size):
            raise ValueError(
                f"cotrain: expected shares that leave every dataset a row of batch_size {self.batch_size}, "
                f"found {', '.join(map(str, rows))} rows"
            )
        if self.start_from and self.model.weights:
            raise ValueError("start_from and model.weights: expected one of the two")
        if self.start_from and self.variant == "sft_only":
            raise ValueError("start_from: variant sft_only starts without actions learnt elsewhere; leave it out")
        if set(self.freeze) == {"vision", "text", "prefix", "expert"}:
            raise ValueError("freeze: leaves nothing to train")
        return self

    def cotrained_rows(self) -> list[int]:
        """How many rows of a batch are of each of the other datasets."""
        return [round(other.share * self.batch_size) for other in self.cotrain]

    def total_steps(self, starts: int) -> int:
        """How long to train where `starts` rows of `dataset` may start a chunk; epochs are counted in these."""
        if self.epochs:
            return max(1, -(-int(self.epochs * starts) // (self.batch_size - sum(self.cotrained_rows()))))
        return self.steps or DEFAULT_STEPS

    def result_fields(self) -> dict[str, Any]:
        """The plain data on which the result depends."""
        fields = self.model_dump(mode="json", exclude=_FREE | {"dataset", "out", "validation"})
        # How often one looks changes nothing; which episodes are held out does.
        fields["cotrain"] = [{"dataset": it.dataset.name, "share": it.share} for it in self.cotrain]
        fields["validation"] = {"episodes": self.validation.episodes} if self.validation else None
        return fields


def load_train_config(path: Path | str, overrides: Sequence[str] = ()) -> TrainConfig:
    """The YAML file at `path`, with overrides such as "optimizer.lr=0.0005" on top.

    Raises TrainConfigError.
    """
    return read_config(TrainConfig, Path(path), overrides, TrainConfigError)
