# Datasets and training, without ROS and without MuJoCo. Build from the repository's root.
FROM python:3.12-slim-bookworm

# Where torch comes from: empty is PyPI's own build (CUDA on x86_64), otherwise the index of another build.
ARG TORCH_INDEX=
ARG TORCH=torch==2.13.0
WORKDIR /opt/activemimic
COPY constraints.txt .
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$TORCH"
RUN grep -v '^torch==' constraints.txt > training-constraints.txt \
    && pip install --no-cache-dir -c training-constraints.txt \
        setuptools wheel numpy opencv-python-headless pydantic pyyaml transforms3d rosbags mcap \
        av pyarrow pandas safetensors tokenizers tensorboard matplotlib jinja2 ruckig typer rich

COPY ros2_ws/src ros2_ws/src
COPY activemimic_policy activemimic_policy
COPY activemimic_bringup activemimic_bringup
COPY launch launch
COPY training training
# Bringup is here for its command line, which works without ROS and the simulator for everything offline.
RUN pip install --no-cache-dir --no-deps --no-build-isolation \
    ./ros2_ws/src/activemimic_description ./ros2_ws/src/activemimic_control ./activemimic_policy \
    ./ros2_ws/src/activemimic_data ./ros2_ws/src/activemimic_sim ./ros2_ws/src/activemimic_rollout \
    ./training ./activemimic_bringup

RUN useradd --create-home --uid 1001 trainer
USER trainer
WORKDIR /work
ENTRYPOINT ["activemimic"]
CMD ["--help"]
