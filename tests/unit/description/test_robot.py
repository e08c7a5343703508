"""The G1's numbers: kinematics that agree everywhere, limits that agree everywhere, and a strict loader."""

import mujoco
import numpy as np
import pytest
from activemimic_description.kinematics import camera_pose, link_poses
from activemimic_description.mjcf import robot_mjcf
from activemimic_description.robot import ROBOTS_FOLDER, RobotError, load_robot, robot_from_text
from activemimic_description.urdf import robot_urdf

G1 = load_robot("g1")
URDF = mujoco.MjModel.from_xml_string(robot_urdf(G1))
MJCF = mujoco.MjModel.from_xml_string(robot_mjcf(G1))


def mujoco_poses(model, joint_positions):
    data = mujoco.MjData(model)
    for name, position in joint_positions.items():
        data.qpos[model.joint(name).qposadr] = position
    mujoco.mj_kinematics(model, data)
    poses = {}
    for body in range(1, model.nbody):
        T = np.eye(4)
        T[:3, :3] = data.xmat[body].reshape(3, 3)
        T[:3, 3] = data.xpos[body]
        poses[model.body(body).name] = T
    return poses


@pytest.mark.parametrize("model", [URDF, MJCF], ids=["urdf", "mjcf"])
def test_forward_kinematics_agree_to_a_nanometre_at_random_postures(model):
    rng = np.random.default_rng(0)
    for _ in range(20):
        joints = G1.joint_positions(rng.uniform(G1.lower, G1.upper))
        ours, theirs = link_poses(G1, joints), mujoco_poses(model, joints)
        for link in set(G1.links) - {G1.root}:
            np.testing.assert_allclose(ours[link], theirs[link], atol=1e-9, err_msg=link)


def test_cameras_in_mjcf_stand_where_the_description_puts_them():
    joints = G1.joint_positions(G1.home)
    data = mujoco.MjData(MJCF)
    for name, position in joints.items():
        data.qpos[MJCF.joint(name).qposadr] = position
    mujoco.mj_kinematics(MJCF, data)
    mujoco.mj_camlight(MJCF, data)
    for name in G1.cameras:
        T = camera_pose(G1, name, joints)
        np.testing.assert_allclose(data.camera(name).xpos, T[:3, 3], atol=1e-9)
        looking_along = -data.camera(name).xmat.reshape(3, 3)[:, 2]
        np.testing.assert_allclose(looking_along, T[:3, 2], atol=1e-9)


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("arm_l_link1", (0.131, 0.2109, 0.9535)),
        ("arm_l_end_link", (0.131, 0.8939, 0.9535)),
        ("arm_r_end_link", (0.131, -0.896, 0.9535)),
        ("head_link2", (0.1812, 0.0, 1.1496)),
    ],
)
def test_the_t_pose_reproduces_the_vendor_urdf(link, expected):
    np.testing.assert_allclose(link_poses(G1, {})[link][:3, 3], expected, atol=6e-5)


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("arm_l_end_link", (0.6009, 0.2999, 1.0739)),
        ("arm_r_end_link", (0.6009, -0.3020, 1.0739)),
        ("gripper_l_center_link", (0.6259, 0.1600, 1.0572)),
        ("head_link2", (0.425, 0.0, 1.3573)),
    ],
)
def test_the_reset_posture_reproduces_the_vendor_urdf(link, expected):
    pose = link_poses(G1, G1.joint_positions(G1.home))[link]
    np.testing.assert_allclose(pose[:3, 3], expected, atol=6e-5)


def test_waist_pitch_leans_forward_and_head_pitch_looks_down():
    upright = camera_pose(G1, "head", {})
    leaning = camera_pose(G1, "head", {"idx02_body_joint2": 0.3})
    looking_down = camera_pose(G1, "head", {"idx12_head_joint2": 0.3})
    assert leaning[0, 3] > upright[0, 3] + 0.05
    assert looking_down[2, 2] < upright[2, 2] - 0.2


def test_limits_agree_in_description_urdf_and_mjcf():
    for slot in G1.slots:
        expected = sorted(slot.joint_position(value) for value in (slot.lower, slot.upper))
        for model in (URDF, MJCF):
            assert list(model.joint(slot.joint).range) == expected
        actuator = MJCF.actuator(slot.name)
        assert list(actuator.ctrlrange) == expected
        effort = G1.joint[slot.joint].effort
        assert list(actuator.forcerange) == [-effort, effort]
        assert f'velocity="{G1.joint[slot.joint].velocity!r}" effort="{effort!r}"' in robot_urdf(G1)


def test_every_slot_has_a_velocity_an_acceleration_and_a_jerk_that_reach_full_speed_in_a_fifth_of_a_second():
    assert G1.velocity.shape == G1.acceleration.shape == G1.jerk.shape == (len(G1.slots),)
    times = G1.velocity / G1.acceleration + G1.acceleration / G1.jerk
    for slot, seconds in zip(G1.slots, times, strict=True):
        assert 0.03 < seconds < 0.21, slot.name
        if slot.is_gripper:
            assert 1 / slot.velocity + seconds < 0.52


def test_the_home_posture_touches_nothing():
    model = MJCF
    data = mujoco.MjData(model)
    for name, position in G1.joint_positions(G1.home).items():
        data.qpos[model.joint(name).qposadr] = position
    mujoco.mj_forward(model, data)
    touching = [{model.geom(g).name or model.body(model.geom_bodyid[g]).name for g in c.geom} for c in data.contact]
    assert touching == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mass: 23.2", "mas: 23.2", "mas"),
        ("child: body_link1,", "child: body_link9,", "there is no link 'body_link9'"),
        ("limit: [0.0, 0.55]", "limit: [0.55, 0.0]", "expected limit"),
        ("joint: idx01_body_joint1}", "joint: idx99}", "there is no moving joint 'idx99'"),
        (
            "acceleration: 2.0, jerk: 20.0, ",
            "acceleration: 1.0, ",
            "idx01_body_joint1 needs an acceleration and a jerk",
        ),
        ("acceleration: 2.0, jerk: 20.0, ", "acceleration: 0.0, jerk: 20.0, ", "greater than 0"),
        ("acceleration: 80.0, jerk: 6000.0", "acceleration: 80.0", "a gripper needs a velocity, an acceleration and a"),
        ("joint: idx01_body_joint1}", "joint: idx01_body_joint1, jerk: 9}", "only a gripper (with open and closed)"),
        ("rpy_deg: [0, 0, 90]}", "rpy_deg: [0, 0, 90], jerk: 9}", "a fixed joint has no limit, velocity, acceleration"),
        ("waist_lift: 0.30", "waist_lift: 3.0", "waist_lift = 3.0 lies outside its limits"),
        ("waist_lift: 0.30", "waist_lfit: 0.3", "there is no slot 'waist_lfit'"),
    ],
)
def test_a_wrong_description_is_refused_in_words(old, new, message):
    text = (ROBOTS_FOLDER / "g1.yaml").read_text()
    assert old in text
    with pytest.raises(RobotError, match=r"a\.yaml") as error:
        robot_from_text(text.replace(old, new), "a.yaml")
    assert message in str(error.value)


def test_an_unknown_robot_is_answered_with_the_known_ones():
    with pytest.raises(RobotError, match="expected one of g1"):
        load_robot("g9")
