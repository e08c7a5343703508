"""Small files in the formats that others document: AgiBot-World's folders and EgoMimic's HDF5."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from activemimic_data.dataset.video import VideoWriter
from activemimic_description.robot import load_robot
from synthetic import numbered_image

VIDEOS = ("head_color", "hand_left_color", "hand_right_color")


def write_agibot(root: Path, frames: int = 40, episode: int = 648642, **changes: Any) -> Path:
    """One episode of task 327. `changes` replace arrays of the HDF5 file by key (slashes as two underscores); None
    leaves one out."""
    home = load_robot("g1").home
    time_s = np.arange(frames)[:, None] / 30
    swing = 0.1 * np.sin(time_s)
    arrays: dict[str, Any] = {
        "timestamp": 1_700_000_000_000_000_000 + (time_s[:, 0] * 1e9).astype(np.int64),
        "state/joint/position": home[4:18] + swing,
        "state/head/position": home[0:2] + swing,
        "state/waist/position": home[2:4] + 0.2 * swing,
        "state/effector/position": np.hstack([35 + 850 * np.abs(swing), np.full((frames, 1), 120.0)]),
        "action/joint/position": home[4:18] + swing + 0.01,
        "action/joint/index": np.arange(frames),
        "action/head/position": home[0:2] + swing + 0.01,
        "action/head/index": np.arange(frames),
        "action/waist/position": np.empty((0, 2)),
        "action/waist/index": np.empty(0, np.int64),
        "action/effector/position": np.hstack([10 * np.abs(swing), np.ones((frames, 1))]),
        "action/effector/index": np.arange(frames),
    }
    arrays |= {name.replace("__", "/"): values for name, values in changes.items()}
    folder = root / "proprio_stats" / "327" / str(episode)
    folder.mkdir(parents=True)
    with h5py.File(folder / "proprio_stats.h5", "w") as file:
        for name, values in arrays.items():
            if values is not None:
                file[name] = values
    videos = root / "observations" / "327" / str(episode) / "videos"
    videos.mkdir(parents=True)
    for number, name in enumerate(VIDEOS):
        writer = VideoWriter(videos / f"{name}.mp4", 30, 160, 120)
        for frame in range(frames):
            writer.add(numbered_image(frame + 1000 * number, 120, 160))
        writer.close()
    (root / "task_info").mkdir(exist_ok=True)
    about = root / "task_info" / "task_327.json"
    known = json.loads(about.read_text()) if about.exists() else []
    known.append({"episode_id": episode, "task_id": 327, "task_name": "Pickup items in the supermarket"})
    about.write_text(json.dumps(known))
    return root


def write_egomimic(
    path: Path, demos: int = 3, frames: int = 24, robot: bool = False, arms: int = 2, masks: dict | None = None
) -> Path:
    """Demonstration d's front image of row n bears the number 100 d + n; positions count in n."""
    count = np.arange(frames)[:, None]
    ahead = np.arange(10)[None, :, None]
    with h5py.File(path, "w") as file:
        for demo in range(demos):
            group = file.create_group(f"data/demo_{demo}")
            group.attrs["num_samples"] = frames
            hands = 3 * arms
            group["obs/ee_pose"] = count / 100 + np.arange(hands)
            group["actions_xyz_act"] = (count[..., None] + ahead) / 100 + np.arange(hands)
            group["obs/front_img_1"] = np.stack([numbered_image(100 * demo + n, 48, 64) for n in range(frames)])
            group["obs/front_img_1_line"] = np.zeros((frames, 48, 64, 3), np.uint8)
            if robot:
                joints = 7 * arms
                group["obs/joint_positions"] = count / 50 + np.arange(joints)
                group["actions_joints_act"] = (count[..., None] + ahead) / 50 + np.arange(joints) + 0.5
                group["obs/right_wrist_img"] = np.stack([numbered_image(n + 7, 48, 64) for n in range(frames)])
        for name, names in (masks or {"train": ["demo_0", "demo_2"], "valid": ["demo_1"]}).items():
            file[f"mask/{name}"] = np.array(names, "S8")
    return path
