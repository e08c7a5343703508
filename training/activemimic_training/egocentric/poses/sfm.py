"""The camera's path by structure from motion, COLMAP's, with the calibrated camera: no GPU, no weights, no metres.

Every frame takes part; one that cannot be placed has no pose. What is needed is a view that does not move but for the
hands, has texture, and is seen from places some centimetres apart.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from activemimic_training.egocentric.poses.clip import Clip, resized_intrinsics
from activemimic_training.egocentric.poses.estimates import CameraEstimate, WristEstimate
from activemimic_training.egocentric.poses.hands import hand_pixels
from activemimic_training.egocentric.poses.unidepth import metric_depth
from activemimic_training.egocentric.quality.scale import episode_scale, frame_scale, metric_path
from activemimic_training.egocentric.settings.pose_settings import SfmCamera
from activemimic_training.egocentric.spatial.geometry import Floats, inverse, transform
from activemimic_training.egocentric_error import EgocentricError

_SEED = 1  # of COLMAP's RANSAC: the same video gives the same bytes
_MIN_ANGLE_DEG = 4.0  # between the first two views; COLMAP's own 16 is for photographs, not for a head over a table
_MIN_POINTS = 20  # of a frame: fewer give no scale
_HALF_TRUSTED = 40  # points of a frame at which its confidence is a half


@dataclass(frozen=True)
class Placed:
    """A frame that was placed: its number, T_world_camera (4, 4), and the points it sees, pixels (N, 2) and z (N,)."""

    frame: int
    T_world_camera: Floats
    pixels: Floats
    depth: Floats


def sfm_camera(settings: SfmCamera, clip: Clip, wrists: WristEstimate) -> CameraEstimate:
    """Raises EgocentricError: too few frames can be placed, or there is no scale."""
    by = min(1.0, settings.longest_side_px / max(clip.width, clip.height))
    width, height = round(clip.width * by), round(clip.height * by)
    K = resized_intrinsics(clip.K, width / clip.width, height / clip.height)
    with tempfile.TemporaryDirectory() as folder:
        _write_images(Path(folder), clip, wrists, width, height)
        placed = _reconstruct(Path(folder), settings, K)
        if len(placed) < settings.min_registered * len(clip):
            raise EgocentricError(
                f"{clip.name}: structure from motion: expected {settings.min_registered:.0%} of the frames in one "
                f"piece, found {len(placed)} of {len(clip)}: the view has too little texture, or the camera hardly "
                "moves"
            )
        poses, confidence = np.full((len(clip), 4, 4), np.nan), np.zeros(len(clip))
        for one in placed:
            poses[one.frame] = one.T_world_camera
            confidence[one.frame] = len(one.depth) / (len(one.depth) + _HALF_TRUSTED)
        if settings.scale.kind == "known_depth":
            scale = settings.scale.median_m / float(np.median(np.concatenate([one.depth for one in placed])))
            return CameraEstimate(clip.time_ns, metric_path(poses, scale), confidence, np.zeros(0))
        scales, points = np.full(len(clip), np.nan), np.zeros(len(clip), np.int64)
        for one in placed:
            image = np.asarray(cv2.imread(str(_image(Path(folder), one.frame))))[..., ::-1]
            columns, rows = np.floor(one.pixels).astype(int).clip(0, (width - 1, height - 1)).T
            metric = metric_depth(settings.scale, image, K)[rows, columns]
            usable = np.ones(len(metric), np.bool_)
            scales[one.frame], points[one.frame] = frame_scale(metric, one.depth, usable, _MIN_POINTS)
    frames = np.array([one.frame for one in placed])
    scale = episode_scale(scales[frames], points[frames], clip.name).scale
    return CameraEstimate(clip.time_ns, metric_path(poses, scale), confidence, scales)


def _write_images(folder: Path, clip: Clip, wrists: WristEstimate, width: int, height: int) -> None:
    """<frame>.png for every frame, and beside them a mask each that is 0 on hands."""
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for frame, image in enumerate(clip.images()):
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(_image(folder, frame)), cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        still = ~hand_pixels(clip, wrists, frame, width, height)
        cv2.imwrite(str(folder / "masks" / f"{frame:06d}.png.png"), still.astype(np.uint8) * 255)


def _image(folder: Path, frame: int) -> Path:
    return folder / "images" / f"{frame:06d}.png"


def _reconstruct(folder: Path, settings: SfmCamera, K: Floats) -> list[Placed]:
    """The frames of the largest piece that can be put together, ascending. One thread: so it is always the same."""
    import pycolmap

    pycolmap.logging.minloglevel = pycolmap.logging.Level.FATAL.value
    pycolmap.set_random_seed(_SEED)
    database, images = folder / "database.db", folder / "images"
    # COLMAP has the corner of the first pixel at 0, 0.
    intrinsics = f"{K[0, 0]},{K[1, 1]},{K[0, 2] + 0.5},{K[1, 2] + 0.5}"
    reading = pycolmap.ImageReaderOptions(
        camera_model="PINHOLE", camera_params=intrinsics, mask_path=str(folder / "masks")
    )
    extraction = pycolmap.FeatureExtractionOptions(num_threads=1, use_gpu=False)
    extraction.sift.max_num_features = settings.features
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = _SEED
    pycolmap.extract_features(
        database,
        images,
        camera_mode=pycolmap.CameraMode.SINGLE,
        reader_options=reading,
        extraction_options=extraction,
        device=pycolmap.Device.cpu,
    )
    pycolmap.match_sequential(
        database,
        matching_options=pycolmap.FeatureMatchingOptions(num_threads=1, use_gpu=False),
        pairing_options=pycolmap.SequentialPairingOptions(overlap=settings.overlap, num_threads=1),
        verification_options=verification,
        device=pycolmap.Device.cpu,
    )
    found = pycolmap.incremental_mapping(database, images, folder, _mapping(pycolmap))
    if not found:
        return []
    largest = max(found.values(), key=lambda it: it.num_reg_images())
    return sorted(_placed(largest), key=lambda one: one.frame)


def _mapping(pycolmap: Any) -> Any:
    options = pycolmap.IncrementalPipelineOptions(
        num_threads=1,
        random_seed=_SEED,
        extract_colors=False,
        ba_refine_focal_length=False,
        ba_refine_extra_params=False,
        multiple_models=False,
    )
    options.mapper.init_min_tri_angle = _MIN_ANGLE_DEG
    options.mapper.init_min_num_inliers = 50
    options.mapper.abs_pose_min_num_inliers = 15
    options.mapper.abs_pose_refine_focal_length = False
    options.mapper.abs_pose_refine_extra_params = False
    return options


def _placed(reconstruction: Any) -> Iterator[Placed]:
    for image in reconstruction.images.values():
        if not image.has_pose:
            continue
        seen = [it for it in image.points2D if it.has_point3D()]
        T_camera_world = image.cam_from_world().matrix()
        points = np.array([reconstruction.points3D[it.point3D_id].xyz for it in seen]).reshape(-1, 3)
        depth = points @ T_camera_world[2, :3] + T_camera_world[2, 3]
        pixels = np.array([it.xy for it in seen]).reshape(-1, 2)
        pose = inverse(transform(T_camera_world[:, :3], T_camera_world[:, 3]))
        yield Placed(int(Path(image.name).stem), pose, pixels, depth)
