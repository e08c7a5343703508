"""What a run begins with: random weights, converted ones of others, or those of an earlier stage's checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from activemimic_policy.checkpoint import Checkpoint, load_checkpoint
from activemimic_policy.model.flow_policy import FlowPolicy
from activemimic_policy.spec import PolicySpec
from activemimic_policy.tokenizer import Tokenizer
from activemimic_policy.weights import start_from
from torch import Tensor

from activemimic_training.trainer.setup.train_config import TrainConfig, TrainConfigError

# What two stages may differ in. Actions and states are padded to one width, so that every other tensor fits.
_MAY_DIFFER = {"cameras", "vocab_size", "text_length", "state_dim", "action_dim", "horizon"}
_WORDS, _CAMERAS = "text.weight", "vision.camera"


@dataclass(frozen=True)
class Taken:
    """What became of a former checkpoint's weights.

    Attributes:
        whole: tensors taken as they are.
        rows: tensor -> the rows (of words, of cameras) that were taken, by name,
        fresh: and those that begin at random.
        left: and the former's that have no place here.
    """

    whole: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]
    fresh: dict[str, tuple[str, ...]]
    left: dict[str, tuple[str, ...]]

    def lines(self) -> list[str]:
        """For a person: a line for the whole tensors, and one for each that was taken in part."""
        parts: dict[str, int] = {}
        for name in self.whole:
            parts[name.split(".")[0]] = parts.get(name.split(".")[0], 0) + 1
        listed = ", ".join(f"{part} {count}" for part, count in parts.items())
        return [f"taken as they are: {len(self.whole)} tensors ({listed})"] + [
            f"{name}: taken {_named(self.rows[name])}; at random {_named(self.fresh[name])}; "
            f"not taken {_named(self.left[name])}"
            for name in self.rows
        ]


def begin(model: FlowPolicy, config: TrainConfig, spec: PolicySpec, tokenizer: Tokenizer) -> list[str]:
    """Gives a fresh network the weights that `config` names; returns what to tell the person.

    Raises TrainConfigError, WeightsError and CheckpointError.
    """
    if config.start_from is not None:
        former = load_checkpoint(config.start_from)
        taken = take_over(model, spec, tokenizer, former, config.start_from)
        slots = f"{len(former.spec.slots)} slots there, {len(spec.slots)} here, padded to {model.config.action_width}"
        steps = former.training.get("steps_done", "?")
        return [f"Starting from {config.start_from} after its step {steps} ({slots})", *taken.lines()]
    if config.model.weights is None:
        return []
    fresh = start_from(model, config.model.weights)
    if config.variant == "sft_only" and not fresh:
        raise TrainConfigError(
            f"variant sft_only starts without actions learnt elsewhere, and {config.model.weights} has an "
            "expert; name a vision-language model's weights, or leave model.weights out"
        )
    return [f"Starting from {config.model.weights}; {fresh or 'nothing'} begins at random."]


def take_over(model: FlowPolicy, spec: PolicySpec, tokenizer: Tokenizer, former: Checkpoint, source: Path) -> Taken:
    """Copies a former checkpoint's weights into `model`; words and cameras are found by their names.

    Raises TrainConfigError when the networks differ in anything else than what they are given.
    """
    ours, theirs = model.config.model_dump(), former.model.model_dump()
    differing = [
        f"model.{name}: expected {theirs[name]} (of the checkpoint), found {ours[name]}"
        for name in ours
        if name not in _MAY_DIFFER and ours[name] != theirs[name]
    ]
    if tokenizer.is_paligemma != former.tokenizer.is_paligemma:
        kinds = ["PaliGemma's" if it.is_paligemma else "one of words" for it in (former.tokenizer, tokenizer)]
        differing.append(f"model.tokenizer: expected {kinds[0]} (of the checkpoint), found {kinds[1]}")
    if differing:
        raise TrainConfigError(f"start_from {source}: {'; '.join(differing)}")
    named = {_WORDS: (former.tokenizer.words(), tokenizer.words())}
    if model.vision.camera is not None:
        named[_CAMERAS] = (former.spec.cameras, spec.cameras)
    taken: dict[str, Tensor] = {}
    rows, fresh, left = {}, {}, {}
    for name, own in model.state_dict().items():
        if name not in named or named[name][0] == named[name][1]:
            taken[name] = former.weights[name]
            continue
        before, now = named[name]
        common = tuple(word for word in now if word in before)
        taken[name] = own.clone()
        taken[name][[now.index(word) for word in common]] = former.weights[name][[before.index(w) for w in common]]
        rows[name], fresh[name] = common, tuple(word for word in now if word not in before)
        left[name] = tuple(word for word in before if word not in now)
    model.load_state_dict(taken, strict=True)
    return Taken(tuple(name for name in taken if name not in rows), rows, fresh, left)


def freeze(model: FlowPolicy, parts: tuple[str, ...]) -> None:
    """The parameters of the named parts get no gradients, and stay as they are."""
    for part in parts:
        for parameter in model.get_submodule(part).parameters():
            parameter.requires_grad_(False)


def former_tokenizer(config: TrainConfig) -> Tokenizer | None:
    """That of the checkpoint which the run starts from. Raises CheckpointError."""
    return None if config.start_from is None else load_checkpoint(config.start_from).tokenizer


def _named(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return shown or "nothing"
