"""Synthetic episodes: images whose pixels hold their number, joints that swing."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from pathlib import Path

import numpy as np
from activemimic_data.bags import EpisodeWriter
from activemimic_data.bags.command_sources import CONTROL
from activemimic_description.codec import encode_command, encode_image
from activemimic_description.contract import Contract, load_contract
from activemimic_description.messages import BagMessages

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
FPS = 30
# What each source lags behind the frame's instant, so that choosing the wrong message shows.
STATE_DELAY_NS = 7 * MS
COMMAND_DELAY_NS = 12 * MS

EpisodeMaker = Callable[..., Path]
_STATUS = "diagnostic_msgs/msg/DiagnosticStatus"


def write_episode(
    folder: Path,
    frames: int = 20,
    phase: float = 0.0,
    outcome: str = "success",
    instruction: str = "grasp the cube",
    contract: Contract | None = None,
    without_images: tuple[str, Container[int]] = ("head", ()),
    without_commands: Container[int] = (),
    jitter_ns: int = 0,
    jumps_at: tuple[int, int] | None = None,
    extra: dict | None = None,
    seed: int = 7,
    moved_by: Mapping[int, str] | None = None,
) -> Path:
    """Record `frames` frames at 30 Hz; `without_…` leaves some out, `jitter_ns` shakes stamps, and from the
    frame of `jumps_at` on they are later by so many ns. `moved_by`: from a frame on, who moves the robot.
    """
    shake = np.random.default_rng(0)
    contract = contract or load_contract("g1_sim")
    messages = BagMessages()
    (state,), (sink,) = contract.state, contract.commands
    with EpisodeWriter(folder, contract, task="reaching", instruction=instruction, seed=seed, extra=extra) as writer:
        if moved_by:
            writer.add_topic(CONTROL, _STATUS)
        for frame in range(frames):
            stamp_ns = frame_stamp_ns(frame) + int(shake.integers(-jitter_ns, jitter_ns + 1))
            if jumps_at and frame >= jumps_at[0]:
                stamp_ns += jumps_at[1]
            if moved_by and frame in moved_by:
                values = [{"key": "mode", "value": "running"}, {"key": "source", "value": moved_by[frame]}]
                status = messages.make(_STATUS, name="controller", values=values)
                writer.write(CONTROL, messages.serialize(status, _STATUS), stamp_ns)
            for number, (name, camera) in enumerate(contract.cameras.items()):
                if name == without_images[0] and frame in without_images[1]:
                    continue
                image = numbered_image(frame + 1000 * number, camera.height, camera.width)
                data = messages.serialize(encode_image(camera, image, stamp_ns, messages), camera.type)
                writer.write(camera.topic, data, stamp_ns + 5 * MS, stamp_ns, frame + 1)
            for topic, kind, delay_ns, ahead in (
                (state.topic, state.type, STATE_DELAY_NS, 0.0),
                (sink.topic, sink.type, COMMAND_DELAY_NS, 0.1),
            ):
                if topic == sink.topic and frame in without_commands:
                    continue
                slots = joints(frame, phase + ahead)
                ((_, msg),) = encode_command(contract, slots, stamp_ns + delay_ns, messages)
                writer.write(topic, messages.serialize(msg, kind), stamp_ns + delay_ns + MS, None, frame + 1)
        writer.close(outcome)  # type: ignore[arg-type]
    return folder


def frame_stamp_ns(frame: int) -> int:
    return START_NS + frame * 1_000_000_000 // FPS


def joints(frame: int, phase: float) -> np.ndarray:
    """A robot vector (20,) within its limits."""
    swing = np.sin(phase + frame / 10 + np.arange(20))
    return np.concatenate(
        [0.3 * swing[:2], 0.5 + 0.3 * swing[2:3], 0.3 + 0.1 * swing[3:4], swing[4:18], 0.5 + swing[18:] / 2]
    )


def numbered_image(number: int, height: int, width: int) -> np.ndarray:
    """An image (H, W, 3) whose 4 x 3 fields are the number's 12 bits, tinted so that channel order shows."""
    bits = np.array([number >> bit & 1 for bit in range(12)], np.uint8).reshape(4, 3)
    fields = np.kron(bits, np.ones((height // 4, width // 3), np.uint8))
    plane = np.zeros((height, width), np.uint8)
    plane[: fields.shape[0], : fields.shape[1]] = fields
    return plane[..., None] * np.array([220, 200, 120], np.uint8) + np.array([20, 10, 0], np.uint8)


def image_number(image: np.ndarray) -> int:
    """The number that `numbered_image` put in."""
    height, width = image.shape[0] // 4, image.shape[1] // 3
    bits = [
        int(image[row * height + height // 2, column * width + width // 2, 0] > 128)
        for row in range(4)
        for column in range(3)
    ]
    return sum(bit << index for index, bit in enumerate(bits))
