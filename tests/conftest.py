"""Settings that must stand before anything heavy is imported: OpenGL, threads, and a ROS domain for each worker."""

from __future__ import annotations

import os
import tempfile

# No test makes or reads the user's own operator key.
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="activemimic_test_config")

# Idle OpenMP threads that spin take the cores away from the workers beside them; torch reads this when it is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
if _WORKER:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Linux keeps 0-101 and 215-232 free of port clashes. tests/integration hands out 20-99 itself, by lock files.
os.environ["ROS_DOMAIN_ID"] = str(215 + int(_WORKER.removeprefix("gw") or 0) % 17)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

import activemimic_sim  # noqa: E402, F401 - sets MUJOCO_GL, which MuJoCo reads when it is first imported
from hypothesis import settings  # noqa: E402

# A deadline measures what else the machine does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
