"""The MuJoCo G1: a task's scene around the described robot, behind the same slots and topics as the real one.

In: robot commands (S,). Out: measured slots, camera images and the task's verdict. Start with `simulation.py`; a task
is one module of `tasks/`, who solves it by script one of `experts/`, and `sim_node.py` speaks ROS 2.
"""

import ctypes.util
import os

# MuJoCo picks its OpenGL when it is first imported. EGL renders without a display; OSMesa is the older way to do so.
os.environ.setdefault("MUJOCO_GL", "egl" if ctypes.util.find_library("EGL") else "osmesa")
# Mesa's rasteriser would otherwise take every core away from the policy that runs beside the simulator.
os.environ.setdefault("LP_NUM_THREADS", "1")
