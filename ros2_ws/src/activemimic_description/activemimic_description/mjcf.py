"""The robot as MJCF: bodies, joints, cameras and one position servo a slot."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

import numpy as np
from transforms3d.quaternions import mat2quat

from activemimic_description.kinematics import transform
from activemimic_description.robot import Joint, Robot, Shape, Slot
from activemimic_description.shapes import link_inertia, shape_pose

# Servo stiffness (N/m or Nm/rad) and rotor inertia by effort limit: chosen for simulation, not the vendor's. Gravity
# is compensated on every link, as the real controllers do, so the servos only see accelerations and contacts.
_SERVO = {100.0: (8000.0, 0.5), 60.0: (900.0, 0.1), 50.0: (300.0, 0.02), 30.0: (300.0, 0.03)}
_GRIPPER_STIFFNESS, _GRIPPER_DAMPING = 800.0, 20.0
_COLORS = {"base": "0.25 0.27 0.30 1", "gripper": "0.15 0.15 0.17 1", "head": "0.2 0.22 0.25 1"}
_BODY_COLOR = "0.82 0.84 0.87 1"


def robot_mjcf(robot: Robot) -> str:
    """MJCF text of the robot alone, standing on z = 0.

    Bodies, joints and cameras carry the description's names, actuators the slots' names; an actuator's control is in
    joint units (rad or m). A gripper's actuator drives both fingers through a tendon.
    """
    root = ET.Element("mujoco", model=robot.name)
    ET.SubElement(root, "compiler", angle="radian", autolimits="true")
    world = ET.SubElement(root, "worldbody")
    bodies = {robot.root: ET.SubElement(world, "body", name=robot.root)}
    _fill_body(bodies[robot.root], robot, robot.root)
    for joint in robot.joints:
        T = transform(joint.xyz, joint.rpy_deg)
        attributes = {"name": joint.child, "gravcomp": "1", **_pose(T)}
        body = ET.SubElement(bodies[joint.parent], "body", attributes)
        bodies[joint.child] = body
        if joint.type != "fixed":
            _joint(body, joint)
        _fill_body(body, robot, joint.child)
    for name, camera in robot.cameras.items():
        # MuJoCo cameras look along -z with y up; the description's poses are of the optical frame.
        T = transform(camera.xyz, camera.rpy_deg) @ np.diag([1.0, -1.0, -1.0, 1.0])
        ET.SubElement(bodies[camera.link], "camera", {"name": name, "fovy": repr(camera.fovy_deg), **_pose(T)})
    tendons, equality, actuators = (ET.SubElement(root, tag) for tag in ("tendon", "equality", "actuator"))
    for slot in robot.slots:
        if slot.follower is not None:
            _gripper(tendons, equality, actuators, robot, slot)
        else:
            stiffness, _ = _servo(robot.joint[slot.joint])
            effort = robot.joint[slot.joint].effort
            ET.SubElement(
                actuators,
                "position",
                name=slot.name,
                joint=slot.joint,
                kp=repr(stiffness),
                dampratio="1",
                ctrlrange=_numbers(robot.joint[slot.joint].limit or ()),
                forcerange=f"-{effort} {effort}",
            )
    _exclude_neighbours(ET.SubElement(root, "contact"), robot)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def _exclude_neighbours(contact: ET.Element, robot: Robot) -> None:
    """Links next but one to each other overlap in the wrist and the elbow, where several axes meet in one point."""
    parent = {joint.child: joint.parent for joint in robot.joints}
    for link in robot.links:
        grandparent = parent.get(parent.get(link, ""), "")
        if grandparent:
            ET.SubElement(contact, "exclude", body1=grandparent, body2=link)


def _fill_body(body: ET.Element, robot: Robot, name: str) -> None:
    link = robot.links[name]
    inertia = link_inertia(link)
    if inertia is not None:
        T_link_com, moments = inertia
        attributes = {"mass": repr(link.mass), "diaginertia": _numbers(moments), **_pose(T_link_com)}
        ET.SubElement(body, "inertial", attributes)
    color = next((rgba for part, rgba in _COLORS.items() if name.startswith(part)), _BODY_COLOR)
    for shape in link.shapes:
        _geom(body, shape, color)


def _joint(body: ET.Element, joint: Joint) -> None:
    assert joint.limit is not None
    stiffness, armature = _servo(joint)
    ET.SubElement(
        body,
        "joint",
        name=joint.name,
        type="slide" if joint.type == "prismatic" else "hinge",
        axis="0 0 1",
        range=_numbers(joint.limit),
        armature=repr(armature),
        damping="5" if stiffness == _GRIPPER_STIFFNESS else "0",
    )


def _servo(joint: Joint) -> tuple[float, float]:
    assert joint.effort is not None
    return _SERVO.get(joint.effort, (_GRIPPER_STIFFNESS, 0.2))


def _gripper(tendons: ET.Element, equality: ET.Element, actuators: ET.Element, robot: Robot, slot: Slot) -> None:
    assert slot.follower is not None
    tendon = ET.SubElement(tendons, "fixed", name=slot.name)
    for finger in (slot.joint, slot.follower):
        ET.SubElement(tendon, "joint", joint=finger, coef="0.5")
    ET.SubElement(equality, "joint", joint1=slot.joint, joint2=slot.follower)
    joint = robot.joint[slot.joint]
    assert joint.limit is not None
    ET.SubElement(
        actuators,
        "position",
        name=slot.name,
        tendon=slot.name,
        kp=repr(_GRIPPER_STIFFNESS),
        kv=repr(_GRIPPER_DAMPING),
        ctrlrange=_numbers(joint.limit),
        forcerange=f"-{joint.effort} {joint.effort}",
    )


def _geom(body: ET.Element, shape: Shape, color: str) -> None:
    attributes = {"rgba": color}
    if shape.box is not None:
        attributes |= {
            "type": "box",
            "size": _numbers(side / 2 for side in shape.box),
            **_pose(shape_pose(shape)),
        }
    elif shape.cylinder is not None:
        assert shape.length is not None
        size = _numbers((shape.cylinder, shape.length / 2))
        attributes |= {"type": "cylinder", "size": size, **_pose(shape_pose(shape))}
    elif shape.start is not None and shape.end is not None:
        attributes |= {
            "type": "capsule",
            "size": repr(shape.capsule),
            "fromto": _numbers((*shape.start, *shape.end)),
        }
    if not shape.collision:
        attributes |= {"contype": "0", "conaffinity": "0"}
    if shape.pad:
        # Friction that holds half a kilogram without creeping, with the scene's elliptic cone.
        attributes |= {
            "condim": "4",
            "friction": "1.5 0.02 0.0001",
            "priority": "2",
            "solref": "0.004 1",
            "solimp": "0.95 0.99 0.001",
        }
    ET.SubElement(body, "geom", attributes)


def _pose(T: np.ndarray) -> dict[str, str]:
    return {"pos": _numbers(T[:3, 3]), "quat": _numbers(mat2quat(T[:3, :3]))}


def _numbers(values: Iterable[float]) -> str:
    return " ".join(repr(float(value)) for value in values)
