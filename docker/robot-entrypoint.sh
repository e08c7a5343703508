#!/bin/bash
# Sources ROS, the vendor's workspace if it is mounted at /vendor, and ours; then runs the command.
set -e
source "/opt/ros/$ROS_DISTRO/setup.bash"
if [ -f /vendor/setup.bash ]; then
    source /vendor/setup.bash
fi
source /opt/activemimic/ros2_ws/install/setup.bash
exec "$@"
