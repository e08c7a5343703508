"""What a person does in a video: the paper's four tasks, by script."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from activemimic_sim.egocentric.motion import LEFT, RIGHT, Person

TABLE_M = 0.80  # height of its top
SHELF_M = 1.12


@dataclass(frozen=True)
class Thing:
    """An object that can be held: its middle (3,) m at first, and its size as MuJoCo has it, half lengths or radius."""

    name: str
    shape: str  # box, cylinder or open_box, which has no lid
    size: tuple[float, ...]
    place: tuple[float, float, float]


@dataclass(frozen=True)
class Task:
    """`things` sets the table, `act` does the work; action, objects and instruction are its label."""

    things: Callable[[np.random.Generator], list[Thing]]
    act: Callable[[Person, np.random.Generator, list[Thing]], None]
    action: str
    objects: tuple[str, ...]
    instruction: str


def _restocking_things(numbers: np.random.Generator) -> list[Thing]:
    ys = np.array([-0.3, -0.12, 0.12, 0.3]) + numbers.uniform(-0.03, 0.03, 4)
    xs = numbers.uniform(0.38, 0.5, 4)
    return [
        Thing(f"can_{number}", "cylinder", (0.033, 0.055), (x, y, TABLE_M + 0.055))
        for number, (x, y) in enumerate(zip(xs, ys, strict=True))
    ]


def _restock(person: Person, numbers: np.random.Generator, things: list[Thing]) -> None:
    for index in numbers.permutation(len(things))[:3]:
        thing = things[index]
        hand = LEFT if thing.place[1] > 0 else RIGHT
        person.reach(hand, np.array(thing.place))
        person.take(hand, thing.name)
        shelf = np.array([0.65, thing.place[1] + numbers.uniform(-0.05, 0.05), SHELF_M + 0.075])
        person.reach(hand, shelf, roll=-0.2, lift=0.08)
        person.put(hand)
        person.back(hand)


def _reaching_things(numbers: np.random.Generator) -> list[Thing]:
    ys = numbers.permutation([-0.34, -0.1, 0.12, 0.36]) + numbers.uniform(-0.03, 0.03, 4)
    xs = numbers.uniform(0.36, 0.56, 4)
    return [
        Thing(f"block_{number}", "box", (0.03, 0.03, 0.04), (x, y, TABLE_M + 0.04))
        for number, (x, y) in enumerate(zip(xs, ys, strict=True))
    ]


def _reach(person: Person, numbers: np.random.Generator, things: list[Thing]) -> None:
    for thing in things:
        person.look(np.array([1.0, numbers.uniform(-0.8, 0.8), numbers.uniform(0.9, 1.5)]))
        hand = LEFT if thing.place[1] > numbers.uniform(-0.12, 0.12) else RIGHT
        person.reach(hand, np.array(thing.place) + np.array([0, 0, 0.05]))
        person.wait(0.4)
        person.back(hand)


def _finding_things(numbers: np.random.Generator) -> list[Thing]:
    ys = np.array([0.26, -0.26]) + numbers.uniform(-0.04, 0.04, 2)
    x = float(numbers.uniform(0.42, 0.48))
    lids = [Thing(f"lid_{it}", "box", (0.09, 0.09, 0.008), (x, y, TABLE_M + 0.128)) for it, y in enumerate(ys)]
    boxes = [Thing(f"box_{it}", "open_box", (0.085, 0.085, 0.06), (x, y, TABLE_M + 0.06)) for it, y in enumerate(ys)]
    hidden = ys[numbers.integers(2)]
    return [*boxes, *lids, Thing("key", "box", (0.025, 0.045, 0.015), (x, float(hidden), TABLE_M + 0.08))]


def _find(person: Person, numbers: np.random.Generator, things: list[Thing]) -> None:
    person.look(np.array([0.8, 1.0, 1.3]))
    person.wait(0.3)
    person.look(np.array([0.8, -1.0, 1.0]))
    person.wait(0.3)
    *_, first, second, key = things
    for lid in (first, second):
        hand, other = (LEFT, RIGHT) if lid.place[1] > 0 else (RIGHT, LEFT)
        person.reach(hand, np.array(lid.place))
        person.take(hand, lid.name)
        aside = np.array([0.36, lid.place[1] * 2.0, TABLE_M + 0.14])
        person.reach(hand, aside, look=False)
        person.look(np.array(lid.place) - np.array([0, 0, 0.05]))
        person.wait(0.3)
        if abs(lid.place[1] - key.place[1]) < 1e-9:
            person.reach(other, np.array(key.place), look=False, lift=0.08)
            person.take(other, key.name)
            person.reach(other, np.array([0.34, 0.0, TABLE_M + 0.2]))
            person.turn(other, 0.6, 0.6)
            person.wait(0.5)
            return
        person.put(hand)
        person.back(hand)


def _pouring_things(numbers: np.random.Generator) -> list[Thing]:
    x, y = numbers.uniform(0.36, 0.44), numbers.uniform(0.1, 0.22)
    bottle = Thing("bottle", "cylinder", (0.035, 0.11), (x, -y, TABLE_M + 0.11))
    cups = [
        Thing(f"cup_{number}", "cylinder", (0.04, 0.045), (x + 0.03, place, TABLE_M + 0.045))
        for number, place in enumerate((y, y + 0.17))
    ]
    return [bottle, *cups]


def _pour(person: Person, numbers: np.random.Generator, things: list[Thing]) -> None:
    bottle, *cups = things
    place = np.array(bottle.place)
    person.reach(RIGHT, place + np.array([0, 0, 0.03]))
    person.take(RIGHT, bottle.name)
    for cup in cups:
        above = np.array(cup.place) + np.array([0, -0.1, 0.17])
        person.reach(LEFT, np.array(cup.place))
        person.take(LEFT, cup.name)
        person.reach(RIGHT, above, lift=0.05)
        person.look(np.array(cup.place))
        angle = float(numbers.uniform(1.5, 1.8))
        person.turn(RIGHT, angle, 0.9)
        person.wait(numbers.uniform(0.5, 1.0))
        person.turn(RIGHT, -angle, 0.7)
        person.put(LEFT)
    person.reach(RIGHT, place + np.array([0, 0, 0.03]))
    person.put(RIGHT)
    person.back(RIGHT)


TASKS = {
    "restocking": Task(_restocking_things, _restock, "put", ("can", "shelf"), "Put the cans on the shelf"),
    "reaching": Task(_reaching_things, _reach, "touch", ("block",), "Touch the blocks one after the other"),
    "finding": Task(_finding_things, _find, "find", ("box", "key"), "Find the key in the boxes"),
    "pouring": Task(_pouring_things, _pour, "pour", ("bottle", "cup"), "Pour from the bottle into the cups"),
}
