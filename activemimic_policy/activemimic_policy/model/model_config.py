"""Every size of the network, in one frozen, validated object that is stored in the checkpoint."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, model_validator


class ModelConfig(BaseModel):
    """Sizes of a flow-matching policy with a cached prefix.

    A chunk has `horizon` steps of `action_width` numbers, of which the first `action_dim` are real; the rest is
    zero padding, so that one network can be trained on robots of different widths. The same holds for the state.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    # What enters and leaves.
    cameras: PositiveInt
    image_px: PositiveInt
    vocab_size: PositiveInt
    text_length: PositiveInt
    state_dim: PositiveInt
    state_width: PositiveInt = 32
    action_dim: PositiveInt
    action_width: PositiveInt = 32
    horizon: PositiveInt

    # Vision: square patches of `patch_px`, cut linearly (as SigLIP's) or by a convolutional stem, each of whose layers
    # halves the image; then a transformer over each camera by itself.
    patch_px: PositiveInt
    stem_channels: tuple[PositiveInt, ...] = ()  # empty: linear patches
    stem_groups: PositiveInt = 4
    vision_width: PositiveInt
    vision_depth: PositiveInt
    vision_heads: PositiveInt
    vision_mlp: PositiveInt
    keypoints: bool  # one more token a camera: the expected position of each channel of the last stem layer but one
    camera_embedding: bool  # a learned vector a camera on its tokens

    # Prefix and expert share depth, heads and head size, because the expert attends to the prefix's keys.
    depth: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt
    prefix_width: PositiveInt
    prefix_mlp: PositiveInt
    expert_width: PositiveInt
    expert_mlp: PositiveInt
    rope_base: PositiveFloat = 1e4

    @property
    def tokens_per_camera(self) -> int:
        return self.patches_per_camera + self.keypoints

    @property
    def patches_per_camera(self) -> int:
        return (self.image_px // self.patch_px) ** 2

    @property
    def prefix_length(self) -> int:
        """Tokens of all cameras and of the padded text."""
        return self.cameras * self.tokens_per_camera + self.text_length

    @model_validator(mode="after")
    def _sizes_fit(self) -> ModelConfig:
        stem = self.stem_channels
        rules = [
            (self.image_px % self.patch_px == 0, f"image_px {self.image_px} must be a multiple of {self.patch_px}"),
            (
                not stem or (len(stem) > 1 and self.patch_px == 2 ** len(stem)),
                f"stem_channels must name at least two layers and halve to patch_px {self.patch_px}, found {stem}",
            ),
            (
                not stem or self.vision_width == stem[-1],
                f"vision_width {self.vision_width} must be the last of stem_channels {stem}",
            ),
            (
                all(c % self.stem_groups == 0 for c in stem),
                f"stem_channels {stem} must be multiples of stem_groups {self.stem_groups}",
            ),
            (bool(stem) or not self.keypoints, "keypoints need a convolutional stem: name stem_channels"),
            (
                self.vision_width % self.vision_heads == 0,
                f"vision_width {self.vision_width} must be a multiple of vision_heads {self.vision_heads}",
            ),
            (self.heads % self.kv_heads == 0, f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}"),
            (self.head_dim % 2 == 0, f"head_dim {self.head_dim} must be even (rotary positions turn pairs)"),
            (self.expert_width % 2 == 0, f"expert_width {self.expert_width} must be even (sine and cosine of time)"),
            (
                self.action_dim <= self.action_width,
                f"action_dim {self.action_dim} exceeds action_width {self.action_width}",
            ),
            (self.state_dim <= self.state_width, f"state_dim {self.state_dim} exceeds state_width {self.state_width}"),
        ]
        for holds, message in rules:
            if not holds:
                raise ValueError(message)
        return self


# PaliGemma 3 B (SigLIP So400m/14 at 224 px, Gemma 2 B) with an expert of the same attention geometry.
_PALIGEMMA: dict[str, Any] = {
    "image_px": 224,
    "horizon": 50,
    "text_length": 48,
    "patch_px": 14,
    "vision_width": 1152,
    "vision_depth": 27,
    "vision_heads": 16,
    "vision_mlp": 4304,
    "keypoints": False,
    "camera_embedding": False,
    "depth": 18,
    "heads": 8,
    "kv_heads": 1,
    "head_dim": 256,
    "prefix_width": 2048,
    "prefix_mlp": 16384,
}
PALIGEMMA_VOCABULARY = 257152

PRESETS: dict[str, dict[str, Any]] = {
    # The paper's: a 602 M expert.
    "activemimic": {**_PALIGEMMA, "expert_width": 1536, "expert_mlp": 5632},
    # The paper's baseline: a 315 M expert, the layout of the released pi0 weights.
    "pi0": {**_PALIGEMMA, "expert_width": 1024, "expert_mlp": 4096},
    # 20 M parameters: for a workstation with a GPU.
    "small": {
        "image_px": 128,
        "horizon": 50,
        "text_length": 24,
        "patch_px": 16,
        "stem_channels": (48, 96, 192, 320),
        "vision_width": 320,
        "vision_depth": 5,
        "vision_heads": 5,
        "vision_mlp": 1280,
        "keypoints": True,
        "camera_embedding": True,
        "depth": 8,
        "heads": 8,
        "kv_heads": 1,
        "head_dim": 32,
        "prefix_width": 320,
        "prefix_mlp": 960,
        "expert_width": 256,
        "expert_mlp": 768,
    },
    # 1.26 M parameters: learns to grasp in minutes on two CPU cores.
    "tiny": {
        "image_px": 96,
        "horizon": 16,
        "text_length": 16,
        "patch_px": 16,
        "stem_channels": (24, 48, 96, 96),
        "vision_width": 96,
        "vision_depth": 2,
        "vision_heads": 3,
        "vision_mlp": 384,
        "keypoints": True,
        "camera_embedding": True,
        "depth": 4,
        "heads": 4,
        "kv_heads": 1,
        "head_dim": 32,
        "prefix_width": 96,
        "prefix_mlp": 320,
        "expert_width": 96,
        "expert_mlp": 320,
    },
}


def preset(name: str, **sizes: Any) -> ModelConfig:
    """The preset `name` with the sizes that only the data knows (cameras, vocab_size, …) and any override.

    Raises KeyError with the names of the presets when `name` is none of them.
    """
    if name not in PRESETS:
        raise KeyError(f"model preset {name!r} is unknown; there are {', '.join(sorted(PRESETS))}")
    return ModelConfig(**{**PRESETS[name], **sizes})
