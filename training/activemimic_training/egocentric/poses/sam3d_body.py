"""Backend `sam3d_body`: the bodies that SAM-3D-Body finds, and the wearer's wrists of them.

Its repository is no package; this module imports it from a checkout, and is the only one that knows its names. Two
things of its output are not what they seem, and are handled here:

- joints and keypoints come with OpenCV's axes, rotations of joints with those of the body model (y up, z back):
  R_camera = diag(1, -1, -1) R_model;
- after the look at each hand the joints are computed again, but the rotations given are those from before. They are
  computed again here from the parameters given, with the joints, and those have to be the ones given.

The wrist's axes are those of the model's joint, which for left and right are mirror images; `left_offset_deg` and
`right_offset_deg` turn them.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from activemimic_training.egocentric.poses.clip import Clip
from activemimic_training.egocentric.poses.estimates import WristEstimate
from activemimic_training.egocentric.poses.wearer import Person, wearers_wrists
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfigError
from activemimic_training.egocentric.settings.pose_settings import Sam3dBodyWrists
from activemimic_training.egocentric.spatial.geometry import (
    Floats,
    rot6d,
    rotation,
    rotation_angle,
    so3_exp,
    transform,
)
from activemimic_training.egocentric_error import EgocentricError

# Left, then right.
_WRIST_JOINTS = [78, 42]
_SHOULDERS, _ELBOWS = [5, 6], [7, 8]  # keypoints
_TO_OPENCV = np.diag([1.0, -1.0, -1.0])
_SAME_M = 0.002  # joints of the same parameters, computed twice
# Of the output, and by the same names of the body model's arguments.
_PARAMETERS = (
    "global_rot",
    "body_pose_params",
    "hand_pose_params",
    "scale_params",
    "shape_params",
    "expr_params",
)


def sam3d_body_wrists(settings: Sam3dBodyWrists, clip: Clip) -> WristEstimate:
    """The wearer's wrists by SAM-3D-Body, all images with the clip's K.

    Raises EgocentricConfigError for a checkout or checkpoint that cannot be used, EgocentricError.
    """
    bodies = _bodies(settings.checkout, settings.checkpoint, settings.detector, settings.device)
    offsets = so3_exp(np.radians([settings.left_offset_deg, settings.right_offset_deg]))
    frames = []
    for frame, image in enumerate(clip.images()):
        try:
            frames.append(bodies.people(image, clip.K, offsets))
        except _StaleError as error:
            raise EgocentricError(f"{clip.name}, frame {frame}: {error}") from None
    return wearers_wrists(clip, frames)


class _StaleError(RuntimeError):
    """Rotations that do not belong to the joints beside them."""


class _Bodies:
    """The loaded model."""

    def __init__(self, estimator: Any, model: Any) -> None:
        self._estimator, self._model = estimator, model
        self._by_hand: Any = None  # the rotations that the last look at each hand gave, (P, 2, 3, 3)
        whole = model.run_inference

        def run_inference(*args: Any, **kwargs: Any) -> Any:
            found = whole(*args, **kwargs)
            if not isinstance(found, tuple) or len(found) != 5:
                raise EgocentricConfigError(
                    "wrists.checkout: expected run_inference to give body and hands (5 parts), found another version"
                )
            by_hand = [
                found[3 + side]["mhr_hand"]["joint_global_rots"][:, joint] for side, joint in enumerate(_WRIST_JOINTS)
            ]
            self._by_hand = np.stack([np.asarray(it.cpu(), np.float64) for it in by_hand], axis=1)
            return found

        model.run_inference = run_inference

    def people(self, image: np.ndarray, K: Floats, offsets: Floats) -> list[Person]:
        """Everyone in an image (H, W, 3) uint8 RGB; `offsets` (2, 3, 3) turn the wrists' own axes.

        Raises _StaleError.
        """
        import torch

        with contextlib.redirect_stdout(io.StringIO()):
            found = self._estimator.process_one_image(image, cam_int=torch.tensor(K[None], dtype=torch.float32))
        if not found:
            return []
        joints, rotations = self._again(found)
        given = _column(found, "pred_joint_coords")
        away = float(np.abs(joints - given)[:, _WRIST_JOINTS].max())
        if not away < _SAME_M:
            raise _StaleError(
                f"wrists computed again from the given parameters: expected them within {_SAME_M} m of those given, "
                f"found {away:.3f} m; their rotations cannot be known"
            )
        disagreement = rotation_angle(np.swapaxes(self._by_hand, -1, -2) @ rotations[:, _WRIST_JOINTS])
        return [
            _person(person, _in_camera(person, R[_WRIST_JOINTS], offsets), angles)
            for person, R, angles in zip(found, rotations, disagreement, strict=True)
        ]

    def _again(self, people: Sequence[Mapping[str, Any]]) -> tuple[Floats, Floats]:
        """All joints, with OpenCV's axes, (P, 127, 3), and their rotations, with the model's, (P, 127, 3, 3)."""
        import torch

        head = self._model.head_pose
        device = self._estimator.device
        values = {name: torch.tensor(_column(people, name), dtype=torch.float32, device=device) for name in _PARAMETERS}
        with torch.inference_mode():
            _, joints, rotations = head.mhr_forward(
                global_trans=torch.zeros_like(values["global_rot"]),
                **values,
                return_joint_coords=True,
                return_joint_rotations=True,
            )
        return (
            np.asarray(joints.cpu(), np.float64) @ _TO_OPENCV,
            rotation(rot6d(np.asarray(rotations.cpu(), np.float64))),
        )


def _in_camera(person: Mapping[str, Any], rotations: Floats, offsets: Floats) -> Floats:
    """T_camera_wrist (2, 4, 4) of the wrists' rotations (2, 3, 3) with the model's axes."""
    places = np.asarray(person["pred_joint_coords"], np.float64)[_WRIST_JOINTS] + person["pred_cam_t"]
    return transform(_TO_OPENCV @ rotations @ offsets, places)


def _person(person: Mapping[str, Any], T_camera_wrist: Floats, disagreement_rad: Floats) -> Person:
    keypoints = np.asarray(person["pred_keypoints_3d"], np.float64) + person["pred_cam_t"]
    boxes = np.array([person["lhand_bbox"], person["rhand_bbox"]], np.float64)
    box = np.asarray(person["bbox"], np.float64)
    return Person(box, T_camera_wrist, keypoints[_ELBOWS], keypoints[_SHOULDERS], boxes, disagreement_rad)


def _column(people: Sequence[Mapping[str, Any]], key: str) -> Floats:
    return np.stack([np.asarray(person[key], np.float64) for person in people])


@lru_cache(maxsize=1)
def _bodies(checkout: Path, checkpoint: Path, detector: str | None, device: str) -> _Bodies:
    """Loaded once a process. Raises EgocentricConfigError."""
    body_model = checkpoint.parent / "assets" / "mhr_model.pt"
    for setting, path in (
        ("checkout", checkout / "sam_3d_body"),
        ("checkpoint", checkpoint),
        ("checkpoint", checkpoint.parent / "model_config.yaml"),
        ("checkpoint", body_model),
    ):
        if not path.exists():
            raise EgocentricConfigError(f"wrists.{setting}: expected {path}, found nothing")
    with _importable(checkout):
        package = importlib.import_module("sam_3d_body")
        people = importlib.import_module("tools.build_detector").HumanDetector(detector, device) if detector else None
        model, settings = package.load_sam_3d_body(str(checkpoint), device=device, mhr_path=str(body_model))
        return _Bodies(package.SAM3DBodyEstimator(model, settings, human_detector=people), model)


@contextlib.contextmanager
def _importable(checkout: Path) -> Iterator[None]:
    """Its modules can be imported meanwhile, and it says nothing. Raises EgocentricConfigError."""
    sys.path.insert(0, str(checkout))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except ModuleNotFoundError as error:
        raise EgocentricConfigError(
            f"wrists.checkout: {checkout} needs the module {error.name}, which is not installed: see its INSTALL.md"
        ) from None
    finally:
        sys.path.remove(str(checkout))
