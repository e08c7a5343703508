"""Inverse kinematics by damped least squares on velocities."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

_DAMPING = 1e-4
_INNER_STEPS = 4


class Chain:
    """Joints that together carry one body, followed on a scratch copy of the model's state."""

    def __init__(self, model: mujoco.MjModel, joints: Sequence[str], body: str, weights: np.ndarray) -> None:
        """Args: weights: (J,) how readily each joint moves; relative, in the joints' own units squared."""
        self._model = model
        self._data = mujoco.MjData(model)
        ids = [model.joint(name).id for name in joints]
        self._qpos = model.jnt_qposadr[ids]
        self._dofs = model.jnt_dofadr[ids]
        self._lower, self._upper = model.jnt_range[ids].T
        self._body = model.body(body).id
        self._jacobian = np.zeros((6, model.nv))
        self._weights = weights

    def pose(self, qpos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) in m and rotation (3, 3) of the body for a configuration (nq,) of the whole model."""
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self._model, self._data)
        return self._data.xpos[self._body].copy(), self._data.xmat[self._body].reshape(3, 3).copy()

    def step(
        self, qpos: np.ndarray, position: np.ndarray, rotation: np.ndarray, rest: np.ndarray, limit: np.ndarray
    ) -> np.ndarray:
        """One step towards a pose that moves no joint by more than `limit`.

        The step is scaled as a whole where a joint would exceed it, so that the body keeps its direction.

        Args:
            qpos: (nq,) configuration of the whole model.
            position: (3,) m, where the body shall go, in the world.
            rotation: (3, 3) of the body in the world.
            rest: (J,) posture that the spare degrees of freedom are drawn to.
            limit: (J,) rad or m.

        Returns:
            (J,) joint positions within the joints' limits.
        """
        data = self._data
        data.qpos[:] = qpos
        start = qpos[self._qpos]
        root = np.sqrt(self._weights)
        for _ in range(_INNER_STEPS):
            mujoco.mj_kinematics(self._model, data)
            mujoco.mj_comPos(self._model, data)
            turn = _rotation_vector(rotation @ data.xmat[self._body].reshape(3, 3).T)
            error = np.concatenate([position - data.xpos[self._body], turn])
            mujoco.mj_jacBody(self._model, data, self._jacobian[:3], self._jacobian[3:], self._body)
            joints = data.qpos[self._qpos]
            # A joint at its limit that would be pushed further is left out; the others take over.
            free = np.ones(len(joints), dtype=bool)
            for _ in range(3):
                J = self._jacobian[:, self._dofs] * (root * free)
                inverse = J.T @ np.linalg.inv(J @ J.T + _DAMPING * np.eye(6))
                change = root * free * (inverse @ error + (np.eye(len(joints)) - inverse @ J) @ (0.1 * (rest - joints)))
                blocked = ((joints + change < self._lower) | (joints + change > self._upper)) & free
                if not blocked.any():
                    break
                free &= ~blocked
            data.qpos[self._qpos] = np.clip(joints + change, self._lower, self._upper)
        change = data.qpos[self._qpos] - start
        return start + change / max(1.0, float(np.max(np.abs(change) / limit)))


def _rotation_vector(R: np.ndarray) -> np.ndarray:
    quaternion, vector = np.zeros(4), np.zeros(3)
    mujoco.mju_mat2Quat(quaternion, R.flatten())
    mujoco.mju_quat2Vel(vector, quaternion, 1.0)
    return vector
