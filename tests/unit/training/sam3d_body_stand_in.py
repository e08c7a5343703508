"""What a checkout of SAM-3D-Body has of names and habits, with a body of two wrists and no network.

It is copied into a folder as the package `sam_3d_body`. Its weights are a scene (.npz): the truth of every frame, whose
number is in the image. Like the real one it gives coordinates with OpenCV's axes and rotations with the body's, the
latter from before the look at each hand, and distances that depend on the focal length it is told.
"""

from types import SimpleNamespace

import numpy as np
import torch
from activemimic_training.egocentric.spatial.geometry import so3_exp, so3_log

TO_BODY = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
LEFT, RIGHT = 78, 42
BEFORE_HANDS_RAD, OTHER_OPINION_RAD = 0.4, 2.0


def load_sam_3d_body(checkpoint_path, device="cuda", mhr_path=""):
    print("Loading SAM 3D Body model...")
    with np.load(checkpoint_path) as scene:
        return Model({name: torch.tensor(values) for name, values in scene.items()}, device), None


class Head:
    """Parameters: two rotation vectors and two places of the wrists, in the body's frame, turned by `global_rot`."""

    def mhr_forward(
        self,
        global_trans,
        global_rot,
        body_pose_params,
        hand_pose_params,
        scale_params,
        shape_params,
        expr_params=None,
        return_joint_coords=False,
        return_joint_rotations=False,
    ):
        people = len(global_rot)
        joints, rotations = torch.zeros(people, 127, 3), torch.eye(3).expand(people, 127, 3, 3).clone()
        whole = exp(global_rot)
        for side, joint in enumerate((LEFT, RIGHT)):
            rotations[:, joint] = whole @ exp(body_pose_params[:, 3 * side : 3 * side + 3])
            place = body_pose_params[:, 6 + 3 * side : 9 + 3 * side] * scale_params[:, :1]
            joints[:, joint] = (whole @ place[..., None])[..., 0] + global_trans
        found = [torch.zeros(people, 9, 3)]
        found += [joints] if return_joint_coords else []
        return tuple(found + ([rotations] if return_joint_rotations else []))


class Model:
    def __init__(self, scene, device):
        self.scene, self.device, self.head_pose = scene, device, Head()

    def run_inference(self, img, batch, inference_type="full", transform_hand=None, thresh_wrist_angle=1.4):
        frame = int(img[0, 0, 0])
        scene = {name: values[frame] for name, values in self.scene.items() if name != "focal"}
        people = len(scene["wrists"])
        whole = torch.tensor([0.3, -0.5, 0.2]).expand(people, 3)
        true = TO_BODY @ scene["wrists"][..., :3, :3].float()  # (P, 2, 3, 3)
        body = true @ exp(torch.tensor([BEFORE_HANDS_RAD, 0, 0]))
        refused = scene["refused"][..., None, None]
        by_hand = torch.where(refused, true @ exp(torch.tensor([0.0, OTHER_OPINION_RAD, 0])), true)
        fused = torch.where(refused, body, true)
        joints = scene["wrists"][..., :3, 3].float() - scene["cam_t"].float()[:, None]
        places = (joints @ TO_BODY) @ exp(whole) / 1.1
        local = exp(whole).transpose(-1, -2)[:, None] @ fused
        parameters = torch.cat([log(local).flatten(1), places.flatten(1), torch.zeros(people, 118)], dim=1)
        scale = torch.full((people, 28), 1.1)
        _, coords = self.head_pose.mhr_forward(
            torch.zeros(people, 3), whole, parameters, None, scale, None, return_joint_coords=True
        )
        told = batch["cam_int"][0, 0, 0] / self.scene["focal"]
        pose = {
            "global_rot": whole,
            "body_pose": parameters,
            "hand": torch.zeros(people, 108),
            "scale": scale,
            "shape": torch.zeros(people, 45),
            "face": torch.zeros(people, 72),
            "pred_joint_coords": coords @ TO_BODY + scene["shift"].float()[:, None, None],
            "pred_cam_t": scene["cam_t"].float() * told,
            "joint_global_rots": spread(body),
        }
        left, right = ({"mhr_hand": {"joint_global_rots": spread(by_hand)}} for _ in range(2))
        return {"mhr": pose}, None, None, left, right


class SAM3DBodyEstimator:
    def __init__(self, sam_3d_body_model, model_cfg, human_detector=None, human_segmentor=None, fov_estimator=None):
        self.model, self.device = sam_3d_body_model, sam_3d_body_model.device
        self.detector = human_detector

    def process_one_image(self, img, bboxes=None, masks=None, cam_int=None, inference_type="full"):
        print("####### Please make sure the input image is in RGB format")
        scene = {name: values[int(img[0, 0, 0])] for name, values in self.model.scene.items() if name != "focal"}
        if not scene["people"]:
            return []
        default = torch.eye(3)[None] * float(np.hypot(*img.shape[:2]))
        batch = SimpleNamespace(cam_int=cam_int if cam_int is not None else default)
        out = self.model.run_inference(img, vars(batch), inference_type=inference_type)[0]["mhr"]
        out = {name: values.numpy() for name, values in out.items()}
        keypoints = np.zeros((len(out["pred_cam_t"]), 70, 3))
        keypoints[:, 5:7], keypoints[:, 7:9] = scene["shoulders"].numpy(), scene["elbows"].numpy()
        keypoints -= scene["cam_t"].numpy()[:, None]
        return [
            {
                "bbox": scene["boxes"][person].numpy(),
                "pred_keypoints_3d": keypoints[person],
                "pred_cam_t": out["pred_cam_t"][person],
                "global_rot": out["global_rot"][person],
                "body_pose_params": out["body_pose"][person],
                "hand_pose_params": out["hand"][person],
                "scale_params": out["scale"][person],
                "shape_params": out["shape"][person],
                "expr_params": out["face"][person],
                "pred_joint_coords": out["pred_joint_coords"][person],
                "pred_global_rots": out["joint_global_rots"][person],
                "lhand_bbox": scene["hand_boxes"][person, 0].numpy(),
                "rhand_bbox": scene["hand_boxes"][person, 1].numpy(),
            }
            for person in range(len(keypoints))
        ]


def exp(rotation_vector):
    return torch.tensor(so3_exp(np.asarray(rotation_vector, np.float64)), dtype=torch.float32)


def log(R):
    return torch.tensor(so3_log(R.double().numpy()), dtype=torch.float32)


def spread(wrists):
    rotations = torch.eye(3).expand(len(wrists), 127, 3, 3).clone()
    rotations[:, [LEFT, RIGHT]] = wrists
    return rotations
