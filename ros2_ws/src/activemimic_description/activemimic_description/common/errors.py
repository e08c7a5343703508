"""Which errors are answers to the person, and which are faults of the program and keep their traceback."""

from __future__ import annotations

OWN_PACKAGES = "activemimic_"

ROS_MISSING = (
    "this needs ROS 2 (rclpy is not importable): source your installation (source /opt/ros/$ROS_DISTRO/setup.bash), "
    "or install the wheels: pip install 'ros-rclpy[fastrtps]==7.1.6' and the message packages in constraints.txt"
)


def explanation(error: BaseException) -> str | None:
    """What to tell the person: the text of the project's own errors; None for all others."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "rclpy":
        return ROS_MISSING
    if type(error).__name__ == "RCLError" and "SECURITY" in str(error):  # no enclave, or a DDS without security
        return f"SROS 2: {' '.join(str(error).split())}"
    if type(error).__module__.startswith(OWN_PACKAGES) or isinstance(error, FileNotFoundError):
        return str(error)
    return None
