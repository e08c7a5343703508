"""Messages to slots and images, and back: the same lines for rclpy's messages and for those read from a bag.

Slots are in slot units (rad, m, gripper 0 open .. 1 closed), images (H, W, 3) uint8 RGB, stamps int64 nanoseconds.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from activemimic_description.common.errors import InvalidInputError
from activemimic_description.contract import Contract
from activemimic_description.contract_entries import JOINT_STATE, CameraSource, JointSink, JointSource
from activemimic_description.messages import Messages, header

_MAGIC = {b"\xff\xd8": "jpeg", b"\x89P": "png"}
_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4}


class CodecError(InvalidInputError):
    """A message that does not hold what the contract says: names topic and field, expected and found."""


def stamp_ns(msg: Any) -> int:
    """The header stamp of a message in nanoseconds."""
    stamp = msg.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def decode_slots(source: JointSource | JointSink, msg: Any) -> tuple[np.ndarray, np.ndarray]:
    """What a state or command message says about the robot vector.

    Args:
        source: the contract's entry for the message's topic.
        msg: the message; a JointState may order its joints as it likes and hold further ones.

    Returns:
        indices (K,) int into the robot vector, values (K,) float64 in slot units.

    Raises:
        CodecError: a joint or path is missing, doubled or not finite.
    """
    raw = _raw_by_name(source, msg) if source.type == JOINT_STATE else _raw_by_path(source, msg)
    if not np.isfinite(raw).all():
        bad = [
            field.name or field.path for field, value in zip(source.fields, raw, strict=True) if not np.isfinite(value)
        ]
        raise CodecError(f"{source.topic}: expected finite values, found NaN or infinity in {', '.join(map(str, bad))}")
    return source.indices, source.gain * raw + source.offset


def encode_command(contract: Contract, slots: np.ndarray, stamp_ns: int, messages: Messages) -> list[tuple[str, Any]]:
    """The messages, one a sink, that command a robot vector.

    Args:
        slots: (S,) in slot units.

    Returns:
        (topic, message) for every command sink of the contract.

    Raises:
        CodecError: `slots` has the wrong length or is not finite.
    """
    slots = np.asarray(slots, dtype=np.float64)
    if slots.shape != (len(contract.slots),):
        raise CodecError(f"command: expected {len(contract.slots)} slots, found shape {slots.shape}")
    if not np.isfinite(slots).all():
        bad = [name for name, value in zip(contract.slots, slots, strict=True) if not np.isfinite(value)]
        raise CodecError(f"command: expected finite values, found NaN or infinity in {', '.join(bad)}")
    return [(sink.topic, encode_slots(sink, slots, stamp_ns, messages)) for sink in contract.commands]


def encode_slots(source: JointSource | JointSink, slots: np.ndarray, stamp_ns: int, messages: Messages) -> Any:
    """The JointState that carries a source's or sink's share of a robot vector (S,); what `decode_slots` reads.

    Raises:
        CodecError: the message is of a type that is only ever read, by paths.
    """
    if source.type != JOINT_STATE:
        raise CodecError(f"{source.topic}: can only be written as {JOINT_STATE}, and the contract says {source.type}")
    return messages.make(
        source.type,
        header=header(stamp_ns),
        name=[field.name for field in source.fields],
        position=(slots[source.indices] - source.offset) / source.gain,
    )


def decode_image(camera: CameraSource, msg: Any) -> np.ndarray:
    """The image of a camera message: (H, W, 3) uint8 RGB, contiguous; of an rgb8 message without copying.

    Raises:
        CodecError: encoding or size differ from the contract's, or the data are damaged.
    """
    image = _decode_compressed(camera, msg) if "Compressed" in camera.type else _decode_raw(camera, msg)
    _check_size(camera, image.shape[1], image.shape[0])
    return image


def check_image_header(camera: CameraSource, msg: Any) -> None:
    """Whether a camera message says of itself what the contract says, without decoding it.

    Raises:
        CodecError: encoding or size differ from the contract's.
    """
    if "Compressed" in camera.type:
        data = np.frombuffer(msg.data, np.uint8)
        _check_magic(camera, data)
        size = _jpeg_size(data) if camera.encoding == "jpeg" else _png_size(data)
    else:
        _check_encoding(camera, msg)
        size = msg.width, msg.height
    if size is not None:
        _check_size(camera, *size)


def encode_image(
    camera: CameraSource, image: np.ndarray, stamp_ns: int, messages: Messages, jpeg_quality: int = 90
) -> Any:
    """A camera message, as the contract says, of `image` (H, W, 3) uint8 RGB."""
    if image.shape != (camera.height, camera.width, 3) or image.dtype != np.uint8:
        raise CodecError(
            f"camera {camera.name}: expected ({camera.height}, {camera.width}, 3) uint8, "
            f"found {image.shape} {image.dtype}"
        )
    fields: dict[str, Any] = {"header": header(stamp_ns, f"{camera.name}_camera_optical_frame")}
    if "Compressed" in camera.type:
        options = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if camera.encoding == "jpeg" else []
        _, data = cv2.imencode(f".{camera.encoding}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
        return messages.make(camera.type, **fields, format=camera.encoding, data=data)
    if camera.encoding == "bgr8":
        image = image[..., ::-1]
    elif camera.encoding == "rgba8":
        image = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    step = camera.width * _CHANNELS[camera.encoding]
    return messages.make(
        camera.type, **fields, height=camera.height, width=camera.width, encoding=camera.encoding, step=step, data=image
    )


def _raw_by_name(source: JointSource | JointSink, msg: Any) -> np.ndarray:
    position = np.asarray(msg.position, dtype=np.float64)
    if any(field.name is None for field in source.fields):
        return _raw_by_path(source, msg)
    places = {name: index for index, name in enumerate(msg.name)}
    if not len(msg.name) == len(places) == len(position):
        raise CodecError(
            f"{source.topic}: expected one position for each differently named joint, "
            f"found {len(msg.name)} names ({len(places)} different) and {len(position)} positions"
        )
    try:
        return position[[places[field.name] for field in source.fields]]
    except KeyError as missing:
        raise CodecError(f"{source.topic}: joint {missing} is missing; found {', '.join(msg.name) or 'none'}") from None


def _raw_by_path(source: JointSource | JointSink, msg: Any) -> np.ndarray:
    return np.array([_follow(source.topic, field.path, field.steps, msg) for field in source.fields], dtype=np.float64)


def _follow(topic: str, path: str | None, steps: tuple[str | int, ...], value: Any) -> float:
    for step in steps:
        try:
            value = value[step] if isinstance(step, int) else getattr(value, step)
        except (AttributeError, IndexError, TypeError) as error:
            raise CodecError(f"{topic}: {path} is missing in the message: {error}") from None
    return float(value)


def _decode_compressed(camera: CameraSource, msg: Any) -> np.ndarray:
    data = np.frombuffer(msg.data, np.uint8)
    _check_magic(camera, data)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise CodecError(f"camera {camera.name} ({camera.topic}): damaged {camera.encoding} of {len(data)} bytes")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _decode_raw(camera: CameraSource, msg: Any) -> np.ndarray:
    _check_encoding(camera, msg)
    channels = _CHANNELS[camera.encoding]
    data = np.frombuffer(msg.data, np.uint8)
    if msg.step < msg.width * channels or len(data) != msg.height * msg.step:
        raise CodecError(
            f"camera {camera.name} ({camera.topic}): expected {msg.height} rows of {msg.step} bytes for "
            f"{msg.width} pixels of {channels} bytes, found {len(data)} bytes"
        )
    rows = data.reshape(msg.height, msg.step)[:, : msg.width * channels]
    image: np.ndarray = rows.reshape(msg.height, msg.width, channels)
    if camera.encoding == "bgr8":
        image = image[..., ::-1]
    return np.ascontiguousarray(image[..., :3])


def _check_size(camera: CameraSource, width: int, height: int) -> None:
    if (width, height) != (camera.width, camera.height):
        raise CodecError(
            f"camera {camera.name} ({camera.topic}): expected {camera.width}x{camera.height} pixels, "
            f"found {width}x{height}"
        )


def _check_magic(camera: CameraSource, data: np.ndarray) -> None:
    found = _MAGIC.get(data[:2].tobytes(), f"unknown data of {len(data)} bytes")
    if found != camera.encoding:
        raise CodecError(f"camera {camera.name} ({camera.topic}): expected {camera.encoding}, found {found}")


def _check_encoding(camera: CameraSource, msg: Any) -> None:
    if msg.encoding != camera.encoding:
        raise CodecError(
            f"camera {camera.name} ({camera.topic}): expected encoding {camera.encoding}, found {msg.encoding!r}"
        )


def _jpeg_size(data: np.ndarray) -> tuple[int, int] | None:
    """Width and height from the frame header (ITU-T T.81, B.2.2); None where there is none."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = int(data[at + 1]), int(data[at + 2]) << 8 | int(data[at + 3])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # DHT, JPG, DAC
            height, width = np.frombuffer(data[at + 5 : at + 9].tobytes(), ">u2").tolist()
            return width, height
        at += 2 + length
    return None


def _png_size(data: np.ndarray) -> tuple[int, int] | None:
    """Width and height from the IHDR chunk, which comes first; None where the data end before."""
    if len(data) < 24:
        return None
    return int.from_bytes(data[16:20].tobytes(), "big"), int.from_bytes(data[20:24].tobytes(), "big")
