"""The way of one observation through the stack, in stages that follow each other, and their percentiles.

Clocks: the stages up to `postprocess` are the policy's, the last two the controller's. `transport` lies between them
and is right as far as their clocks agree; on one machine it is one clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

STAGES = {  # in the order of time; the messages carry them as <stage>_ms, but for transport
    "receive": "camera stamp → received",
    "wait": "received → taken",
    "preprocess": "decoded, normalised",
    "prefix": "prefix encoded",
    "denoise": "denoised",
    "postprocess": "handed over",
    "transport": "received by controller",
    "first_command": "first command sent",
    "motion": "motion measured",
}
OF_POLICY = ("receive", "wait", "preprocess", "prefix", "denoise", "postprocess")
OF_CONTROLLER = ("first_command", "motion")

Key = tuple[int, str]  # stamp in ns of the observation, and the chunk's source


@dataclass(frozen=True)
class StageSummary:
    """Percentiles of one stage in ms over `count` chunks; NaN if there were none."""

    stage: str
    p50_ms: float
    p99_ms: float
    count: int


class ChunkStages:
    """The stages of the last `most` chunks (None: of all), by who made them and the observation that they answer."""

    def __init__(self, most: int | None = None) -> None:
        self.rows: dict[Key, dict[str, float]] = {}  # stage -> ms
        self._most = most
        self._ages_ms: dict[Key, float] = {}  # when the controller received it

    def add(self, values: Mapping[str, str]) -> None:
        """Take what /activemimic/inference or /activemimic/timing says of a chunk; they come in any order."""
        # A teleoperator's chunk may answer the same observation as one of the policy.
        key = (int(values["stamp"]), values.get("source", "policy"))
        row = self.rows.setdefault(key, {})
        for stage in (*OF_POLICY, *OF_CONTROLLER):
            if not math.isnan(ms := float(values.get(f"{stage}_ms", "nan"))):
                row[stage] = ms
        if "chunk_age_ms" in values:
            self._ages_ms[key] = float(values["chunk_age_ms"])
        if key in self._ages_ms and all(stage in row for stage in OF_POLICY):
            row["transport"] = self._ages_ms[key] - sum(row[stage] for stage in OF_POLICY)
        if self._most is not None and len(self.rows) > self._most:
            oldest = next(iter(self.rows))
            del self.rows[oldest]
            self._ages_ms.pop(oldest, None)

    def summary(self) -> list[StageSummary]:
        """One for every stage, in the order of time."""
        found = {stage: [row[stage] for row in self.rows.values() if stage in row] for stage in STAGES}
        return [_summary(stage, values) for stage, values in found.items()]

    def total(self) -> StageSummary:
        """From the camera's stamp to the measured motion, over the chunks that came all the way."""
        return _summary("total", [sum(row.values()) for row in self.rows.values() if len(row) == len(STAGES)])


def _summary(stage: str, ms: list[float]) -> StageSummary:
    p50, p99 = np.percentile(ms, (50, 99)) if ms else (math.nan, math.nan)
    return StageSummary(stage, float(p50), float(p99), len(ms))
