"""The robot as URDF, for robot_state_publisher, RViz and whatever else reads it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

import numpy as np
from transforms3d.euler import mat2euler

from activemimic_description.kinematics import transform
from activemimic_description.robot import Joint, Robot, Shape
from activemimic_description.shapes import capsule_length, link_inertia, shape_pose


def robot_urdf(robot: Robot) -> str:
    """URDF text. Every camera adds a link `<name>_camera_optical_frame` (x right, y down, z forward)."""
    root = ET.Element("robot", name=robot.name)
    # Read by MuJoCo alone: keep links without a moving joint as bodies of their own.
    ET.SubElement(ET.SubElement(root, "mujoco"), "compiler", fusestatic="false", discardvisual="false")
    for name, link in robot.links.items():
        element = ET.SubElement(root, "link", name=name)
        inertia = link_inertia(link)
        if inertia is not None:
            T_link_com, moments = inertia
            inertial = ET.SubElement(element, "inertial")
            _origin(inertial, T_link_com)
            ET.SubElement(inertial, "mass", value=repr(link.mass))
            ixx, iyy, izz = (repr(float(moment)) for moment in moments)
            ET.SubElement(inertial, "inertia", ixx=ixx, iyy=iyy, izz=izz, ixy="0", ixz="0", iyz="0")
        for shape in link.shapes:
            _geometry(ET.SubElement(element, "visual"), shape)
            if shape.collision:
                _geometry(ET.SubElement(element, "collision"), shape)
    for joint in robot.joints:
        _joint(root, joint)
    for slot in robot.slots:
        if slot.follower is not None:
            follower = root.find(f"joint[@name='{slot.follower}']")
            assert follower is not None
            ET.SubElement(follower, "mimic", joint=slot.joint)
    for name, camera in robot.cameras.items():
        frame = f"{name}_camera_optical_frame"
        ET.SubElement(root, "link", name=frame)
        mount = ET.SubElement(root, "joint", name=f"{name}_camera_joint", type="fixed")
        ET.SubElement(mount, "parent", link=camera.link)
        ET.SubElement(mount, "child", link=frame)
        _origin(mount, transform(camera.xyz, camera.rpy_deg))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def _joint(root: ET.Element, joint: Joint) -> None:
    element = ET.SubElement(root, "joint", name=joint.name, type=joint.type)
    ET.SubElement(element, "parent", link=joint.parent)
    ET.SubElement(element, "child", link=joint.child)
    _origin(element, transform(joint.xyz, joint.rpy_deg))
    if joint.limit is not None:
        ET.SubElement(element, "axis", xyz="0 0 1")
        lower, upper = joint.limit
        ET.SubElement(
            element,
            "limit",
            lower=repr(lower),
            upper=repr(upper),
            velocity=repr(joint.velocity),
            effort=repr(joint.effort),
        )


def _geometry(element: ET.Element, shape: Shape) -> None:
    _origin(element, shape_pose(shape))
    geometry = ET.SubElement(element, "geometry")
    if shape.box is not None:
        ET.SubElement(geometry, "box", size=_numbers(shape.box))
    elif shape.cylinder is not None:
        ET.SubElement(geometry, "cylinder", radius=repr(shape.cylinder), length=repr(shape.length))
    elif shape.capsule is not None:
        # URDF knows no capsule: the cylinder that encloses it.
        length = capsule_length(shape) + 2 * shape.capsule
        ET.SubElement(geometry, "cylinder", radius=repr(shape.capsule), length=repr(length))


def _origin(element: ET.Element, T: np.ndarray) -> None:
    ET.SubElement(element, "origin", xyz=_numbers(T[:3, 3]), rpy=_numbers(mat2euler(T[:3, :3], "sxyz")))


def _numbers(values: Iterable[float]) -> str:
    return " ".join(repr(float(value)) for value in values)
