"""From camera frames and slots to the network's numbers and back: the same steps train and serve.

Each step is a small frozen dataclass from Sample to Sample; `input_steps` and `output_steps` compose them. All take
any leading axes, so a batch goes through as one.

Axes: … any leading axes, T horizon, S slots (or the padded width).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from activemimic_policy.normalization import Floats, Normalization
from activemimic_policy.spec import PolicySpec

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Sample:
    """One moment, or a batch of them, on its way between robot and network."""

    images: Mapping[str, Array]  # camera -> (…, H, W, 3) RGB
    state: Floats  # (…, S)
    actions: Floats | None = None  # (…, T, S)


class Transform(Protocol):
    def __call__(self, sample: Sample) -> Sample: ...


def input_steps(spec: PolicySpec, normalization: Normalization, image_px: int, width: int) -> tuple[Transform, ...]:
    """Robot -> network: raw frames, state and (in training) actions in slot units."""
    return (
        ResizeImages(image_px),
        ScaleImages(),
        RelativeActions(spec.relative_slots),
        CompressActions(spec.relative_slots, spec.relative_knee),
        Normalize(normalization),
        Pad(width),
    )


def output_steps(spec: PolicySpec, normalization: Normalization) -> tuple[Transform, ...]:
    """Network -> robot: normalised padded actions beside the raw state; leaves targets in slot units."""
    return (
        Trim(len(spec.slots)),
        UnnormalizeActions(normalization),
        ExpandActions(spec.relative_slots, spec.relative_knee),
        AbsoluteActions(spec.relative_slots),
    )


def apply(steps: Iterable[Transform], sample: Sample) -> Sample:
    for step in steps:
        sample = step(sample)
    return sample


@dataclass(frozen=True)
class ResizeImages:
    """Every frame to a square, keeping its aspect; frames that already are of that size pass through."""

    image_px: int

    def __call__(self, sample: Sample) -> Sample:
        return replace(sample, images={name: self._fit(frames) for name, frames in sample.images.items()})

    def _fit(self, frames: Array) -> Array:
        if frames.shape[-3:-1] == (self.image_px, self.image_px):
            return frames
        flat = frames.reshape(-1, *frames.shape[-3:])
        fitted = np.stack([fit_square(frame, self.image_px) for frame in flat])
        return fitted.reshape(*frames.shape[:-3], *fitted.shape[1:])


@dataclass(frozen=True)
class ScaleImages:
    """0 … 255 to -1 … 1, float32."""

    def __call__(self, sample: Sample) -> Sample:
        return replace(sample, images={name: self._scale(frames) for name, frames in sample.images.items()})

    @staticmethod
    def _scale(frames: Array) -> Array:
        scaled = np.multiply(frames, np.float32(2 / 255), dtype=np.float32)
        scaled -= 1
        return scaled


@dataclass(frozen=True)
class RelativeActions:
    """Targets minus the state at the chunk's start, in the slots where `relative` is True."""

    relative: tuple[bool, ...]

    def __call__(self, sample: Sample) -> Sample:
        if sample.actions is None:
            return sample
        return replace(sample, actions=sample.actions - _start(sample, self.relative))


@dataclass(frozen=True)
class AbsoluteActions:
    """The inverse of RelativeActions."""

    relative: tuple[bool, ...]

    def __call__(self, sample: Sample) -> Sample:
        assert sample.actions is not None
        return replace(sample, actions=sample.actions + _start(sample, self.relative))


@dataclass(frozen=True)
class CompressActions:
    """Relative targets x to knee·asinh(x / knee): linear up to about the knee, logarithmic beyond.

    One standard deviation covers a swing of the whole arm and the last centimetre of a grasp alike. Without this, the
    swings set the scale, and the corrections that decide about a grasp drown in it.
    """

    relative: tuple[bool, ...]
    knee: float  # slot units

    def __call__(self, sample: Sample) -> Sample:
        if sample.actions is None:
            return sample
        compressed = self.knee * np.arcsinh(sample.actions / self.knee)
        return replace(sample, actions=np.where(self.relative, compressed, sample.actions))


@dataclass(frozen=True)
class ExpandActions:
    """The inverse of CompressActions."""

    relative: tuple[bool, ...]
    knee: float  # slot units

    def __call__(self, sample: Sample) -> Sample:
        assert sample.actions is not None
        # No joint moves by more than a turn within a chunk; an untrained network's numbers must not overflow.
        most = np.arcsinh(2 * np.pi / self.knee)
        expanded = self.knee * np.sinh(np.clip(sample.actions / self.knee, -most, most))
        return replace(sample, actions=np.where(self.relative, expanded, sample.actions))


@dataclass(frozen=True)
class Normalize:
    """State and (relative) actions to z-scores."""

    normalization: Normalization

    def __call__(self, sample: Sample) -> Sample:
        state = self.normalization.normalize_state(sample.state)
        actions = None if sample.actions is None else self.normalization.normalize_actions(sample.actions)
        return replace(sample, state=state, actions=actions)


@dataclass(frozen=True)
class UnnormalizeActions:
    """Action z-scores back to slot units."""

    normalization: Normalization

    def __call__(self, sample: Sample) -> Sample:
        assert sample.actions is not None
        return replace(sample, actions=self.normalization.unnormalize_actions(sample.actions))


@dataclass(frozen=True)
class Pad:
    """State and actions to `width` numbers, with zeros, float32."""

    width: int

    def __call__(self, sample: Sample) -> Sample:
        actions = None if sample.actions is None else self._pad(sample.actions)
        return replace(sample, state=self._pad(sample.state), actions=actions)

    def _pad(self, x: Floats) -> Floats:
        padded = np.zeros((*x.shape[:-1], self.width), dtype=np.float32)
        padded[..., : x.shape[-1]] = x
        return padded


@dataclass(frozen=True)
class Trim:
    """The inverse of Pad, for actions."""

    slots: int

    def __call__(self, sample: Sample) -> Sample:
        assert sample.actions is not None
        return replace(sample, actions=sample.actions[..., : self.slots])


def fit_square(image: Array, px: int) -> Array:
    """An image (H, W, 3) as (px, px, 3): shrunk by area, centred on black where it is not square."""
    height, width = image.shape[:2]
    scale = px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if small.shape[:2] == (px, px):
        return small
    square = np.zeros((px, px, 3), dtype=image.dtype)
    top, left = (px - size[1]) // 2, (px - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = small
    return square


def stack_cameras(sample: Sample, cameras: Sequence[str]) -> Array:
    """The images in the policy's order: (…, C, px, px, 3)."""
    return np.stack([sample.images[name] for name in cameras], axis=-4)


def _start(sample: Sample, relative: tuple[bool, ...]) -> Floats:
    """What relative targets are measured from, (…, 1, S): the state, and zero where targets are absolute."""
    return np.where(np.asarray(relative), sample.state, 0)[..., None, :]
