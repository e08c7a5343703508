# The robot's computer: policy, controller and recorder on ROS 2 from apt. Build from the repository's root.
ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}-ros-base

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv ros-${ROS_DISTRO}-rmw-fastrtps-cpp \
    && rm -rf /var/lib/apt/lists/*

# An environment that sees the system's Python: Ubuntu's own must not be changed by pip.
RUN python3 -m venv --system-site-packages /opt/venv
ENV PATH=/opt/venv/bin:$PATH

# Where torch comes from: empty is PyPI's own build, otherwise the index of a CPU, CUDA or Jetson build.
ARG TORCH_INDEX=
ARG TORCH=torch==2.13.0
WORKDIR /opt/activemimic
COPY constraints.txt .
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$TORCH"
RUN grep -v '^torch==' constraints.txt > robot-constraints.txt \
    && pip install --no-cache-dir -c robot-constraints.txt \
        setuptools wheel colcon-common-extensions catkin-pkg \
        numpy opencv-python-headless pydantic pyyaml transforms3d rosbags mcap safetensors tokenizers ruckig typer rich

COPY ros2_ws/src/activemimic_description ros2_ws/src/activemimic_description
COPY ros2_ws/src/activemimic_control ros2_ws/src/activemimic_control
COPY ros2_ws/src/activemimic_data ros2_ws/src/activemimic_data
COPY activemimic_policy activemimic_policy
COPY activemimic_bringup activemimic_bringup
COPY launch launch
# Simulator, rollouts and training stay out. Nodes run with the interpreter that builds them, which is the environment's.
RUN ln -s ../../activemimic_policy ../../activemimic_bringup ros2_ws/src/ \
    && . /opt/ros/${ROS_DISTRO}/setup.sh \
    && cd ros2_ws && python -m colcon build

# colcon puts executables where `ros2 run` finds them; the command line shall be found by its name as well.
ENV PATH=/opt/activemimic/ros2_ws/install/activemimic_bringup/lib/activemimic_bringup:$PATH

RUN useradd --create-home --uid 1001 robot
USER robot
WORKDIR /home/robot
COPY --chmod=755 docker/robot-entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["activemimic", "--help"]
