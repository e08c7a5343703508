"""What a recorded trial shows: motion, timing, latencies, losses, and its cameras as a video."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from activemimic_data.bags import EpisodeReader
from activemimic_data.dataset.video import VideoWriter
from activemimic_description.codec import decode_image, decode_slots, stamp_ns
from activemimic_description.common.atomic import file_beside
from activemimic_description.contract import JointSink, JointSource
from activemimic_description.stack_topics import CHUNK, INFERENCE, TASK

from activemimic_rollout.trials.results import read_results


@dataclass(frozen=True)
class Motion:
    """Commanded and measured robot vectors over time (s since the episode's first message)."""

    command_s: np.ndarray  # (N,)
    command: np.ndarray  # (N, S) slot units
    measured_s: np.ndarray  # (M,)
    measured: np.ndarray  # (M, S)


class RecordedTrial:
    """One episode, read once and looked at from several sides. Raises BagError for a damaged one."""

    def __init__(self, folder: Path | str) -> None:
        self.reader = EpisodeReader(folder)
        self.info = self.reader.info
        self.contract = self.reader.contract

    @cached_property
    def motion(self) -> Motion:
        command_s, command = self._slots({sink.topic: sink for sink in self.contract.commands})
        measured_s, measured = self._slots({source.topic: source for source in self.contract.state})
        return Motion(command_s, command, measured_s, measured)

    @cached_property
    def command_periods_ms(self) -> np.ndarray:
        """(N - 1,) time between commands as the controller published them, in ms."""
        topic = self.contract.commands[0].topic
        published = [message.publish_time_ns for message in self.reader.raw_messages([topic])]
        return np.diff(published) / 1e6

    @cached_property
    def inference_ms(self) -> np.ndarray:
        """(K,) time of every inference, in ms."""
        return np.array([float(values["inference_ms"]) for values in self._key_values(INFERENCE.name)])

    @cached_property
    def chunk_latency_ms(self) -> np.ndarray:
        """(K,) from the stamp of an observation to the publication of the chunk that answers it, in ms."""
        if CHUNK.name not in self.reader.types:
            return np.array([])
        messages = self.reader.messages([CHUNK.name])
        return np.array([(m.publish_time_ns - stamp_ns(m.msg)) / 1e6 for m in messages])

    @cached_property
    def real_time_factors(self) -> np.ndarray:
        """(R,) the simulator's own, at every status."""
        return np.array([float(values["real_time_factor"]) for values in self._key_values(TASK.name)])

    def views(self, cameras: tuple[str, ...] | None = None) -> Iterator[np.ndarray]:
        """The cameras side by side, (H, sum of W, 3) uint8 RGB, once for every image of the first.

        The others show their newest by that image's stamp; of cameras of different heights the upper part is shown.
        """
        chosen = cameras or tuple(self.contract.cameras)
        by_topic = {self.contract.cameras[name].topic: name for name in chosen}
        height = min(self.contract.cameras[name].height for name in chosen)
        # A few of each camera: messages of one instant arrive in any order.
        recent: dict[str, deque[tuple[int, np.ndarray]]] = {name: deque(maxlen=3) for name in chosen}

        def side_by_side() -> np.ndarray:
            instant_ns = recent[chosen[0]][-1][0]
            shown = []
            for images in recent.values():
                by_then = [image for shot_ns, image in images if shot_ns <= instant_ns]
                shown.append(by_then[-1] if by_then else images[0][1])
            return np.hstack([image[:height] for image in shown])

        for message in self.reader.messages(by_topic):
            name = by_topic[message.topic]
            if name == chosen[0] and all(recent.values()):
                yield side_by_side()
            recent[name].append((stamp_ns(message.msg), decode_image(self.contract.cameras[name], message.msg)))
        if all(recent.values()):
            yield side_by_side()

    def write_video(self, path: Path) -> int:
        """All cameras side by side, in real time, as H.264; returns the number of frames."""
        path.parent.mkdir(parents=True, exist_ok=True)
        rate = round(next(iter(self.contract.cameras.values())).rate_hz)
        writer: VideoWriter | None = None
        frames = 0
        for view in self.views():
            writer = writer or VideoWriter(path, rate, view.shape[1], view.shape[0])
            writer.add(view)
            frames += 1
        if writer is not None:
            writer.close()
        return frames

    def _slots(self, sources: dict[str, JointSource] | dict[str, JointSink]) -> tuple[np.ndarray, np.ndarray]:
        vector = np.full(len(self.contract.slots), np.nan)
        times, rows = [], []
        for message in self.reader.messages(sources):
            indices, values = decode_slots(sources[message.topic], message.msg)
            vector[indices] = values
            times.append((stamp_ns(message.msg) - self.info.start_ns) / 1e9)
            rows.append(vector.copy())
        return np.array(times), np.array(rows).reshape(len(rows), len(vector))

    def _key_values(self, topic: str) -> list[dict[str, str]]:
        if topic not in self.reader.types:
            return []
        return [{pair.key: pair.value for pair in m.msg.values} for m in self.reader.messages([topic])]


def write_videos(out: Path) -> None:
    """The video of every trial in `out/results.json` whose episode lies in `out/episodes`, unless it is there."""
    for trial in read_results(out / "results.json").trials:
        video = out / f"{trial.media}.mp4"
        episode = out / "episodes" / Path(trial.episode).name
        if trial.episode and episode.is_dir() and not video.exists():
            with file_beside(video) as partial:
                RecordedTrial(episode).write_video(partial)
