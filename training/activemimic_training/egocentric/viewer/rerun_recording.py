"""An episode as a Rerun recording, for its viewer."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np

from activemimic_training.egocentric.quality.quality import BODY_NAMES
from activemimic_training.egocentric.viewer.episode_view import EpisodeView
from activemimic_training.egocentric.viewer.projection import AXIS_M, upright
from activemimic_training.egocentric_error import EgocentricError

_COLOURS = ((217, 119, 6), (11, 114, 133), (156, 54, 181))
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 85]


def write_recording(view: EpisodeView, out: Path) -> None:
    """An .rrd: images in the moving camera, wrists, whole paths, confidence over time.

    Raises EgocentricError without rerun-sdk.
    """
    if importlib.util.find_spec("rerun") is None:
        raise EgocentricError(
            "a Rerun recording needs rerun-sdk, which is not installed: pip install 'activemimic_training[rerun]'"
        )
    import rerun as rr

    out.parent.mkdir(parents=True, exist_ok=True)
    layer, to_view = view.best, upright(view.best)
    bodies = to_view @ layer.bodies
    recording = rr.RecordingStream("activemimic_ego")
    recording.save(out)
    recording.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    recording.log("task", rr.TextDocument(f"{view.name}: {view.task}"), static=True)
    for body, name in enumerate(BODY_NAMES):
        places = bodies[layer.valid[:, body], body, :3, 3]
        recording.log(f"world/paths/{name}", rr.LineStrips3D([places], colors=[_COLOURS[body]]), static=True)
    for frame, image in enumerate(view.images()):
        recording.set_time("time", duration=np.timedelta64(int(view.time_ns[frame]), "ns"))
        jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _JPEG)[1]
        recording.log("world/camera/image", rr.EncodedImage(contents=jpeg.tobytes(), media_type="image/jpeg"))
        if view.K is not None:
            pinhole = rr.Pinhole(image_from_camera=view.K, resolution=[view.width, view.height])
            recording.log("world/camera/image", pinhole)
        for body, name in enumerate(BODY_NAMES):
            recording.log(f"confidence/{name}", rr.Scalars(float(layer.confidence[frame, body])))
            if not layer.valid[frame, body]:
                recording.log(f"world/{name}", rr.Clear(recursive=False))
                continue
            pose = bodies[frame, body]
            recording.log(f"world/{name}", rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
            if body:
                axes = rr.Arrows3D(vectors=AXIS_M * np.eye(3), colors=255 * np.eye(3, dtype=np.uint8))
                recording.log(f"world/{name}", axes)
    recording.disconnect()
