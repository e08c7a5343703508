"""Runs the stages over a corpus: resumable, item by item, and at the end every item is accounted for.

Where a run lies:

    OUT/manifest.json            the items, and what was found and left out
        config.yaml              as it ran last
        licences.json            models and data that it used
        log.jsonl                a line for every stage of an item that was performed, with its seconds
        items/<item>/<stage>/    results
        quarantine/<item>.json   an item that failed: stage, error, traceback, a model's raw replies
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import yaml
from activemimic_description.common.atomic import write_text
from activemimic_description.common.single_instance import single_instance

from activemimic_training.egocentric.ingest.item import Item, LeftOut, find_items
from activemimic_training.egocentric.language.language import check_reachable
from activemimic_training.egocentric.language.segment import check_given
from activemimic_training.egocentric.run import licences
from activemimic_training.egocentric.run.executors import Executor, LocalExecutor
from activemimic_training.egocentric.run.ray_executor import RayExecutor
from activemimic_training.egocentric.run.stages import (
    STAGES,
    Outcome,
    Stage,
    Task,
    quarantine_file,
    read_quarantine,
    remove_partial,
    stage_key,
    stage_named,
    stages_until,
)
from activemimic_training.egocentric.run.status import RunStatus, read_manifest, run_status
from activemimic_training.egocentric.settings.pipeline_config import EgocentricConfig, EgocentricConfigError
from activemimic_training.egocentric_error import EgocentricError

MANIFEST_VERSION = 1


@dataclass(frozen=True)
class StageProgress:
    """Of one stage: items done (now or before), failed, and `expected` to come through in all."""

    stage: str
    done: int
    failed: int
    expected: int


Progress = Callable[[StageProgress], None]


def run(
    inputs: Iterable[Path],
    out: Path,
    config: EgocentricConfig,
    executor: Literal["local", "ray"] = "local",
    workers: int = 2,
    until: str | None = None,
    retry: bool = False,
    progress: Progress | None = None,
) -> RunStatus:
    """Bring the videos at `inputs`, and those of earlier runs in `out`, through the stages up to `until`.

    Kill it at any moment and run it again: only what is missing, or was made with other settings, is made. An item
    that fails goes to the quarantine and is tried again when something of it changes, or with `retry`.

    Raises:
        EgocentricConfigError: settings, models or licences that cannot be used; nothing was run.
        EgocentricError: nothing to run on, another run is at work, the disk is full or a model's server is away.
    """
    stages = [*stages_until(until)]
    _check(config, stages)
    out = out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    with single_instance(out / "run.lock", EgocentricError(f"{out}: another run is at work there")):
        items = _manifest(inputs, out)
        _report_licences(config, stages, items, out)
        write_text(out / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
        remove_partial(out)
        names = [stage.name for stage in stages]
        with closing(_executor(executor, workers, config, names)) as performers:
            _Run(items, out, config, names, retry, progress).through(performers)
        return _accounted(out, names)


class _Run:
    """Which task of which item is next, and what became of them."""

    def __init__(
        self,
        items: Sequence[Item],
        out: Path,
        config: EgocentricConfig,
        stages: list[str],
        retry: bool,
        progress: Progress | None,
    ) -> None:
        self._items = {item.id: item for item in items}
        self._out, self._config, self._stages, self._retry, self._progress = out, config, stages, retry, progress
        self._waiting: dict[str, deque[Item]] = {stage: deque() for stage in stages}
        self._waiting[stages[0]].extend(items)
        self._done: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._running: set[tuple[str, str]] = set()
        self._halted: Outcome | None = None
        (out / "quarantine").mkdir(exist_ok=True)

    def through(self, executor: Executor) -> None:
        """Raises EgocentricError if the run has to end early."""
        for stage in self._stages:
            self._show(stage)
        with (self._out / "log.jsonl").open("a", encoding="utf-8") as log:
            while True:
                self._submit(executor)
                if not self._running:
                    break
                outcome = executor.next(self._config.running.stall_s)
                if outcome is None:
                    names = ", ".join(f"{item} ({stage})" for item, stage in sorted(self._running))
                    raise EgocentricError(f"nothing got on for {self._config.running.stall_s:g} s; running: {names}")
                self._settle(outcome)
                if outcome.status in ("done", "failed"):
                    log.write(json.dumps(_log_line(outcome)) + "\n")
                    log.flush()
        if self._halted:
            left = len(self._items) - self._done[self._stages[-1]] - self._failed.total()
            halted = self._halted
            raise EgocentricError(
                f"{halted.item}: {halted.stage}: {halted.error}; {left} of {len(self._items)} items are left. Start "
                "again when that is mended: the run goes on where it was"
            )

    def _submit(self, executor: Executor) -> None:
        """Late stages first: items that were begun are finished."""
        for stage in reversed(self._stages):
            waiting = self._waiting[stage]
            while waiting and not self._halted and executor.has_room(stage):
                item = waiting.popleft()
                executor.submit(Task(item, stage, self._config, self._out, self._retry))
                self._running.add((item.id, stage))

    def _settle(self, outcome: Outcome) -> None:
        item, stage = self._items[outcome.item], outcome.stage
        self._running.remove((item.id, stage))
        if outcome.status == "halted":
            self._halted = self._halted or outcome
        elif outcome.status in ("failed", "failed_before"):
            self._failed[stage] += 1
            if outcome.status == "failed":
                self._quarantine(item, outcome)
        else:
            self._done[stage] += 1
            before = read_quarantine(self._out, item.id)
            if before and before["stage"] == stage:
                quarantine_file(self._out, item.id).unlink()
            following = self._stages[self._stages.index(stage) + 1 :]
            if following:
                self._waiting[following[0]].append(item)
        for name in self._stages[self._stages.index(stage) :]:
            self._show(name)

    def _quarantine(self, item: Item, outcome: Outcome) -> None:
        record = {"item": item.id, "source": str(item.source), "stage": outcome.stage, "error": outcome.error}
        details = dict(outcome.details)
        if not details["key"]:
            details["key"] = self._key(item, outcome.stage)
        write_text(quarantine_file(self._out, item.id), json.dumps({**record, **details}, indent=1))

    def _key(self, item: Item, stage: str) -> dict[str, object]:
        """Of a task that could not say it itself, as its process died or the key was what failed."""
        try:
            return stage_key(stage_named(stage), Task(item, stage, self._config, self._out))
        except (EgocentricError, OSError):
            return {}

    def _show(self, stage: str) -> None:
        if self._progress:
            index = self._stages.index(stage)
            lost = sum(self._failed[name] for name in self._stages[:index])
            counts = self._done[stage], self._failed[stage], len(self._items) - lost
            self._progress(StageProgress(stage, *counts))


def _check(config: EgocentricConfig, stages: Sequence[Stage]) -> None:
    """What can be known to be wrong before the first video. Raises EgocentricConfigError, UnavailableError."""
    for name in config.running.resources:
        stage_named(name)
    licences.check([use for stage in stages for use in stage.uses(config)], config.licences)
    names = {stage.name for stage in stages}
    if "segment" in names:
        if config.segment.given:
            check_given(config.segment.given)
        elif config.segment.model:
            check_reachable(config.segment.model)
        else:
            raise EgocentricConfigError("segment.model: expected a model, or own segments (--segments); found neither")
    if "filter" in names and config.filter.enabled:
        if not config.filter.model:
            raise EgocentricConfigError("filter.model: expected a model, or filter.enabled=false; found neither")
        check_reachable(config.filter.model)
    for name, settings in (("wrists", config.wrists), ("camera", config.camera)):
        if name not in names:
            continue
        if settings is None:
            raise EgocentricConfigError(f"{name}.backend: expected one for stage {name}, or --until frames; found none")
        for module, command in settings.packages().items():
            if find_spec(module) is None:
                raise EgocentricConfigError(f"{name}.backend: {settings.backend} needs {module}: {command}")


def _manifest(inputs: Iterable[Path], out: Path) -> list[Item]:
    """All items, now and before; raises EgocentricError if there are none."""
    path = out / "manifest.json"
    known, left_out_before = read_manifest(out) if path.exists() else ([], [])
    items, left_out = find_items(inputs, known)
    left_out = [*dict.fromkeys([*left_out_before, *left_out])]
    if not items:
        raise EgocentricError("no video to work on: " + "; ".join(f"{it.source}: {it.reason}" for it in left_out))
    data = {
        "version": MANIFEST_VERSION,
        "items": [item.to_json() for item in items],
        "left_out": [asdict(it) for it in left_out],
    }
    write_text(path, json.dumps(data, indent=1))
    return items


def _report_licences(config: EgocentricConfig, stages: Sequence[Stage], items: Sequence[Item], out: Path) -> None:
    """Raises EgocentricConfigError for data whose licence is excluded."""
    own = licences.Licence(config.ingest.data_licence, commercial=None)
    counts = Counter(item.dataset for item in items)
    unknown = licences.Licence("not stated", commercial=None)
    data = [
        (name or "own videos", licences.DATASETS.get(name, unknown) if name else own, counts[name]) for name in counts
    ]
    for name, licence, _ in data:
        if licence.name in config.licences.exclude:
            raise EgocentricConfigError(f"{name} has licence {licence.name}, which licences.exclude refuses")
    uses = [use for stage in stages for use in stage.uses(config)]
    write_text(out / "licences.json", json.dumps(licences.report(uses, data), indent=1))


def _executor(name: str, workers: int, config: EgocentricConfig, stages: Sequence[str]) -> Executor:
    if name == "ray":
        return RayExecutor(workers, config.running, stages)
    return LocalExecutor(workers, config.running.resources)


def _accounted(out: Path, stages: Sequence[str]) -> RunStatus:
    """What is on the disk. Raises EgocentricError unless every item went through or is in the quarantine."""
    found = run_status(out)
    if lost := [item for item in found.unfinished(stages[-1]) if item not in {it.item for it in found.quarantined}]:
        raise EgocentricError(f"{out}: expected every item done or in quarantine, found neither for {', '.join(lost)}")
    return found


def _log_line(outcome: Outcome) -> dict[str, object]:
    return {
        "ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "item": outcome.item,
        "stage": outcome.stage,
        "status": outcome.status,
        "seconds": round(outcome.seconds, 3),
    }


__all__ = ["STAGES", "LeftOut", "Progress", "RunStatus", "StageProgress", "run"]
