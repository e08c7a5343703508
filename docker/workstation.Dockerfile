# A workstation without ROS or GPU: the whole stack, with ROS 2 from wheels (x86_64). Build from the repository's root.
FROM python:3.12-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends make git libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0 \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1001 maker
USER maker
RUN mkdir /home/maker/activemimic
WORKDIR /home/maker/activemimic
COPY --chown=maker . .
RUN make setup
ENV PATH=/home/maker/activemimic/.venv/bin:$PATH
CMD ["make", "demo"]
