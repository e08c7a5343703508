"""Weights that others trained, as this network's: PaliGemma of the hub or `transformers`, pi0 of openpi or LeRobot.

Every foreign key name of the project stands in this file. A source is first renamed to one layout, `transformers` 5's,
then moved matrix by matrix; every key of both sides is accounted for.

| source | how it is told | its keys |
|---|---|---|
| hub, transformers up to 4.51 | `language_model.model.…` | `vision_tower.vision_model.…`, `language_model.…` |
| transformers 4.52 to 4.x | `model.vision_tower.vision_model.…` | `model.language_model.…`, `lm_head.weight` |
| transformers 5 | `model.vision_tower.embeddings.…` | as 4.52, one level less in the vision tower |
| pi0 of openpi, LeRobot | `paligemma_with_expert.…` | the above under `paligemma`, the expert under `gemma_expert` |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from activemimic_description.common.errors import InvalidInputError
from torch import Tensor

from activemimic_policy.model.flow_policy import FlowPolicy
from activemimic_policy.model.model_config import ModelConfig

# Applied in this order, to every key.
_RENAMES = (
    (re.compile(r"^model\.paligemma_with_expert\."), "paligemma_with_expert."),  # LeRobot wraps its policies
    (re.compile(r"^model\.(state_proj|action_in_proj|action_out_proj|action_time_mlp_(?:in|out))\."), r"\1."),
    (re.compile(r"^paligemma_with_expert\.gemma_expert\.(?:model\.)?"), "expert."),
    (re.compile(r"^paligemma_with_expert\.paligemma\."), ""),
    (re.compile(r"^language_model\.model\."), "model.language_model."),
    (re.compile(r"^language_model\.lm_head\."), "lm_head."),
    (re.compile(r"^(vision_tower|multi_modal_projector)\."), r"model.\1."),
    (re.compile(r"^model\.vision_tower\.vision_model\."), "model.vision_tower."),
)
_NEXT = "\n  "
_EMBEDDING, _HEAD = "model.language_model.embed_tokens.weight", "lm_head.weight"
_HEAD_PARTS = {
    "state_in": "state_proj",
    "action_in": "action_in_proj",
    "time_in": "action_time_mlp_in",
    "time_out": "action_time_mlp_out",
    "velocity_out": "action_out_proj",
}


class WeightsError(InvalidInputError):
    """Weights that do not fit; the text lists every key that is missing, left over or of a wrong shape."""


@dataclass(frozen=True)
class Conversion:
    """What became of a source.

    Attributes:
        weights: this network's parameters, float32, by name; without those of the expert if the source has none.
        sources: for each of them the source's keys, in this file's common layout, that it was made of.
        unused: source keys that the network has no use for, each with the reason.
    """

    weights: dict[str, Tensor]
    sources: dict[str, tuple[str, ...]]
    unused: dict[str, str] = field(default_factory=dict)

    @property
    def has_expert(self) -> bool:
        return any(name.startswith("expert.") for name in self.weights)


def read_weights(source: Path | str) -> dict[str, Tensor]:
    """All tensors of a safetensors file, or of the safetensors files of a folder. Raises WeightsError."""
    source = Path(source)
    files = sorted(source.glob("*.safetensors")) if source.is_dir() else [source]
    if not files:
        others = ", ".join(sorted(path.name for path in source.iterdir())) or "nothing"
        raise WeightsError(f"{source}: expected safetensors files (nothing is ever unpickled), found {others}")
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            part = safetensors.torch.load_file(file)
        except (OSError, safetensors.SafetensorError) as error:
            raise WeightsError(f"{file}: not a whole safetensors file: {error}") from None
        if twice := sorted(tensors.keys() & part.keys()):
            raise WeightsError(f"{file}: holds keys that another file of {source} holds, too: {_listed(twice)}")
        tensors |= part
    return tensors


def convert(source: Mapping[str, Tensor], config: ModelConfig) -> Conversion:
    """A source's tensors as parameters of the network that `config` describes.

    Raises WeightsError, listing every key that is missing, left over or of a wrong shape.
    """
    left = _renamed(source)
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in FlowPolicy(config).state_dict().items()}
    with_expert = any(key.startswith("expert.") for key in left)
    unused = _set_aside(left, config)
    weights: dict[str, Tensor] = {}
    sources: dict[str, tuple[str, ...]] = {}
    problems = []
    for name, keys in _parts(config, with_expert).items():
        missing = [key for key in keys if key not in left]
        if missing:
            problems += [f"{key}: expected for {name}, found nothing" for key in missing]
            continue
        joined = torch.cat([left[key].float() for key in keys]) if len(keys) > 1 else left[keys[0]].float()
        if name == "text.weight" and len(joined) > config.vocab_size:
            joined = joined[: config.vocab_size]  # rows added to fill up a block; no token has them
        if tuple(joined.shape) != expected[name]:
            shapes = ", ".join(f"{key} {list(left[key].shape)}" for key in keys)
            problems.append(f"{name}: expected shape {list(expected[name])}, found {list(joined.shape)} of {shapes}")
        weights[name], sources[name] = joined.contiguous(), keys
    used = {key for keys in _parts(config, with_expert).values() for key in keys}
    problems += [f"{key}: expected no such key" for key in left if key not in used]
    if problems:
        raise WeightsError(f"{len(problems)} keys do not fit:\n  {_listed(sorted(problems), separator=_NEXT)}")
    return Conversion(weights, sources, unused)


def start_from(model: FlowPolicy, source: Path | str) -> str:
    """Give a fresh network the weights that `source` holds in our own names; returns which part they leave as it was.

    They cover the whole network, or all of it but the expert. Raises WeightsError for anything else.
    """
    weights, own = read_weights(source), model.state_dict()
    missing = sorted(own.keys() - weights.keys())
    without_expert = bool(missing) and not any(name.startswith("expert.") for name in weights)
    problems = [f"{name}: expected, found nothing" for name in missing if not without_expert or "expert." not in name]
    problems += [f"{name}: expected no such key" for name in sorted(weights.keys() - own.keys())]
    problems += [
        f"{name}: expected shape {list(own[name].shape)}, found {list(weights[name].shape)}"
        for name in sorted(own.keys() & weights.keys())
        if own[name].shape != weights[name].shape
    ]
    if problems:
        raise WeightsError(f"{source}: {len(problems)} keys do not fit:\n  " + _listed(problems, separator=_NEXT))
    model.load_state_dict(weights, strict=False)
    return "the expert" if without_expert else ""


def to_paligemma(weights: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The prefix's parameters in the layout of `transformers` 5, for PaliGemmaForConditionalGeneration.

    What the last layer has beyond its keys and values is made of zeros: nothing that the policy uses depends on it.
    """
    made: dict[str, Tensor] = {}
    for name, keys in _parts(config, with_expert=False).items():
        tensor = weights[name]
        for key, part in zip(keys, tensor.split(_rows(name, len(tensor), len(keys), config)), strict=True):
            made[key] = part.clone()
    made[_HEAD] = made[_EMBEDDING].clone()
    query, width, mlp = config.heads * config.head_dim, config.prefix_width, config.prefix_mlp
    last = f"model.language_model.layers.{config.depth - 1}"
    shapes = {
        f"{last}.self_attn.q_proj.weight": (query, width),
        f"{last}.self_attn.o_proj.weight": (width, query),
        f"{last}.mlp.gate_proj.weight": (mlp, width),
        f"{last}.mlp.up_proj.weight": (mlp, width),
        f"{last}.mlp.down_proj.weight": (width, mlp),
        f"{last}.post_attention_layernorm.weight": (width,),
        "model.language_model.norm.weight": (width,),
    }
    return made | {key: torch.zeros(shape) for key, shape in shapes.items()}


def _renamed(source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for key, tensor in source.items():
        name = key
        for pattern, replacement in _RENAMES:
            name = pattern.sub(replacement, name)
        if name in renamed:
            raise WeightsError(f"{key}: another key means the same, {name}")
        renamed[name] = tensor
    return renamed


def _set_aside(left: dict[str, Tensor], config: ModelConfig) -> dict[str, str]:
    """Takes what the network has no use for out of `left`; says why."""
    if _EMBEDDING not in left and _HEAD in left:
        left[_EMBEDDING] = left.pop(_HEAD)
    elif _HEAD in left and _EMBEDDING in left and not torch.equal(left[_HEAD], left[_EMBEDDING]):
        raise WeightsError(f"{_HEAD}: expected the same numbers as {_EMBEDDING}, to which it is tied, found others")
    last = rf"model\.language_model\.layers\.{config.depth - 1}\."
    reasons: list[tuple[str, str]] = [
        (rf"{_HEAD}", "tied to the embedding"),
        (rf"{last}(self_attn\.[qo]_proj|mlp\.\w+|post_attention_layernorm)\.weight", "nothing reads the last layer"),
        (r"model\.language_model\.norm\.weight", "nothing reads the last layer"),
        (r"model\.vision_tower\.head\..*", "the pooling head, which PaliGemma does not use"),
        (r"expert\.(lm_head|embed_tokens)\.weight", "the expert speaks no words"),
        (r".*\.(position_ids|rotary_emb\.inv_freq)", "a constant"),
    ]
    unused = {}
    for key in list(left):
        for pattern, reason in reasons:
            if re.fullmatch(pattern, key):
                unused[key] = reason
                del left[key]
                break
    return unused


def _parts(config: ModelConfig, with_expert: bool) -> dict[str, tuple[str, ...]]:
    """For each of our parameters the keys whose rows, one after the other, it is."""
    vision, language = "model.vision_tower", "model.language_model"
    parts: dict[str, tuple[str, ...]] = {"text.weight": (_EMBEDDING,)}

    def both(name: str, *keys: str) -> None:
        for kind in ("weight", "bias"):
            parts[f"{name}.{kind}"] = tuple(f"{key}.{kind}" for key in keys)

    both("vision.stem.0", f"{vision}.embeddings.patch_embedding")
    parts["vision.position"] = (f"{vision}.embeddings.position_embedding.weight",)
    for n in range(config.vision_depth):
        ours, theirs = f"vision.blocks.{n}", f"{vision}.encoder.layers.{n}"
        both(f"{ours}.attention_norm", f"{theirs}.layer_norm1")
        both(f"{ours}.qkv", *(f"{theirs}.self_attn.{x}_proj" for x in "qkv"))
        both(f"{ours}.out", f"{theirs}.self_attn.out_proj")
        both(f"{ours}.mlp_norm", f"{theirs}.layer_norm2")
        both(f"{ours}.up", f"{theirs}.mlp.fc1")
        both(f"{ours}.down", f"{theirs}.mlp.fc2")
    both("vision.norm", f"{vision}.post_layernorm")
    both("vision.project", "model.multi_modal_projector.linear")
    for n in range(config.depth - 1):
        parts |= _gemma_layer(f"prefix.blocks.{n}", f"{language}.layers.{n}")
    last = f"{language}.layers.{config.depth - 1}"
    parts["prefix.last.norm.weight"] = (f"{last}.input_layernorm.weight",)
    parts["prefix.last.kv.weight"] = tuple(f"{last}.self_attn.{x}_proj.weight" for x in "kv")
    if with_expert:
        for n in range(config.depth):
            parts |= _gemma_layer(f"expert.blocks.{n}", f"expert.layers.{n}")
        parts["expert.norm.weight"] = ("expert.norm.weight",)
        for ours, theirs in _HEAD_PARTS.items():
            both(f"expert.{ours}", theirs)
    return parts


def _gemma_layer(ours: str, theirs: str) -> dict[str, tuple[str, ...]]:
    return {
        f"{ours}.attention_norm.weight": (f"{theirs}.input_layernorm.weight",),
        f"{ours}.qkv.weight": tuple(f"{theirs}.self_attn.{x}_proj.weight" for x in "qkv"),
        f"{ours}.out.weight": (f"{theirs}.self_attn.o_proj.weight",),
        f"{ours}.mlp_norm.weight": (f"{theirs}.post_attention_layernorm.weight",),
        f"{ours}.mlp.gate_up.weight": tuple(f"{theirs}.mlp.{x}_proj.weight" for x in ("gate", "up")),
        f"{ours}.mlp.down.weight": (f"{theirs}.mlp.down_proj.weight",),
    }


def _rows(name: str, rows: int, parts: int, config: ModelConfig) -> list[int]:
    """How many rows of one of our parameters belong to each of the keys that it is made of."""
    if name.startswith("prefix.") and ".qkv." in name:
        kv = config.kv_heads * config.head_dim
        return [config.heads * config.head_dim, kv, kv]
    return [rows // parts] * parts


def _listed(lines: list[str], most: int = 20, separator: str = ", ") -> str:
    shown = lines[:most] + ([f"and {len(lines) - most} more"] if len(lines) > most else [])
    return separator.join(shown)
