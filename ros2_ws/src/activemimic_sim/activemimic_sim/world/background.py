"""Camera images of a simulation that does not wait for them: drawn in a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import mujoco
import numpy as np
from activemimic_description.common.scheduling import favour

from activemimic_sim.world.simulation import Simulation

# A camera has a computer of its own: others' work does not slow it. Below the thread of motion and state.
_PRIORITY, _NICENESS = 5, -5
Deliver = Callable[[dict[str, np.ndarray], int], None]  # images (H, W, 3) uint8 RGB by camera name, and their stamp


class BackgroundCameras:
    """Draws the newest snapshot that it was shown, in the thread to which its OpenGL context belongs.

    What it has not begun with when the next one is shown is never drawn. `failure` is what ended it.
    """

    def __init__(self, simulation: Simulation, sizes: Mapping[str, tuple[int, int]], deliver: Deliver) -> None:
        """`sizes` gives (height, width) by camera name; `deliver` is called in that thread.

        Raises RenderingError if there is no OpenGL context.
        """
        self.failure: Exception | None = None
        self._simulation = simulation
        self._sizes = sizes
        self._deliver = deliver
        self._waiting, self._drawn = mujoco.MjData(simulation.model), mujoco.MjData(simulation.model)
        self._stamp_ns: int | None = None  # of what waits
        self._closing = False
        self._changed = threading.Condition()  # guards what waits
        self._drawing = threading.Lock()  # held while the model is read and the lights of an instant are set in it
        self._refusal: Exception | None = None
        self._began = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cameras", daemon=True)
        self._thread.start()
        self._began.wait()
        if self._refusal is not None:
            raise self._refusal

    def show(self, stamp_ns: int) -> None:
        """Let it draw the simulation as it is now."""
        with self._changed:
            mujoco.mj_copyData(self._waiting, self._simulation.model, self._simulation.data)
            self._stamp_ns = stamp_ns
            self._changed.notify()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Nothing is drawn meanwhile, so that the scene can be changed; what waited is not drawn any more."""
        with self._drawing, self._changed:
            self._stamp_ns = None
            yield

    def close(self) -> None:
        """End the thread and free the OpenGL context."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        favour(_NICENESS, _PRIORITY)
        try:
            cameras = self._simulation.cameras(self._sizes)
        except Exception as error:
            self._refusal = error
            return
        finally:
            self._began.set()
        with cameras:
            try:
                while self._wait():
                    with self._drawing:
                        stamp_ns = self._take()
                        images = {} if stamp_ns is None else cameras.render(self._drawn)
                    if stamp_ns is not None:
                        self._deliver(images, stamp_ns)
            except Exception as error:
                self.failure = error

    def _wait(self) -> bool:
        """Until a snapshot waits; False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._stamp_ns is not None)
            return not self._closing

    def _take(self) -> int | None:
        """What waits becomes what is drawn; its stamp, or None where the scene was changed in between."""
        with self._changed:
            self._waiting, self._drawn = self._drawn, self._waiting
            stamp_ns, self._stamp_ns = self._stamp_ns, None
            return stamp_ns
