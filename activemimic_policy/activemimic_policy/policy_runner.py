"""From the newest synchronised observation to a chunk, or to the reason why there is none."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from activemimic_description.chunk import Chunk
from activemimic_description.chunk_fields import NS
from activemimic_description.codec import CodecError, stamp_ns
from activemimic_description.common.rates import StreamMonitor
from activemimic_description.contract import Contract
from activemimic_description.frozen_cameras import FrozenCameras
from activemimic_description.liveness import Arrivals, LivedTime
from activemimic_description.observation import Observation, ObservationBuffer, ObservationNotReady
from activemimic_description.robot import load_robot

from activemimic_policy.inference import InferenceStages, PolicyInputError
from activemimic_policy.rtc import RealTimeChunking

WINDOW = 200  # inferences that percentiles are taken over
REFUSED_S = 0.2  # a refusal that lasts so long is no single damaged image
LONG_S, LONG_FACTOR = 1.0, 5.0  # an inference lasts too long beyond both, the latter times the median
_MEND = "restart its driver; it goes on by itself with the next new frame, and the controller after ~/run"


class Infers(Protocol):
    """What is asked of a policy: `activemimic_policy.inference.Policy` is one."""

    @property
    def spec(self) -> Any: ...
    @property
    def cameras(self) -> Collection[str]: ...
    @property
    def stages(self) -> InferenceStages: ...
    def infer(
        self,
        images: Mapping[str, np.ndarray],
        state: np.ndarray,
        instruction: str,
        noise: np.ndarray | None = None,
        in_flight: Any = None,
        guided: bool = False,
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class Inference:
    """One chunk and what it cost."""

    chunk: Chunk
    inference_ms: float
    observation_age_ms: float  # of the oldest source, when the inference began
    # From the observation's stamp to the network's answer, one after the other, in ms: receive (until the last of its
    # messages had arrived), wait (until it was taken), preprocess (decoded and normalised), prefix, denoise.
    stages_ms: Mapping[str, float] = field(default_factory=dict)


class PolicyRunner:
    """Keeps the newest messages and infers from them. `add` and `beat` may run in another thread than `infer`.

    Of the cameras only those that the policy looks at count.
    `refusals` counts the times nothing was inferred, `refusal` says why it was the last time ("" if it was);
    `problem` is what `beat` answered last.
    `inference_ms` leaves out the first inference after the start and after a restart, which is slower than the rest.
    `rtc` knows what a chunk goes on from; `rtc_mode` is one of `continuing.RTC_MODES`.

    Raises RtcError if the policy cannot do so.
    """

    def __init__(
        self, policy: Infers, contract: Contract, max_observation_age_s: float, rtc_mode: str = "auto"
    ) -> None:
        self.policy = policy
        self.rtc = RealTimeChunking(policy.spec, load_robot(contract.robot).velocity, rtc_mode)
        self.chunks = 0
        self.refusals = 0
        self.refusal = ""
        self.problem = "no look was taken yet"
        self.inference_ms: deque[float] = deque(maxlen=WINDOW)
        self.observation_age_ms = 0.0
        self.streams = {  # by camera name and state topic
            **{name: StreamMonitor(camera.rate_hz) for name, camera in contract.cameras.items()},
            **{source.topic: StreamMonitor(source.rate_hz) for source in contract.state},
        }
        self._names = {camera.topic: name for name, camera in contract.cameras.items()}
        cameras = {name: contract.cameras[name] for name in policy.cameras}
        self._buffer = ObservationBuffer(contract, cameras=cameras)
        self._frozen = FrozenCameras(contract, [name for name, camera in cameras.items() if camera.sensor_noise])
        self._camera_topics = {camera.topic for camera in cameras.values()}
        self._arrivals = Arrivals([*cameras.values(), *contract.state])
        self._lived = LivedTime()
        self._begun_ns: int | None = None  # lived time, when the inference that runs now began
        self._refused_ns: tuple[int, int] | None = None  # lived time of the first and last refusal in a row
        self._max_age_s = max_observation_age_s
        self._step_ns = policy.spec.step_ns
        self._newer_than_ns = 0
        self._cold = True  # the next inference is the first after the start or a restart
        self._lock = threading.Lock()

    @property
    def topics(self) -> list[str]:
        """The topics to feed to `add`."""
        return self._buffer.topics

    def add(self, topic: str, message: Any, received_ns: int) -> None:
        """Take a camera image or joint state, received at a time of the clock of the stamps."""
        with self._lock:
            self.streams[self._names.get(topic, topic)].add(stamp_ns(message), received_ns)
            if topic not in self._buffer.topics:
                return
            if self._arrivals.set_back(topic, stamp_ns(message)):
                self._forget_messages()
            self._buffer.add(topic, message, received_ns)
            if self._arrivals.add(topic, message, received_ns, self._lived.ns) and topic in self._camera_topics:
                self._frozen.add_image(topic, message.data, self._lived.ns)

    def beat(self, steady_ns: int) -> str:
        """Why nothing can be inferred now; "" if it can. Call it every `liveness.BEAT_S` of a steady clock."""
        with self._lock:
            self._lived.beat(steady_ns)
            self.problem = self._problem()
            return self.problem

    @property
    def inferring_s(self) -> float:
        """How long the inference that runs now has lasted, in s; 0 if none runs."""
        begun_ns = self._begun_ns
        return 0.0 if begun_ns is None else (self._lived.ns - begun_ns) / NS

    def restart(self, now_ns: int) -> None:
        """Infer only from observations newer than `now_ns`, and go on from no chunk before."""
        with self._lock:
            self._newer_than_ns = now_ns
            self._cold = True
            self._refused_ns = None
            self._frozen.clear()
            self.rtc.restart()

    def sent(self, chunk: Chunk, now_ns: int) -> None:
        """`chunk` was handed over at `now_ns`: from its observation's stamp to here is the delay."""
        with self._lock:
            if chunk.stamp_ns >= self._newer_than_ns:  # else a restart has come between
                self.rtc.sent(chunk, now_ns)

    def infer(self, instruction: str, now_ns: int) -> Inference | None:
        """A chunk for the newest observation that all sources have reached.

        None if there is no observation newer than the last one, or if `refusal` says what is wrong.
        """
        self._begun_ns = self._lived.ns
        try:
            inference = self._inferred(instruction, now_ns)
        except (ObservationNotReady, CodecError, PolicyInputError) as error:
            self.refusals += 1
            self.refusal = str(error)
            first_ns = self._lived.ns if self._refused_ns is None else self._refused_ns[0]
            self._refused_ns = first_ns, self._lived.ns
            return None
        finally:
            self._begun_ns = None
        if inference is not None:
            self.refusal, self._refused_ns = "", None
        return inference

    def _inferred(self, instruction: str, now_ns: int) -> Inference | None:
        begin = time.perf_counter()
        observation = self._observe(now_ns)
        if observation is None:
            return None
        started = time.perf_counter()
        with self._lock:
            in_flight = self.rtc.in_flight(observation.stamp_ns, observation.state)
            cold, self._cold = self._cold, False
        positions = self.policy.infer(
            observation.images,
            observation.state,
            instruction,
            in_flight=in_flight,
            guided=in_flight is not None and self.rtc.guided,
        )
        inference_ms = (time.perf_counter() - started) * 1e3
        age_ms = (now_ns - observation.stamp_ns + max(observation.ages_ns.values())) / 1e6
        self.chunks += 1
        if not cold:
            with self._lock:
                self.inference_ms.append(inference_ms)
        self.observation_age_ms = age_ms
        stages_ms = _stages_ms(observation, now_ns, (started - begin) * 1e3, self.policy.stages)
        return Inference(Chunk(observation.stamp_ns, self._step_ns, positions), inference_ms, age_ms, stages_ms)

    def _observe(self, now_ns: int) -> Observation | None:
        with self._lock:
            problems = self._buffer.problems(now_ns)
            tick_ns = self._buffer.newest_common_stamp_ns()
            if problems or tick_ns is None:
                raise ObservationNotReady("; ".join(problems))
            age_s = (now_ns - tick_ns) / NS
            if age_s > self._max_age_s:
                raise ObservationNotReady(f"the observation is {age_s:.2f} s old (limit {self._max_age_s:.2f} s)")
            if tick_ns <= self._newer_than_ns:
                return None
            if hanging := self._hanging():
                raise ObservationNotReady("; ".join(hanging))
            observation = self._buffer.snapshot(tick_ns)
            self._newer_than_ns = tick_ns
            return observation

    def _problem(self) -> str:
        if problems := [*self._arrivals.problems(self._lived.ns), *self._hanging()]:
            return "; ".join(problems)
        median_s = float(np.median(self.inference_ms)) / 1e3 if self.inference_ms else 0.0
        if self.inferring_s > max(LONG_S, LONG_FACTOR * median_s):
            return f"inference has been running for {self.inferring_s:.1f} s"
        # From refusal to refusal: a thread that has no time to look again proves nothing.
        first_ns, last_ns = self._refused_ns or (0, 0)
        return self.refusal if last_ns - first_ns > REFUSED_S * NS else ""

    def _hanging(self) -> list[str]:
        """A sentence for each camera that repeats a frame though its sensor has noise, and how to go on."""
        return [f"{problem}: {_MEND}" for problem in self._frozen.problems()]

    def _forget_messages(self) -> None:
        """As if nothing had come yet: the clock of the stamps was set back, and none of them counts any more."""
        self._buffer.clear()
        self._arrivals.clear()
        self._frozen.clear()
        self._newer_than_ns = 0


def _stages_ms(observation: Observation, now_ns: int, decoded_ms: float, network: InferenceStages) -> dict[str, float]:
    # A message may arrive between `now_ns` and the look into the buffer: it has not waited.
    received_ns = min(observation.received_ns, now_ns)
    return {
        "receive_ms": (received_ns - observation.stamp_ns) / 1e6,
        "wait_ms": (now_ns - received_ns) / 1e6,
        "preprocess_ms": decoded_ms + network.preprocess_ms,
        "prefix_ms": network.prefix_ms,
        "denoise_ms": network.denoise_ms,
    }
