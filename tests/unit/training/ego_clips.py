"""Episodes of images before a scene of planes, whose depth is known in every pixel; and models that answer from it."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from activemimic_data.dataset.video import VideoWriter
from activemimic_training.egocentric.ingest.item import Item
from activemimic_training.egocentric.poses.clip import Clip
from activemimic_training.egocentric.poses.estimates import WristEstimate
from activemimic_training.egocentric.spatial.geometry import inverse, so3_exp, transform
from activemimic_training.egocentric.spatial.pose_trajectory import STEP_NS
from transforms3d.quaternions import mat2quat, quat2mat

WIDTH, HEIGHT = 148, 112  # a quarter and a half of what VGGT sees
K = np.array([[120.0, 0, 73.5], [0, 120.0, 55.5], [0, 0, 1]])
PLANES = (([0, 0, 1.0], 1.2), ([0.5, 0, 0.87], 1.0), ([0, 0.7, 0.7], 0.8))  # n, c of n x = c
HAND_BOX = (40.0, 30.0, 70.0, 60.0)


def path(frames: int) -> np.ndarray:
    """A head that looks about: T_world_camera (T, 4, 4)."""
    t = np.arange(frames) / 10
    turns = np.stack([0.08 * np.sin(t), 0.15 * np.sin(0.7 * t), 0.03 * np.sin(1.3 * t)], -1)
    return transform(so3_exp(turns), np.stack([0.2 * np.sin(0.8 * t), 0.08 * np.sin(t), 0.08 * np.cos(t)], -1))


def depth(T_world_camera: np.ndarray, intrinsics: np.ndarray, width: int, height: int) -> np.ndarray:
    """z (H, W) of the nearest plane, m."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    rays = np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(intrinsics).T @ T_world_camera[:3, :3].T
    found = [(c - np.dot(n, T_world_camera[:3, 3])) / (rays @ n) for n, c in PLANES]
    return np.min([np.where(z > 0, z, np.inf) for z in found], axis=0)


def clip(folder: Path, images: list[np.ndarray], intrinsics: np.ndarray = K, **flags: list[int]) -> Clip:
    """`flags`: the frames that are blurred, cut_after."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width = images[0].shape[:2]
    writer = VideoWriter(folder / "frames.mp4", 10, width, height)
    for image in images:
        writer.add(image)
    writer.close()
    marked = {name: [k in flags.get(name, []) for k in range(len(images))] for name in ("blurred", "cut_after")}
    times = [k * STEP_NS for k in range(len(images))]
    (folder / "frames.json").write_text(json.dumps({"fps": 10, "time_ns": times, "task": "wipe", **marked}))
    return Clip("v_000", Item("v", "video", folder / "v.mp4"), folder, intrinsics, width, height)


def numbered_clip(folder: Path, frames: int, **flags: list[int]) -> Clip:
    """Frame k is of one grey, by which the models know it."""
    return clip(folder, [np.full((HEIGHT, WIDTH, 3), 10 + 6 * k, np.uint8) for k in range(frames)], **flags)


def number_of(image: torch.Tensor) -> int:
    """(..., H, W), 0 to 255."""
    return round((float(image.float().median()) - 10) / 6)


def hands(frames: int, box: tuple[float, ...] | None = None) -> WristEstimate:
    """No wrists; a left hand in `box` all the time."""
    boxes = np.full((frames, 2, 4), np.nan)
    if box:
        boxes[:, 0] = box
    times = np.arange(frames, dtype=np.int64) * STEP_NS
    return WristEstimate(times, np.full((frames, 2, 4, 4), np.nan), np.zeros((frames, 2)), boxes)


class World:
    """What stand-ins for VGGT and UniDepth know, and how they err.

    Both err where the hand is, VGGT also at the left edge, where it says so. UniDepth believes in the K it is given.
    """

    def __init__(self, frames: int) -> None:
        self.poses = path(frames)
        self.focal = 1.0  # VGGT's, of the true one
        self.bent: set[int] = set()  # first frames of windows whose depth is bent
        self.flicker = np.ones(frames)  # of UniDepth, by frame
        self.windows: list[list[int]] = []

    def install(self, patch: pytest.MonkeyPatch) -> None:
        world = self

        class VGGT:
            from_pretrained = classmethod(lambda cls, name: cls())
            to = eval = lambda self, *_: self

            def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
                return world.vggt(images)

        class UniDepthV2(VGGT):
            def infer(self, rgb: torch.Tensor, camera: torch.Tensor) -> dict[str, torch.Tensor]:
                return world.unidepth(rgb, camera)

        for name, content in {
            "vggt.models.vggt": {"VGGT": VGGT},
            "vggt.utils.pose_enc": {"pose_encoding_to_extri_intri": pose_encoding_to_extri_intri},
            "unidepth.models": {"UniDepthV2": UniDepthV2},
        }.items():
            parts = name.split(".")
            for stop in range(1, len(parts) + 1):
                module = ModuleType(".".join(parts[:stop]))
                module.__path__, module.__spec__ = [], ModuleSpec(module.__name__, None)
                patch.setitem(sys.modules, module.__name__, sys.modules.get(module.__name__, module))
            for key, value in content.items():
                setattr(sys.modules[name], key, value)

    def vggt(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """images (S, 3, H, W), 0 to 1: the first camera is the world, the unit the mean distance of the points."""
        _, channels, height, width = images.shape
        assert channels == 3
        assert height % 14 == width % 14 == 0
        assert 0 <= images.min() <= images.max() <= 1
        frames = [number_of(image * 255) for image in images]
        self.windows.append(frames)
        intrinsics = scaled(width, height)
        z = np.stack([depth(self.poses[k], intrinsics, width, height) for k in frames])
        unit = z.mean()
        z = z / unit
        if frames[0] in self.bent:
            z *= 1 + 0.5 * np.sin(np.arange(width) / 5)
        left, top, right, bottom = hand_pixels(width, height)
        z[:, top:bottom, left:right] = 0.9 * np.linspace(0.2, 0.5, len(frames))[:, None, None]
        confidence = np.full(z.shape, 5.0)
        confidence[..., : width // 5], z[..., : width // 5] = 1.05, 3 * z[..., : width // 5]
        first = self.poses[frames[0]]
        codes = []
        for k in frames:
            T_camera_world = inverse(inverse(first) @ self.poses[k])
            quaternion = np.roll(mat2quat(T_camera_world[:3, :3]), -1)
            fov = [2 * np.arctan(side / 2 / (self.focal * intrinsics[0, 0])) for side in (height, width)]
            codes.append([*T_camera_world[:3, 3] / unit, *quaternion, *fov])
        answers = {"pose_enc": codes, "depth": z[..., None], "depth_conf": confidence}
        return {name: torch.tensor(np.array(values), dtype=torch.float32)[None] for name, values in answers.items()}

    def unidepth(self, rgb: torch.Tensor, camera: torch.Tensor) -> dict[str, torch.Tensor]:
        """rgb (3, H, W) uint8."""
        assert rgb.dtype == torch.uint8
        _, height, width = rgb.shape
        frame, true = number_of(rgb), scaled(width, height)
        z = depth(self.poses[frame], true, width, height) * float(camera[0, 0]) / true[0, 0] * self.flicker[frame]
        left, top, right, bottom = hand_pixels(width, height)
        z[top:bottom, left:right] = 0.4
        return {"depth": torch.tensor(z, dtype=torch.float32)[None, None]}


def pose_encoding_to_extri_intri(code: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, S, 9): translation, quaternion xyzw, fields of view; to camera from world (1, S, 3, 4) and K (1, S, 3, 3)."""
    height, width = size
    poses, matrices = [], []
    for *translation, x, y, z, w, fov_h, fov_w in code[0].tolist():
        poses.append(np.column_stack([quat2mat([w, x, y, z]), translation]))
        fx, fy = width / 2 / np.tan(fov_w / 2), height / 2 / np.tan(fov_h / 2)
        matrices.append([[fx, 0, width / 2], [0, fy, height / 2], [0, 0, 1]])
    return torch.tensor(np.array(poses))[None], torch.tensor(matrices)[None]


def scaled(width: int, height: int) -> np.ndarray:
    """The true K of an image of this size; the centre of the first pixel is at 0, 0."""
    across, down = width / WIDTH, height / HEIGHT
    return np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]]) @ K


def hand_pixels(width: int, height: int) -> list[int]:
    return (np.array(HAND_BOX) * ([width / WIDTH, height / HEIGHT] * 2)).astype(int).tolist()


def up_to_world(found: np.ndarray, truth: np.ndarray) -> Any:
    """`found` in the frame of `truth`, by the first pose of each: metres are not touched."""
    return truth[0] @ inverse(found[0]) @ found
