"""Images that are drawn beside the simulation are those of the instant of their stamp, and never wait in a queue."""

import threading

import numpy as np
import pytest
from activemimic_description.robot import load_robot
from activemimic_sim.tasks import make_task
from activemimic_sim.world.background import BackgroundCameras
from activemimic_sim.world.rendering import RenderingError
from activemimic_sim.world.simulation import Simulation

SIZES = {"head": (64, 64)}
ROBOT = load_robot("g1")
LONG_S = 60.0


class Screen:
    """Takes images in the cameras' thread; while it is held, that thread is busy."""

    def __init__(self):
        self.images = {}
        self.hold = threading.Event()
        self.hold.set()
        self._came = threading.Condition()

    def __call__(self, images, stamp_ns):
        with self._came:
            self.images[stamp_ns] = images["head"]
            self._came.notify()
        self.hold.wait()

    def wait_for(self, stamp_ns):
        with self._came:
            assert self._came.wait_for(lambda: stamp_ns in self.images, LONG_S)


@pytest.fixture
def scene():
    simulation = Simulation(ROBOT, make_task("reaching"), ["flashing_light"])
    simulation.reset(0)
    screen = Screen()
    cameras = BackgroundCameras(simulation, SIZES, screen)
    yield simulation, cameras, screen
    screen.hold.set()
    cameras.close()


def drawn(simulation):
    """The head's image of now, drawn at once."""
    with simulation.cameras(SIZES) as cameras:
        return cameras.render(simulation.data)["head"]


def test_an_image_shows_the_instant_of_its_stamp_its_light_included(scene):
    simulation, cameras, screen = scene
    expected = {}
    for stamp_ns in range(4):
        cameras.show(stamp_ns)
        screen.wait_for(stamp_ns)
        expected[stamp_ns] = drawn(simulation)
        simulation.command(ROBOT.home + 0.1 * stamp_ns)
        simulation.step(200)
    for stamp_ns, image in expected.items():
        np.testing.assert_array_equal(screen.images[stamp_ns], image)
    assert len({image.tobytes() for image in expected.values()}) == 4
    assert cameras.failure is None


def test_while_it_is_busy_only_the_newest_waits(scene):
    simulation, cameras, screen = scene
    screen.hold.clear()
    cameras.show(0)
    screen.wait_for(0)
    for stamp_ns in range(1, 10):
        simulation.step(10)
        cameras.show(stamp_ns)
    simulation.step(500)
    screen.hold.set()
    screen.wait_for(9)
    assert list(screen.images) == [0, 9]


def test_what_waited_while_the_scene_was_changed_is_not_drawn(scene):
    simulation, cameras, screen = scene
    screen.hold.clear()
    cameras.show(0)
    screen.wait_for(0)
    cameras.show(1)
    with cameras.resting():
        simulation.reset(1)
    screen.hold.set()
    cameras.show(2)
    screen.wait_for(2)
    assert list(screen.images) == [0, 2]
    np.testing.assert_array_equal(screen.images[2], drawn(simulation))


def test_what_cannot_be_drawn_is_said_where_it_is_made(monkeypatch):
    simulation = Simulation(ROBOT, make_task("reaching"))
    monkeypatch.setattr("activemimic_sim.world.rendering.mujoco.Renderer", lambda *_: 1 / 0)
    with pytest.raises(RenderingError, match="no OpenGL context"):
        BackgroundCameras(simulation, SIZES, Screen())


def test_a_failure_ends_the_thread_and_is_kept(scene):
    simulation, _, _ = scene
    begun = threading.Event()

    def fail(images, stamp_ns):
        begun.set()
        raise ValueError("no more")

    cameras = BackgroundCameras(simulation, SIZES, fail)
    cameras.show(0)
    assert begun.wait(LONG_S)
    cameras.close()
    assert str(cameras.failure) == "no more"
