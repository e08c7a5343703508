"""What there is to see: a furnished room of its own colours and light, two hands, and the task's objects."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import mujoco
import numpy as np

from activemimic_sim.egocentric.tasks import SHELF_M, TABLE_M, Thing

HAND_BODIES = ("left_hand", "right_hand")
CAMERA = "head"
_BOX, _CAPSULE = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CAPSULE
_SHAPES = {"box": _BOX, "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER}
_SKINS = ((0.94, 0.76, 0.65), (0.80, 0.58, 0.44), (0.55, 0.37, 0.27), (0.36, 0.24, 0.18))
_TEXTURE_PX = 128


def furnish(numbers: np.random.Generator, things: Sequence[Thing], field_of_view_deg: float) -> mujoco.MjModel:
    """A room with the objects, bodies of their names that are moved from outside, as are the hands and the camera."""
    spec = mujoco.MjSpec()
    spec.visual.quality.numslices, spec.visual.quality.numstacks = 16, 8
    spec.visual.quality.offsamples = 0  # smooth edges would halve the speed
    spec.visual.map.znear = 0.02
    spec.visual.headlight.ambient = [numbers.uniform(0.3, 0.45)] * 3
    spec.visual.headlight.diffuse = [0.15] * 3
    spec.worldbody.add_light(
        pos=[numbers.uniform(-0.5, 1.0), numbers.uniform(-1.2, 1.2), 2.4],
        dir=[0.2, 0, -1],
        diffuse=numbers.uniform(0.45, 0.7, 3).tolist(),
    )
    materials = _materials(spec, numbers)
    _walls(spec, numbers, materials)
    _furniture(spec, numbers, materials)
    skin = [*_SKINS[numbers.integers(len(_SKINS))], 1.0]
    sleeve = [*numbers.uniform(0.1, 0.8, 3), 1.0]
    for side, name in zip((1, -1), HAND_BODIES, strict=True):
        _hand(spec.worldbody.add_body(name=name, mocap=True), side, skin, sleeve)
    for thing in things:
        body = spec.worldbody.add_body(name=thing.name, mocap=True, pos=list(thing.place))
        colour, material = _colour(numbers), str(numbers.choice(materials))
        for shape, size, place in _parts(thing):
            _geom(body, shape, size, place, rgba=colour, material=material)
    head = spec.worldbody.add_body(name=CAMERA, mocap=True)
    head.add_camera(name=CAMERA, fovy=field_of_view_deg)
    return spec.compile()


def _walls(spec: mujoco.MjSpec, numbers: np.random.Generator, materials: list[str]) -> None:
    depth, width = numbers.uniform(1.6, 3.0), numbers.uniform(1.4, 2.6)
    walls = [
        ((depth, 0, 1.3), (0.05, width, 1.3)),
        ((-depth, 0, 1.3), (0.05, width, 1.3)),
        ((0, width, 1.3), (depth, 0.05, 1.3)),
        ((0, -width, 1.3), (depth, 0.05, 1.3)),
        ((0, 0, -0.05), (depth, width, 0.05)),
        ((0, 0, 2.65), (depth, width, 0.05)),
    ]
    paint = numbers.uniform(0.55, 1.0, 3)
    for index, (place, size) in enumerate(walls):
        colour = paint if index < 4 else numbers.uniform(0.4, 0.9, 3)
        _geom(spec.worldbody, _BOX, size, place, rgba=[*colour, 1.0], material=str(numbers.choice(materials)))
    for _ in range(6):  # pictures, windows, doors
        side = int(numbers.integers(3))
        half, height = numbers.uniform(0.15, 0.5, 2), numbers.uniform(1.0, 1.9)
        along = numbers.uniform(-0.8, 0.8)
        beside = (along * depth, width - 0.06, height), (along * depth, -width + 0.06, height)
        hung = ((depth - 0.06, along * width, height), *beside)[side]
        flat = (0.02, half[0], half[1]) if side == 0 else (half[0], 0.02, half[1])
        _geom(spec.worldbody, _BOX, flat, hung, rgba=_colour(numbers), material=str(numbers.choice(materials)))


def _furniture(spec: mujoco.MjSpec, numbers: np.random.Generator, materials: list[str]) -> None:
    world = spec.worldbody
    wood, other = (str(name) for name in numbers.choice(materials, 2))
    tint = [*numbers.uniform(0.4, 1.0, 3), 1.0]
    _geom(world, _BOX, (0.32, 0.75, 0.02), (0.57, 0, TABLE_M - 0.02), rgba=tint, material=wood)
    for x in (0.3, 0.84):
        for y in (-0.7, 0.7):
            _geom(world, _BOX, (0.03, 0.03, 0.38), (x, y, 0.38), rgba=tint, material=wood)
    for height in (SHELF_M, SHELF_M + 0.32):
        _geom(world, _BOX, (0.13, 0.6, 0.012), (0.72, 0, height), rgba=_colour(numbers), material=other)
    for y in (-0.61, 0.61):
        _geom(world, _BOX, (0.13, 0.012, 0.36), (0.72, y, TABLE_M + 0.36), rgba=tint, material=other)
    for y in numbers.uniform(-0.5, 0.5, 4):  # on the shelf already
        size = (0.05, numbers.uniform(0.03, 0.07), numbers.uniform(0.06, 0.12))
        place = (0.78, y, SHELF_M + 0.012 + size[2])
        _geom(world, _BOX, size, place, rgba=_colour(numbers), material=str(numbers.choice(materials)))
    for _ in range(5):  # along the walls
        box = numbers.uniform(0.15, 0.4, 3)
        side = numbers.choice([-1, 1])
        place = (numbers.uniform(-0.5, 1.4), side * numbers.uniform(1.1, 1.3), box[2])
        _geom(world, _BOX, box.tolist(), place, rgba=_colour(numbers), material=str(numbers.choice(materials)))


def _parts(thing: Thing) -> list[tuple[int, tuple[float, ...], tuple[float, float, float]]]:
    """Shape, size and place of each geom of an object."""
    if thing.shape != "open_box":
        return [(_SHAPES[thing.shape], thing.size, (0, 0, 0))]
    x, y, z = thing.size
    sides = [((0.006, y, z), (side * x, 0.0, 0.0)) for side in (-1, 1)]
    sides += [((x, 0.006, z), (0.0, side * y, 0.0)) for side in (-1, 1)]
    return [(_BOX, size, place) for size, place in sides]


def _hand(body: mujoco.MjsBody, side: int, skin: list[float], sleeve: list[float]) -> None:
    """x along the hand, z out of its back; the thumb of the left hand (side 1) points to -y, to the middle."""
    _geom(body, _CAPSULE, (0.026,), ends=((0.02, 0.018, 0), (0.075, 0.02, 0)), rgba=skin)
    _geom(body, _CAPSULE, (0.026,), ends=((0.02, -0.018, 0), (0.075, -0.02, 0)), rgba=skin)
    for finger, y in enumerate((-0.033, -0.011, 0.011, 0.033)):
        reach = 0.15 - 0.008 * abs(finger - 1.5)
        _geom(body, _CAPSULE, (0.0095,), ends=((0.09, y, -0.005), (0.125, y, -0.012)), rgba=skin)
        _geom(body, _CAPSULE, (0.0085,), ends=((0.125, y, -0.012), (reach, y, -0.035)), rgba=skin)
    _geom(body, _CAPSULE, (0.012,), ends=((0.03, -side * 0.035, -0.01), (0.09, -side * 0.06, -0.035)), rgba=skin)
    _geom(body, _CAPSULE, (0.03,), ends=((-0.06, 0, 0), (0.0, 0, 0)), rgba=skin)
    _geom(body, _CAPSULE, (0.042,), ends=((-0.3, 0, 0), (-0.07, 0, 0)), rgba=sleeve)


def _geom(
    body: mujoco.MjsBody,
    shape: int,
    size: Sequence[float],
    place: Sequence[float] = (0, 0, 0),
    rgba: Sequence[float] = (1, 1, 1, 1),
    material: str = "",
    ends: tuple[Sequence[float], Sequence[float]] | None = None,
) -> None:
    geom = body.add_geom(type=shape, pos=list(place), rgba=list(rgba), contype=0, conaffinity=0)
    geom.size[: len(size)] = size
    if material:
        geom.material = material
    if ends is not None:
        geom.fromto = [*ends[0], *ends[1]]


def _materials(spec: mujoco.MjSpec, numbers: np.random.Generator) -> list[str]:
    """Grain, blotches and tiles: things to follow from image to image."""
    names = []
    for number in range(5):
        name = f"surface_{number}"
        encoded = cv2.imencode(".png", _texture(numbers, number % 3))[1]
        spec.assets[f"{name}.png"] = encoded.tobytes()
        spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, file=f"{name}.png")
        material = spec.add_material(name=name, texrepeat=[2.0, 2.0], texuniform=True, specular=0.1)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
        names.append(name)
    return names


def _texture(numbers: np.random.Generator, kind: int) -> np.ndarray:
    """(H, W, 3) uint8, from 110 to 255, so that it tints what it lies on and does not blacken it."""
    field = np.zeros((_TEXTURE_PX, _TEXTURE_PX), np.float32)
    for octave in (4, 8, 16, 32, 64):
        rows = max(2, octave // 8) if kind == 1 else octave  # grain: long one way, short the other
        coarse = numbers.normal(0, 1, (rows, octave)).astype(np.float32)
        field += np.asarray(cv2.resize(coarse, field.shape, interpolation=cv2.INTER_CUBIC), np.float32) / octave**0.4
    field = (field - field.min()) / np.ptp(field)
    if kind == 2:
        step = _TEXTURE_PX // 4
        field[::step] = field[1::step] = field[:, ::step] = field[:, 1::step] = 0
    return np.repeat((110 + 145 * field)[..., None], 3, axis=2).astype(np.uint8)


def _colour(numbers: np.random.Generator) -> list[float]:
    return [*numbers.uniform(0.2, 0.95, 3), 1.0]
