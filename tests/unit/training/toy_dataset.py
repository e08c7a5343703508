"""A dataset of two short episodes without a file: the attributes of the reader that training uses."""

from types import SimpleNamespace

import numpy as np

SLOTS = ["neck", "arm", "gripper"]
LENGTHS = (6, 4)


class ToyDataset:
    """Row r of camera c shows the grey 10·r + c; state and action of row r count in r."""

    def __init__(self, loss_weight=None):
        rows = sum(LENGTHS)
        ends = np.cumsum(LENGTHS).tolist()
        self.fps, self.slots, self.cameras = 10, SLOTS, ["head", "wrist"]
        self.tasks = ["wave", "pick up the cube"]
        self.episodes = [
            SimpleNamespace(index=i, start=end - length, stop=end, task=self.tasks[i])
            for i, (end, length) in enumerate(zip(ends, LENGTHS, strict=True))
        ]
        self.state = np.arange(rows, dtype=np.float32)[:, None] * np.array([1, 2, 0], np.float32)
        self.action = self.state + np.array([0.5, 0.5, 1], np.float32)
        self.task_index = np.repeat([0, 1], LENGTHS)
        self.features = {} if loss_weight is None else {"loss_weight": {}}
        self._loss_weight = loss_weight

    def column(self, name):
        return {"loss_weight": np.asarray(self._loss_weight, np.float32)}[name]

    def frames(self, camera, episode_index):
        episode = self.episodes[episode_index]
        for row in range(episode.start, episode.stop):
            yield np.full((24, 32, 3), 10 * row + self.cameras.index(camera), np.uint8)
