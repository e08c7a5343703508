"""HOT3D-Clips, as its format is documented: what lies on its side stands upright, image, lens and poses alike."""

import io
import json
import tarfile

import cv2
import numpy as np
import pytest
from activemimic_bringup.cli.main import app
from activemimic_training.egocentric.ingest.hot3d import convert
from activemimic_training.egocentric.ingest.item import find_items
from activemimic_training.egocentric.ingest.source_video import read, scan
from activemimic_training.egocentric.poses.estimates import CameraEstimate, WristEstimate
from activemimic_training.egocentric.run.pipeline import run
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfig
from activemimic_training.egocentric.spatial import fisheye624
from activemimic_training.egocentric.spatial.calibration import Calibration, Undistortion, load_calibration
from activemimic_training.egocentric.spatial.geometry import inverse, so3_exp, transform
from activemimic_training.egocentric.spatial.pose_trajectory import EgoTrajectory
from typer.testing import CliRunner

SIDE = 176
LENS = (0.02, -0.01, 0.004, -0.002, 0.0005, -0.0001, 0.0011, -0.0007, 0.0005, 0.0002, -0.0004, -0.0003)
PARAMETERS = (76.0, 86.2, 89.9, *LENS)  # f, cx, cy, then the lens, as the files have them
START_NS = 54_971_174_871_117


def matrix(fx, fy, cx, cy):
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


STORED_K = matrix(76.0, 76.0, 86.2, 89.9)


def camera_pose(frame):
    return transform(so3_exp(np.array([0.3, 0.02 * frame, -0.2])), np.array([0.01 * frame, 1.5, 0.2]))


def wrist_pose(frame, hand):
    """In front of the camera, where its image shows it."""
    in_camera = transform(so3_exp(np.array([0.5, hand, 0.1])), np.array([0.1, 0.15 - 0.3 * hand, 0.5]))
    return camera_pose(frame) @ in_camera


def as_json(T):
    vector = cv2.Rodrigues(T[:3, :3])[0][:, 0]
    angle = np.linalg.norm(vector)
    q = [np.cos(angle / 2), *(np.sin(angle / 2) * vector / angle)]
    return {"quaternion_wxyz": q, "translation_xyz": T[:3, 3].tolist()}


def picture(frame):
    """Of a fisheye lens on its side: dark, with a bright spot where the left wrist is."""
    image = np.full((SIDE, SIDE, 3), 40, np.uint8)
    place = (inverse(camera_pose(frame)) @ wrist_pose(frame, 0))[:3, 3]
    x, y = fisheye624.project(place, STORED_K, np.array(LENS))
    cv2.circle(image, (round(x * 16), round(y * 16)), 3 * 16, (255, 255, 255), -1, cv2.LINE_AA, shift=4)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def write_clip(path, frames=33, hands=True, rgb=True, parameters=PARAMETERS):
    calibration = {
        "label": "camera-rgb",
        "stream_id": "214-1",
        "image_width": SIDE,
        "image_height": SIDE,
        "projection_model_type": "CameraModelType.FISHEYE624",
        "projection_params": list(parameters),
        "max_solid_angle": 1.0,
    }
    with tarfile.open(path, "w") as tar:

        def add(name, data):
            data = data if isinstance(data, bytes) else json.dumps(data).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        for frame in range(frames):
            key, stamp = f"{frame:06d}", START_NS + round(frame * 1e9 / 30)
            stream = "214-1" if rgb else "1201-1"
            add(f"{key}.image_{stream}.jpg", picture(frame))
            add(
                f"{key}.cameras.json",
                {stream: {"calibration": calibration, "T_world_from_camera": as_json(camera_pose(frame))}},
            )
            add(f"{key}.info.json", {"device": "Aria", "image_timestamps_ns": {stream: stamp}})
            add(f"{key}.objects.json", {"1": [{"object_name": "mug_white"}], "2": [{"object_name": "bowl"}]})
            if hands:
                left = {
                    "umetrack_pose": {"joint_angles": [0.0] * 20, "T_world_from_wrist": as_json(wrist_pose(frame, 0))}
                }
                right = {"umetrack_pose": {"joint_angles": [0.0] * 20, "wrist_xform": wrist_pose(frame, 1).tolist()}}
                left["visibilities_modeled"], right["visibilities_modeled"] = {stream: 0.9}, {stream: 0.02}
                add(f"{key}.hands.json", {"left": left, "right": None if frame >= 20 else right})
        add("__hand_shapes.json__", {"mano": [0.0] * 10})
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    root = tmp_path_factory.mktemp("hot3d")
    assert list(convert([write_clip(root / "clip-001849.tar")], root / "out")) == [None]
    return root / "out"


def test_the_projection_without_tangential_and_prism_is_opencvs_fisheye():
    rays = np.random.default_rng(0).uniform([-1, -1, 0.6], [1, 1, 1.5], (200, 3))
    coefficients = np.array([0.03, -0.02, 0.005, -0.001, *[0.0] * 8])
    expected = cv2.fisheye.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), STORED_K, coefficients[:4])[0]
    np.testing.assert_allclose(fisheye624.project(rays, STORED_K, coefficients), expected[:, 0], atol=1e-9)


def test_tangential_and_prism_are_those_of_the_documentation():
    """For one ray by hand: theta = atan(0.5), u = theta, v = 0 on the x axis; then the same on the y axis."""
    theta = np.arctan(0.5)
    only = [0.0] * 6
    found = fisheye624.project(np.array([0.5, 0, 1]), np.eye(3), np.array([*only, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
    r2 = theta**2
    expected = [theta + 0.1 * 3 * r2 + 0.3 * r2 + 0.4 * r2**2, 0.2 * r2 + 0.5 * r2 + 0.6 * r2**2]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    found = fisheye624.project(np.array([0, 0.5, 1]), np.eye(3), np.array([*only, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
    expected = [0.1 * r2 + 0.3 * r2 + 0.4 * r2**2, theta + 0.2 * 3 * r2 + 0.5 * r2 + 0.6 * r2**2]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_turned_lens_sees_every_point_where_the_turned_image_has_it(clip):
    upright = load_calibration(clip / "clip-001849" / "camera.json")
    points = np.random.default_rng(1).uniform([-1, -1, 0.8], [1, 1, 2], (100, 3))
    stored = fisheye624.project(points, STORED_K, np.array(LENS))
    turned = np.stack([-points[:, 1], points[:, 0], points[:, 2]], axis=1)
    K = matrix(upright.fx, upright.fy, upright.cx, upright.cy)
    found = fisheye624.project(turned, K, np.array(upright.distortion))
    np.testing.assert_allclose(found, np.stack([SIDE - 1 - stored[:, 1], stored[:, 0]], axis=1), atol=1e-9)


def test_sixteen_parameters_have_two_focal_lengths(clip, tmp_path):
    write_clip(tmp_path / "two.tar", 4, parameters=(76.0, 77.0, *PARAMETERS[1:]))
    assert list(convert([tmp_path / "two.tar"], tmp_path / "out")) == [None]
    found = load_calibration(tmp_path / "out" / "two" / "camera.json")
    assert (found.fx, found.fy, found.cx, found.cy) == (77.0, 76.0, SIDE - 1 - 89.9, 86.2)


def test_poses_are_those_of_the_nearest_frame_in_the_upright_camera(clip):
    truth = EgoTrajectory.load(clip / "truth" / "clip-001849.npz")
    assert truth.time_ns.tolist() == [tick * 100_000_000 for tick in range(11)]
    for tick in range(11):
        T = inverse(truth.T_world_camera[tick]) @ camera_pose(3 * tick)
        np.testing.assert_allclose(T[:3, :3] @ [1, 0, 0], [0, 1, 0], atol=1e-9)  # what was right is now below
        np.testing.assert_allclose(T[:3, :3] @ [0, 1, 0], [-1, 0, 0], atol=1e-9)
        np.testing.assert_allclose(truth.T_world_wrist[tick, 0], wrist_pose(3 * tick, 0), atol=1e-9)
    assert truth.wrist_valid[:, 1].tolist() == [True] * 7 + [False] * 4
    assert truth.wrist_observed[:, 0].all()
    assert not truth.wrist_observed[:, 1].any()  # hardly visible


def test_a_run_sees_the_wrist_where_the_truth_projects_it(clip, tmp_path):
    """The whole way: the stored fisheye image, upright and undistorted, with the truth backend and the canonical K."""
    truth = {"backend": "truth", "folder": str(clip / "truth")}
    config = {
        "segment": {"given": str(clip / "segments.json"), "min_s": 0.5},
        "filter": {"enabled": False},
        "wrists": truth,
        "camera": truth,
    }
    status = run([clip], tmp_path / "out", EgocentricConfig.model_validate(config), workers=1, until="camera")
    assert (status.items, status.episodes, status.quarantined) == (1, 1, [])
    licences = json.loads((tmp_path / "out" / "licences.json").read_text())
    assert licences["data"] == [
        {
            "what": "HOT3D",
            "licence": {"name": "HOT3D licence agreement", "commercial": None, "gated": True},
            "videos": 1,
        }
    ]
    item = tmp_path / "out" / "items" / "clip-001849"
    K = np.array(json.loads((item / "ingest" / "camera.json").read_text())["K"])
    episode = "clip-001849_000"
    about = json.loads((item / "frames" / episode / "frames.json").read_text())
    assert about["task"] == "Handle the bowl, mug white"
    wrists = WristEstimate.load(item / "wrists" / episode / "wrists.npz")
    assert CameraEstimate.load(item / "camera" / episode / "camera.npz").T_world_camera.shape == (11, 4, 4)
    capture = cv2.VideoCapture(str(item / "frames" / episode / "frames.mp4"))
    for tick in range(11):
        shown = capture.read()[1][..., 0].astype(float)
        shown[shown < 100] = 0
        rows, columns = np.indices(shown.shape)
        spot = np.array([(columns * shown).sum(), (rows * shown).sum()]) / shown.sum()
        x, y, z = K @ wrists.T_camera_wrist[tick, 0, :3, 3]
        np.testing.assert_allclose(spot, [x / z, y / z], atol=1.0)


def test_frames_are_the_archives_own_bytes_and_are_shown_upright(clip):
    folder = clip / "clip-001849"
    data = (folder / "000003.jpg").read_bytes()
    original = picture(3)
    assert data.endswith(original[2:])
    assert len(data) == len(original) + 36
    (item,) = find_items([clip])[0]
    assert item.dataset == "HOT3D"
    assert scan(item, None).time_ns.tolist() == [round(frame * 1e9 / 30) for frame in range(33)]
    first = next(iter(read(item, 0, None, 0, 0)))
    stored = cv2.imdecode(np.frombuffer(picture(0), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(first.image(), np.rot90(stored, -1))


def test_the_canonical_view_stays_inside_the_lens():
    calibration = Calibration(
        model="fisheye624", width=SIDE, height=SIDE, fx=76.0, fy=76.0, cx=87.0, cy=88.0, distortion=LENS
    )
    seen = Undistortion(calibration, SIDE, SIDE)(np.full((SIDE, SIDE, 3), 200, np.uint8))
    assert seen.min() == 200


def test_what_is_no_clip_is_left_out_with_one_line(tmp_path):
    write_clip(tmp_path / "quest.tar", 4, rgb=False)
    (tmp_path / "broken.tar").write_bytes(b"no archive")
    write_clip(tmp_path / "other_lens.tar", 4, parameters=PARAMETERS[:8])
    write_clip(tmp_path / "test.tar", 4, hands=False)
    names = ("quest", "broken", "other_lens", "test", "missing")
    archives = [str(tmp_path / f"{name}.tar") for name in names]
    result = CliRunner().invoke(app, ["ego", "hot3d", *archives, "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    output = " ".join(result.output.split())
    for words in (
        "quest.tar: expected images of stream 214-1, found 0",
        "broken.tar: cannot be read",
        "other_lens.tar: expected a clip of HOT3D-Clips",
        "missing.tar: cannot be read",
        "1 clips, 4 left out",
    ):
        assert words in output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["segments.json", "test", "truth"]
    truth = EgoTrajectory.load(tmp_path / "out" / "truth" / "test.npz")
    assert truth.camera_valid.all()
    assert not truth.wrist_valid.any()
