"""The camera's path by VGGT, in metres by UniDepth (paper, A.2).

Both models see one image of each frame, the canonical one at the size that VGGT was trained on, and so one K.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np

from activemimic_training.egocentric.poses.clip import Clip, resized_intrinsics
from activemimic_training.egocentric.poses.estimates import CameraEstimate, WristEstimate
from activemimic_training.egocentric.poses.hands import hand_pixels
from activemimic_training.egocentric.poses.unidepth import metric_depth
from activemimic_training.egocentric.poses.windows import Window, WindowedPath, windows
from activemimic_training.egocentric.quality.scale import episode_scale, frame_scale, metric_path
from activemimic_training.egocentric.settings.pose_settings import VggtCamera
from activemimic_training.egocentric.spatial.geometry import Floats, inverse, transform
from activemimic_training.egocentric_error import EgocentricError

LONGEST_PX = 518
PATCH_PX = 14


def vggt_camera(settings: VggtCamera, clip: Clip, wrists: WristEstimate) -> CameraEstimate:
    """Raises EgocentricError: windows that do not agree, another focal length, too few pixels for a scale."""
    images = [*_resized(clip)]
    height, width = images[0].shape[:2]
    K = resized_intrinsics(clip.K, width / clip.width, height / clip.height)
    hands = np.stack([hand_pixels(clip, wrists, frame, width, height) for frame in range(len(clip))])
    path = WindowedPath(clip.name, settings.max_residual)
    scales, pixels, confidence = np.full(len(clip), np.nan), np.zeros(len(clip), np.int64), np.zeros(len(clip))
    known = 0
    for first, stop in windows(len(clip), settings.window, settings.overlap):
        window = _window(settings, clip.name, images[first:stop], first, hands[first:stop], K)
        unit = path.add(window)
        for frame in range(known, stop):
            depth, still = window.depth[frame - first], window.still[frame - first]
            metric = metric_depth(settings.scale, images[frame], K)
            scales[frame], pixels[frame] = frame_scale(metric, depth * unit, still)
            confidence[frame] = _confidence(window.confidence[frame - first][still])
        known = stop
    scale = episode_scale(scales, pixels, clip.name)
    return CameraEstimate(clip.time_ns, metric_path(path.T_world_camera, scale.scale), confidence, scales)


def _resized(clip: Clip) -> Any:
    """The whole image, undistorted in shape but for the rounding to patches: (H, W, 3) uint8."""
    by = LONGEST_PX / max(clip.width, clip.height)
    size = [max(1, round(side * by / PATCH_PX)) * PATCH_PX for side in (clip.width, clip.height)]
    for image in clip.images():
        yield cv2.resize(image, size, interpolation=cv2.INTER_AREA if by < 1 else cv2.INTER_CUBIC)


def _window(
    settings: VggtCamera, name: str, images: list[np.ndarray], first: int, hands: np.ndarray, K: Floats
) -> Window:
    import torch

    model, decode = _load(settings.model, settings.device)
    pixels = torch.from_numpy(np.stack(images)).to(settings.device).permute(0, 3, 1, 2).float() / 255
    dtype = getattr(torch, settings.dtype)
    kind = torch.device(settings.device).type
    with torch.inference_mode(), torch.autocast(kind, dtype, enabled=dtype != torch.float32):
        found = model(pixels)
    extrinsic, intrinsic = decode(found["pose_enc"].float(), images[0].shape[:2])

    def numbers(values: Any, *shape: int) -> Floats:
        array: Floats = values.float().cpu().numpy().astype(np.float64)
        return array.reshape(len(images), *shape)

    shape = images[0].shape[:2]
    depth, confidence = numbers(found["depth"], *shape), numbers(found["depth_conf"], *shape)
    _check_focal(name, numbers(intrinsic, 3, 3), K, settings.max_focal_error)
    still = confidence >= settings.confident * confidence.mean(axis=(1, 2), keepdims=True)
    still &= ~hands & np.isfinite(depth) & (depth > 0)
    return Window(first, _camera_to_world(numbers(extrinsic, 3, 4)), depth, confidence, still, K)


def _check_focal(name: str, found: Floats, K: Floats, max_error: float) -> None:
    focal = float(np.median(found[:, 0, 0]))
    if abs(np.log(focal / K[0, 0])) > np.log1p(max_error):
        raise EgocentricError(
            f"{name}: focal length: expected about the calibration's {K[0, 0]:.0f} px, VGGT found {focal:.0f} px; "
            "check the calibration or ingest.field_of_view_deg"
        )


def _camera_to_world(T_camera_world: Floats) -> Floats:
    """(W, 3, 4), rotations to single precision, to proper poses (W, 4, 4)."""
    U, _, Vt = np.linalg.svd(T_camera_world[:, :3, :3])
    U[..., -1] *= np.linalg.det(U @ Vt)[:, None]
    return inverse(transform(U @ Vt, T_camera_world[:, :3, 3]))


def _confidence(pixels: Floats) -> float:
    """0 to 1: VGGT's confidence of a pixel begins at 1, for no idea."""
    return float(np.median(1 - 1 / np.maximum(pixels, 1.0))) if pixels.size else 0.0


@cache
def _load(model: str, device: str) -> tuple[Any, Any]:
    """The model, and what makes matrices of its pose encoding."""
    from vggt.models.vggt import VGGT
    from vggt.utils.pose_enc import pose_encoding_to_extri_intri

    return VGGT.from_pretrained(model).to(device).eval(), pose_encoding_to_extri_intri
