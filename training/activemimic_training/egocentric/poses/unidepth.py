"""UniDepth: the metric depth of single images, which gives a camera's path its scale (Eq. 7)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from activemimic_training.egocentric.settings.pose_settings import UniDepth
from activemimic_training.egocentric.spatial.geometry import Floats
from activemimic_training.egocentric_error import EgocentricError


def metric_depth(settings: UniDepth, image: np.ndarray, K: Floats) -> Floats:
    """z in metres (H, W) of an image (H, W, 3) uint8 RGB whose camera is K (3, 3)."""
    import torch

    model = _load(settings.model, settings.device)
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(settings.device)
    camera = torch.from_numpy(K.astype(np.float32)).to(settings.device)
    with torch.inference_mode():
        depth = model.infer(pixels, camera)["depth"]
    found: Floats = depth.float().cpu().numpy().astype(np.float64).reshape(depth.shape[-2:])
    if found.shape != image.shape[:2]:
        raise EgocentricError(f"{settings.model}: depth: expected {image.shape[:2]}, found {found.shape}")
    return found


@cache
def _load(model: str, device: str) -> Any:
    from unidepth.models import UniDepthV2

    return UniDepthV2.from_pretrained(model).to(device).eval()
