"""Named changes of a scene that a policy was not trained on, to be combined at will.

Every perturbation is drawn anew from the trial's seed, apart from the layout's own draws: with and without it, the same
seed places everything alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import cv2
import mujoco
import numpy as np
import numpy.typing as npt

from activemimic_sim.tasks.finding import OTHER_YOGURT, REGION_CENTER_XY_M, SIDE_INSTRUCTIONS, yogurt
from activemimic_sim.tasks.task import Layout, SceneError, Task

_SPREAD_XY_M, _SPREAD_Z_M = 0.02, 0.01
_FLASH_S = 0.5  # each colour's turn
_COLOURS = np.array([(1.0, 0.15, 0.15), (0.15, 1.0, 0.15), (0.15, 0.15, 1.0)])


class Perturbation:
    """One change. Every hook is called in every trial; those left alone do nothing."""

    name: ClassVar[str]
    about: ClassVar[str]

    def check(self, task: Task) -> None:
        """Raises SceneError if the perturbation has no meaning in the task."""

    def bodies(self, task: Task) -> str:
        """More MJCF elements for the worldbody."""
        return ""

    def assets(self) -> str:
        """More MJCF elements for the scene's assets."""
        return ""

    def objects(self, layout: Layout) -> dict[str, np.ndarray]:
        """Where more free objects start: pose (7,) in the world by free joint, as `Layout.objects`."""
        return {}

    def instruction(self, task: Task, layout: Layout, rng: np.random.Generator) -> str | None:
        """The words of a trial, if they are other than the task's usual ones."""
        return None

    def shift_m(self, rng: np.random.Generator) -> np.ndarray:
        """How far the furniture and what stands on it are moved (3,)."""
        return np.zeros(3)

    def prepare(self, model: mujoco.MjModel, task: Task, rng: np.random.Generator) -> None:
        """Change the model's looks for a trial; they are the scene's own before."""

    def light(self, model: mujoco.MjModel, time_s: float) -> None:
        """Set the lights of an instant, before an image is drawn."""

    def image(self, camera: str, image: np.ndarray, time_s: float) -> np.ndarray:
        """What a camera delivers of the (H, W, 3) uint8 RGB image that it saw at an instant."""
        return image


class FlashingLight(Perturbation):
    name = "flashing_light"
    about = "the light alternates between red, green and blue (paper, Fig. 9a)"

    def light(self, model: mujoco.MjModel, time_s: float) -> None:
        colour = _COLOURS[int(time_s / _FLASH_S) % len(_COLOURS)]
        model.light_diffuse[:] = 0.6 * colour
        model.vis.headlight.ambient[:] = 0.45 * colour
        model.vis.headlight.diffuse[:] = 0.3 * colour


class _Packaging(Perturbation):
    colours: ClassVar[dict[str, tuple[float, float, float]]]

    def check(self, task: Task) -> None:
        _check_yogurt(self.name, task)

    def prepare(self, model: mujoco.MjModel, task: Task, rng: np.random.Generator) -> None:
        for part, colour in self.colours.items():
            _paint(model, part, colour)


class UnseenYogurtA(_Packaging):
    name = "unseen_yogurt_a"
    about = "the yogurt in a green packaging, of the same size (paper, Fig. 9b)"
    colours: ClassVar = {"body": (0.20, 0.55, 0.30), "label": (0.95, 0.85, 0.20), "lid": (0.90, 0.90, 0.88)}


class UnseenYogurtB(_Packaging):
    name = "unseen_yogurt_b"
    about = "the yogurt in an orange packaging, of the same size (paper, Fig. 9b)"
    colours: ClassVar = {"body": (0.92, 0.55, 0.15), "label": (0.25, 0.15, 0.40), "lid": (0.60, 0.10, 0.15)}


class RandomPackaging(Perturbation):
    name = "random_packaging"
    about = "the yogurt in colours drawn anew, none like those of the unseen ones: to learn from"
    _UNSEEN = np.array([list(kind.colours.values()) for kind in (UnseenYogurtA, UnseenYogurtB)])  # (2, parts, 3)
    _ALIKE = 0.25  # distance in RGB

    def check(self, task: Task) -> None:
        _check_yogurt(self.name, task)

    def prepare(self, model: mujoco.MjModel, task: Task, rng: np.random.Generator) -> None:
        for place, part in enumerate(UnseenYogurtA.colours):
            colour = rng.uniform(0.05, 0.95, 3)
            while np.linalg.norm(self._UNSEEN[:, place] - colour, axis=1).min() < self._ALIKE:
                colour = rng.uniform(0.05, 0.95, 3)
            _paint(model, part, colour)


class NamedSide(Perturbation):
    name = "named_side"
    about = "a yogurt on each side; the instruction says which one is meant"

    def check(self, task: Task) -> None:
        _check_yogurt(self.name, task)

    def bodies(self, task: Task) -> str:
        return yogurt(OTHER_YOGURT, (REGION_CENTER_XY_M[0], -REGION_CENTER_XY_M[1]))

    def objects(self, layout: Layout) -> dict[str, np.ndarray]:
        mirrored = layout.objects["yogurt"].copy()
        mirrored[1] *= -1.0
        return {OTHER_YOGURT: mirrored}

    def instruction(self, task: Task, layout: Layout, rng: np.random.Generator) -> str | None:
        return SIDE_INSTRUCTIONS["left" if layout.objects["yogurt"][1] > 0.0 else "right"]


class WithoutHead(Perturbation):
    name = "without_head"
    about = "the head camera delivers black images"

    def image(self, camera: str, image: np.ndarray, time_s: float) -> np.ndarray:
        return np.zeros_like(image) if camera == "head" else image


class CameraNoise(Perturbation):
    name = "camera_noise"
    about = "blurred images of wrong exposure, each camera its own, with sensor noise"

    def prepare(self, model: mujoco.MjModel, task: Task, rng: np.random.Generator) -> None:
        self._key = int(rng.integers(2**31))

    def image(self, camera: str, image: np.ndarray, time_s: float) -> np.ndarray:
        # From the trial, the camera and the instant alone: looking twice, or less often, changes nothing.
        own = np.random.default_rng([self._key, *camera.encode()])
        sigma_px, exposure = own.uniform(0.4, 1.6), 2.0 ** own.uniform(-0.7, 0.7)
        shot = np.random.default_rng([self._key, *camera.encode(), round(time_s * 1000)])
        blurred = cv2.GaussianBlur(image, (0, 0), sigma_px).astype(np.float32)
        noise = shot.normal(0.0, 4.0, image.shape[:2]).astype(np.float32)
        return np.clip(blurred * exposure + noise[..., None], 0, 255).astype(np.uint8)


class ShiftedTable(Perturbation):
    name = "shifted_table"
    about = f"furniture and objects up to {100 * _SPREAD_XY_M:g} cm aside and {100 * _SPREAD_Z_M:g} cm higher or lower"

    def shift_m(self, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(-1.0, 1.0, 3) * (_SPREAD_XY_M, _SPREAD_XY_M, _SPREAD_Z_M)


class Distractors(Perturbation):
    name = "distractors"
    about = "more things on the furniture, out of the way"
    _SHAPES = (
        ("box", (0.025, 0.035, 0.04)),
        ("cylinder", (0.03, 0.05)),
        ("box", (0.05, 0.035, 0.02)),
        ("ellipsoid", (0.035, 0.035, 0.03)),
    )

    def check(self, task: Task) -> None:
        if not task.distractor_spots:
            raise SceneError(f"perturbation {self.name}: task {task.name} has no room for them")

    def bodies(self, task: Task) -> str:
        return "".join(self._body(number, spot) for number, spot in enumerate(task.distractor_spots))

    def prepare(self, model: mujoco.MjModel, task: Task, rng: np.random.Generator) -> None:
        for number, spot in enumerate(task.distractor_spots):
            geom = model.geom(f"distractor_{number}")
            geom.rgba[:3] = rng.uniform(0.05, 0.95, 3)
            body = model.body(f"distractor_{number}")
            body.pos[:2] = np.array(spot[:2]) + task.shift_m[:2] + rng.uniform(-0.03, 0.03, 2)
            body.pos[2] = spot[2] + task.shift_m[2] + self._shape(number)[1][-1]
            yaw = rng.uniform(-np.pi, np.pi)
            body.quat[:] = [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]

    def _body(self, number: int, spot: tuple[float, float, float]) -> str:
        kind, size = self._shape(number)
        numbers = " ".join(map(str, size))
        return (
            f'<body name="distractor_{number}" pos="{spot[0]} {spot[1]} {spot[2] + size[-1]}">'
            f'<geom name="distractor_{number}" type="{kind}" size="{numbers}"/></body>'
        )

    def _shape(self, number: int) -> tuple[str, tuple[float, ...]]:
        return self._SHAPES[number % len(self._SHAPES)]


class RandomLook(Perturbation):
    name = "random_look"
    about = "other colours and textures of room and furniture, other light"
    _TEXTURES = ("checker", "gradient", "flat")

    def assets(self) -> str:
        return "".join(
            f'<texture name="look_{kind}" type="2d" builtin="{kind}" width="128" height="128" rgb1="1 1 1" '
            f'rgb2="0.6 0.6 0.6" mark="random" markrgb="0.3 0.3 0.3" random="0.04"/>'
            f'<material name="look_{kind}" texture="look_{kind}" texrepeat="3 3" texuniform="true"/>'
            for kind in self._TEXTURES
        )

    def prepare(self, model: mujoco.MjModel, task: Task, rng: np.random.Generator) -> None:
        materials = [-1, *(model.material(f"look_{kind}").id for kind in self._TEXTURES)]
        # What hangs directly on the world is the room; whatever moves keeps its looks.
        still = {0, *(model.body(name).id for name in task.furniture)}
        for geom in range(model.ngeom):
            if model.geom_bodyid[geom] in still:
                model.geom_rgba[geom, :3] = np.clip(model.geom_rgba[geom, :3] + rng.uniform(-0.25, 0.25, 3), 0.05, 1.0)
                model.geom_matid[geom] = rng.choice(materials)
        model.light_diffuse[:] *= rng.uniform(0.5, 1.4)
        model.vis.headlight.ambient[:] *= rng.uniform(0.6, 1.3)
        model.light_pos[:] += rng.uniform(-0.6, 0.6, model.light_pos.shape)
        model.light_dir[:, :2] += rng.uniform(-0.3, 0.3, (model.nlight, 2))


class Rephrased(Perturbation):
    name = "rephrased"
    about = "the instruction in other words"

    def instruction(self, task: Task, layout: Layout, rng: np.random.Generator) -> str | None:
        return str(rng.choice(task.instructions[1:]))

    def check(self, task: Task) -> None:
        if len(task.instructions) < 2:
            raise SceneError(f"perturbation {self.name}: task {task.name} has one instruction")


PERTURBATIONS: dict[str, type[Perturbation]] = {
    perturbation.name: perturbation
    for perturbation in (
        FlashingLight,
        UnseenYogurtA,
        UnseenYogurtB,
        RandomPackaging,
        NamedSide,
        WithoutHead,
        CameraNoise,
        ShiftedTable,
        Distractors,
        RandomLook,
        Rephrased,
    )
}


def _paint(model: mujoco.MjModel, part: str, colour: npt.ArrayLike) -> None:
    """Give a part of every yogurt an RGB colour (3,)."""
    for geom in range(model.ngeom):
        if model.geom(geom).name in (f"yogurt_{part}", f"{OTHER_YOGURT}_{part}"):
            model.geom_rgba[geom, :3] = colour


def _check_yogurt(perturbation: str, task: Task) -> None:
    if task.target != "yogurt":
        raise SceneError(f"perturbation {perturbation}: expected a task with a yogurt, found {task.name}")


def make_perturbations(names: Sequence[str], task: Task) -> tuple[Perturbation, ...]:
    """Fresh perturbations by name, in the order of the names.

    Raises SceneError for a name that there is not, one given twice, or one that the task has no use for.
    """
    for name in names:
        if name not in PERTURBATIONS:
            raise SceneError(f"there is no perturbation '{name}': expected {', '.join(PERTURBATIONS)}")
        if list(names).count(name) > 1:
            raise SceneError(f"perturbation '{name}' is given twice")
    made = tuple(PERTURBATIONS[name]() for name in names)
    for perturbation in made:
        perturbation.check(task)
    return made
