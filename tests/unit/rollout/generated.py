"""What the headless episodes of these tests are, and how one is made to look like a trial of the nodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from activemimic_data.bags import EpisodeReader, EpisodeWriter
from activemimic_description.chunk import Chunk
from activemimic_description.chunk_fields import TRAJECTORY, write_trajectory
from activemimic_description.messages import BagMessages
from activemimic_description.stack_topics import CHUNK, INFERENCE, TASK
from activemimic_rollout.synchronous.demonstrations import Demonstration, DemonstrationPlan

FPS = 10
MS = 1_000_000
SLIPPING = DemonstrationPlan("reaching", camera_hz=10, late_starts=0.0, action_noise=0.6)
STEADY = DemonstrationPlan("reaching", camera_hz=5, late_starts=0.0, action_noise=0.0)
INFERENCE_MS = (40.0, 50.0, 60.0)  # of a trial's chunks, in turn
LATENCY_MS = 70
STATUS = "diagnostic_msgs/msg/DiagnosticStatus"


@dataclass(frozen=True)
class Generated:
    """What a plan made; read only."""

    plan: DemonstrationPlan
    out: Path
    made: list[Demonstration]


def as_trial(source: Path, target: Path, chunks: int = 3) -> Path:
    """A copy of an episode with what the nodes add: `chunks` chunks with their inferences, and the simulator's word."""
    reader = EpisodeReader(source)
    info, contract = reader.info, reader.contract
    about = {"task": info.task, "instruction": info.instruction, "seed": info.seed}
    with EpisodeWriter(target, contract, **about) as writer:
        for topic, kind in ((CHUNK.name, TRAJECTORY), (INFERENCE.name, STATUS), (TASK.name, STATUS)):
            writer.add_topic(topic, kind)
        messages = BagMessages(writer.typestore)

        def say(topic: str, stamp_ns: int, **values: float) -> None:
            pairs = [{"key": key, "value": str(value)} for key, value in values.items()]
            status = messages.make(STATUS, name="", values=pairs)
            writer.write(topic, messages.serialize(status, STATUS), stamp_ns)

        for number, message in enumerate(reader.raw_messages()):
            writer.write(message.topic, message.data, message.log_time_ns, message.publish_time_ns, number)
        for number in range(chunks):
            stamp_ns = info.start_ns + number * 1000 * MS
            chunk = Chunk(stamp_ns, 100 * MS, np.zeros((16, len(contract.slots))))
            data = messages.serialize(write_trajectory(chunk, contract.slots, messages), TRAJECTORY)
            writer.write(CHUNK.name, data, stamp_ns + LATENCY_MS * MS)
            say(INFERENCE.name, stamp_ns + LATENCY_MS * MS, inference_ms=INFERENCE_MS[number % 3])
        for number in range(4):
            say(TASK.name, info.start_ns + number * 1000 * MS, real_time_factor=0.99)
        writer.close(info.outcome)
    return target
