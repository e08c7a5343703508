"""The errors of the project: what the person is told in one line, and with which code a command then ends.

All others are faults of the program and keep their traceback.
"""

from __future__ import annotations

FAILED = 1  # exit code when something went wrong on the way
USAGE = 2  # and when what was given cannot be used: arguments, contracts, checkpoints, configuration files

ROS_MISSING = (
    "this needs ROS 2 (rclpy is not importable): source your installation (source /opt/ros/$ROS_DISTRO/setup.bash), "
    "or install the wheels: pip install 'ros-rclpy[fastrtps]==7.1.6' and the message packages in constraints.txt"
)


class ActiveMimicError(Exception):
    """An answer to the person; its text names what was expected and what was found."""

    exit_code = FAILED


class OperationError(ActiveMimicError, RuntimeError):
    """What was asked for could not be done."""


class InvalidInputError(ActiveMimicError, ValueError):
    """What was given cannot be used."""

    exit_code = USAGE


def explanation(error: BaseException) -> str | None:
    """What to tell the person; None for a fault of the program."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "rclpy":
        return ROS_MISSING
    if type(error).__name__ == "RCLError" and "SECURITY" in str(error):  # no enclave, or a DDS without security
        return f"SROS 2: {' '.join(str(error).split())}"
    if isinstance(error, ActiveMimicError | FileNotFoundError):
        return str(error)
    return None


def exit_code(error: BaseException) -> int:
    """With which code a command ends that raised `error`."""
    return error.exit_code if isinstance(error, ActiveMimicError) else FAILED
