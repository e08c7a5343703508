"""Backend `mediapipe`: hand landmarks on a CPU, laid into space by the size of the wearer's hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from activemimic_training.egocentric.poses.clip import Clip
from activemimic_training.egocentric.poses.estimates import WristEstimate
from activemimic_training.egocentric.poses.palm import box_px, hand_size, palm_poses, place_hand
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfigError
from activemimic_training.egocentric.settings.pose_settings import MediapipeWrists
from activemimic_training.egocentric.spatial.geometry import Floats, is_known

_MOST_HANDS = 4  # the wearer's may not be the first two
_REACH_M = 1.2  # a hand further away is somebody else's
_WORST_FIT = 0.4  # a landmark that far off, as a share of the hand's extent, leaves no trust


@dataclass(frozen=True)
class Detection:
    """A hand in an image. `left`: the model's word for it, with its probability, 0.5 to 1."""

    left: bool
    score: float
    pixels: Floats  # (21, 2)
    shape: Floats  # (21, 3), in the camera's axes, in a unit that is about 1 m

    def belief(self, side: int) -> float:
        """How probable it is that this is the left (0) or right (1) hand."""
        return self.score if self.left == (side == 0) else 1 - self.score


def mediapipe_wrists(settings: MediapipeWrists, clip: Clip) -> WristEstimate:
    """The wrists by MediaPipe. Raises EgocentricConfigError if it is not installed."""
    detect = _detector(settings.min_score)
    frames = [[*_detections(detect.process(image), clip.width, clip.height)] for image in clip.images()]
    return wrists_of(clip, frames, settings.hand_size_m)


def wrists_of(clip: Clip, frames: Sequence[Sequence[Detection]], hand_size_m: float) -> WristEstimate:
    """The wearer's wrists, of what was detected in every frame.

    The confidence is the probability that the hand is the left or right one, less what its landmarks appear off.
    """
    T = np.full((len(clip), 2, 4, 4), np.nan)
    confidence, boxes = np.zeros((len(clip), 2)), np.full((len(clip), 2, 4), np.nan)
    shapes = [hand.shape for hands in frames for hand in hands]
    # One size for a clip: in a single frame the model's may be a fifth off, and the distance with it.
    metres = hand_size_m / np.median(hand_size(np.stack(shapes))) if shapes else 1.0
    for frame, hands in enumerate(frames):
        placed = [(hand, *found) for hand in hands if (found := place_hand(hand.shape * metres, hand.pixels, clip.K))]
        near = [it for it in placed if np.linalg.norm(it[1][0]) <= _REACH_M and it[2] < _WORST_FIT]
        for side, chosen in enumerate(_sides([hand for hand, _, _ in near])):
            if chosen is None:
                continue
            hand, points, off = near[chosen]
            pose = palm_poses(points, left=side == 0)
            if is_known(pose):
                T[frame, side], boxes[frame, side] = pose, box_px(hand.pixels)
                confidence[frame, side] = hand.belief(side) * (1 - off / _WORST_FIT)
    return WristEstimate(clip.time_ns, T, confidence, boxes)


def _sides(hands: Sequence[Detection]) -> tuple[int | None, int | None]:
    """Which of the hands are the left and the right one, so that the beliefs in them are the most together."""
    choices = itertools.permutations([None, None, *range(len(hands))], 2)
    return max(choices, key=lambda pair: sum(hands[it].belief(side) for side, it in enumerate(pair) if it is not None))


def _detections(result: Any, width: int, height: int) -> Iterator[Detection]:
    if not result.multi_hand_landmarks:
        return
    found = zip(result.multi_handedness, result.multi_hand_landmarks, result.multi_hand_world_landmarks, strict=True)
    for handedness, landmarks, world in found:
        said = handedness.classification[0]
        pixels = np.array([(point.x * width, point.y * height) for point in landmarks.landmark])
        shape = np.array([(point.x, point.y, point.z) for point in world.landmark])
        # The model is made for a selfie's mirror image: what it calls right is the left hand in an image as it is.
        yield Detection(said.label == "Right", float(said.score), pixels, shape)


@lru_cache(maxsize=1)
def _detector(min_score: float) -> Any:
    """One for a process; every image by itself, so that no clip depends on the one before."""
    try:
        from mediapipe.python.solutions.hands import Hands
    except ModuleNotFoundError as error:
        raise EgocentricConfigError(
            f"wrists.backend: expected mediapipe 0.10.14 to 0.10.21, found no module {error.name}: pip install "
            "'activemimic_training[hands]' in an environment of its own"
        ) from None
    return Hands(static_image_mode=True, max_num_hands=_MOST_HANDS, min_detection_confidence=min_score)
