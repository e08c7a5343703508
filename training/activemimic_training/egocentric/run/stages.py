"""The stages of the pipeline, and what makes the result of one valid: version, settings and what it was made of.

A stage's result is a folder, OUT/items/<item>/<stage>. It is written beside its place and renamed, with `stage.json`
that tells how it was made; whoever finds another version, other settings or other inputs makes it anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from activemimic_description.common.atomic import sync_folder
from pydantic import BaseModel

from activemimic_training.egocentric.ingest.ingest import calibration_file, ingest
from activemimic_training.egocentric.ingest.item import Item
from activemimic_training.egocentric.language import prompts
from activemimic_training.egocentric.language.filter import filter_segments
from activemimic_training.egocentric.language.language import BadReplyError, UnavailableError
from activemimic_training.egocentric.language.segment import given_segments, segment
from activemimic_training.egocentric.poses.camera import camera
from activemimic_training.egocentric.poses.frames import frames
from activemimic_training.egocentric.poses.join import quality
from activemimic_training.egocentric.poses.wrists import wrists
from activemimic_training.egocentric.run.licences import OWN, Use, model_licence
from activemimic_training.egocentric.settings.pipeline_config import (
    EgocentricConfig,
    EgocentricConfigError,
    LanguageSection,
)
from activemimic_training.egocentric.settings.pose_settings import PoseSettings
from activemimic_training.egocentric_error import EgocentricError

_EDGE_BYTES = 1 << 20
_DISK_FULL = (28, 122)  # ENOSPC, EDQUOT
# Where and how fast a model answers does not change the answer.
_FREE = {"url", "device", "timeout_s"}


Status = Literal["done", "kept", "failed", "failed_before", "halted"]


@dataclass(frozen=True)
class Stage:
    """A pure function on files.

    `run` reads the item and the folders of the stages it `reads`, and fills the given folder. `settings`: what of the
    configuration its result depends on, as plain data. `sources`: hashes of what it reads besides.
    """

    name: str
    version: int
    reads: tuple[str, ...]
    run: Callable[[Item, EgocentricConfig, Mapping[str, Path], Path], None]
    settings: Callable[[EgocentricConfig], Any]
    sources: Callable[[Item, EgocentricConfig], dict[str, str]] = lambda item, config: {}
    uses: Callable[[EgocentricConfig], list[Use]] = lambda config: []


@dataclass(frozen=True)
class Task:
    """One stage of one item; `retry`: also if it failed before and nothing has changed since."""

    item: Item
    stage: str
    config: EgocentricConfig
    out: Path
    retry: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    `kept`: it was there already; `failed_before`: it would fail again; `halted`: for a reason that is not the item's.
    """

    item: str
    stage: str
    status: Status
    seconds: float = 0.0
    error: str = ""
    details: dict[str, Any] = field(default_factory=dict)  # of a failure: key, traceback, replies


def perform(task: Task) -> Outcome:
    """Make the task's folder, unless a valid one is there. Never raises: what goes wrong is in the outcome."""
    began = time.monotonic()
    stage = stage_named(task.stage)
    key: dict[str, Any] = {}
    try:
        key = stage_key(stage, task)
        before = read_quarantine(task.out, task.item.id)
        if before and before["key"] == key and not task.retry:
            return Outcome(task.item.id, stage.name, "failed_before", error=before["error"])
        made = _make(stage, task, key)
        return Outcome(task.item.id, stage.name, "done" if made else "kept", time.monotonic() - began)
    except Exception as error:
        details: dict[str, Any] = {"key": key, "traceback": traceback.format_exc()}
        if isinstance(error, BadReplyError):
            details["replies"] = error.replies
        own = isinstance(error, EgocentricError | EgocentricConfigError)
        text = " ".join(str(error).split()) if own else f"{type(error).__name__}: {error}"
        blameless = isinstance(error, UnavailableError | EgocentricConfigError | MemoryError)
        blameless |= isinstance(error, OSError) and error.errno in _DISK_FULL
        status: Status = "halted" if blameless else "failed"
        return Outcome(task.item.id, stage.name, status, time.monotonic() - began, text, details)


def stage_folder(out: Path, item: str, stage: str) -> Path:
    return out / "items" / item / stage


def quarantine_file(out: Path, item: str) -> Path:
    return out / "quarantine" / f"{item}.json"


def read_quarantine(out: Path, item: str) -> dict[str, Any] | None:
    """Why an item failed, when it did last."""
    try:
        found: dict[str, Any] = json.loads(quarantine_file(out, item).read_text())
    except FileNotFoundError:
        return None
    return found


def stage_key(stage: Stage, task: Task) -> dict[str, Any]:
    """What a valid result of the task says of itself. Raises EgocentricError, OSError."""
    inputs = stage.sources(task.item, task.config)
    for name in stage.reads:
        inputs[name] = _digest((stage_folder(task.out, task.item.id, name) / "stage.json").read_bytes())
    return {
        "stage": stage.name,
        "version": stage.version,
        "config_hash": config_hash(stage, task.config),
        "inputs": inputs,
    }


def config_hash(stage: Stage, config: EgocentricConfig) -> str:
    return _digest(json.dumps(stage.settings(config), sort_keys=True).encode())


def read_stage(folder: Path) -> dict[str, Any] | None:
    """What a finished stage says of itself; None if it is not there or a file of it is missing or cut short."""
    try:
        about: dict[str, Any] = json.loads((folder / "stage.json").read_text())
        whole = all((folder / name).stat().st_size == file["bytes"] for name, file in about["files"].items())
    except (OSError, ValueError, KeyError):
        return None
    return about if whole else None


def remove_partial(out: Path) -> None:
    """Clear away what a killed run left half done."""
    for folder in (out / "items").glob("*/.*.partial"):
        shutil.rmtree(folder)


def _make(stage: Stage, task: Task, key: dict[str, Any]) -> bool:
    folder = stage_folder(task.out, task.item.id, stage.name)
    there = read_stage(folder)
    if there is not None and {name: there.get(name) for name in key} == key:
        return False
    partial = folder.with_name(f".{stage.name}-{uuid.uuid4().hex[:8]}.partial")
    partial.mkdir(parents=True)
    try:
        inputs = {name: stage_folder(task.out, task.item.id, name) for name in stage.reads}
        stage.run(task.item, task.config, inputs, partial)
        _seal(partial, key)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if folder.exists():
        stale = partial.with_name(partial.name.replace(".partial", "-old.partial"))
        folder.rename(stale)
        shutil.rmtree(stale)
    partial.rename(folder)
    sync_folder(folder.parent)
    return True


def _seal(folder: Path, key: dict[str, Any]) -> None:
    """Bring all files to the disk, and list them in stage.json."""
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        files[str(path.relative_to(folder))] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        with path.open("rb") as file:
            os.fsync(file.fileno())
    with (folder / "stage.json").open("w") as file:
        json.dump({**key, "files": files}, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _ingest_sources(item: Item, config: EgocentricConfig) -> dict[str, str]:
    found = {"source": _fingerprint(item), "item": _digest(json.dumps([item.spans_s, item.redacted_s]).encode())}
    beside = calibration_file(item)
    if beside.exists():
        found["calibration"] = _digest(beside.read_bytes())
    return found


def _fingerprint(item: Item) -> str:
    """Of a video its size, first and last MiB; of a folder the names and sizes of its files: moving changes neither."""
    digest = hashlib.sha256()
    if item.kind == "frames":
        for path in sorted(item.source.iterdir()):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        return digest.hexdigest()[:16]
    with item.source.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(f"{size} ".encode() + file.read(_EDGE_BYTES))
        file.seek(max(0, size - _EDGE_BYTES))
        digest.update(file.read())
    return digest.hexdigest()[:16]


def _segment_sources(item: Item, config: EgocentricConfig) -> dict[str, str]:
    given = config.segment.given
    if given is None:
        return {}
    segments = [found.model_dump() for found in given_segments(given, item)]
    return {"given": _digest(json.dumps(segments).encode())}


def _plain(section: BaseModel, **exclude: Any) -> Any:
    return section.model_dump(mode="json", exclude=exclude or None)


def _segment_settings(config: EgocentricConfig) -> Any:
    asks = config.segment.given is None
    settings = _plain(config.segment, given=True, model=_FREE if asks else True)
    return {**settings, "prompt": prompts.SEGMENT if asks else None}


def _filter_settings(config: EgocentricConfig) -> Any:
    if not config.filter.enabled:
        return {"enabled": False}
    return {**_plain(config.filter, model=_FREE), "prompt": prompts.FILTER}


def _model_uses(stage: str, model: LanguageSection | None) -> list[Use]:
    if model is None:
        return []
    own = model.backend == "scripted"
    return [Use(stage, model.model, OWN if own else model_licence(model.model, model.licence))]


def _pose_stage(name: str, reads: tuple[str, ...], run: Callable[..., None]) -> Stage:
    """A stage whose section of the configuration, of the same name, says which backend serves it."""

    def section(config: EgocentricConfig) -> PoseSettings | None:
        found: PoseSettings | None = getattr(config, name)
        return found

    def settings(config: EgocentricConfig) -> Any:
        found = section(config)
        return _plain(found, device=True, folder=True, scale={"device"}) if found else None

    def sources(item: Item, config: EgocentricConfig) -> dict[str, str]:
        found = section(config)
        files = found.files(item.id) if found else []
        return {path.name: _digest(path.read_bytes()) for path in files if path.is_file()}

    def uses(config: EgocentricConfig) -> list[Use]:
        found = section(config)
        return [Use(name, model, model_licence(model, licence)) for model, licence in found.models()] if found else []

    return Stage(name, 1, reads, run, settings, sources, uses)


STAGES: tuple[Stage, ...] = (
    Stage("ingest", 1, (), ingest, lambda config: _plain(config.ingest, data_licence=True), _ingest_sources),
    Stage(
        "segment",
        1,
        ("ingest",),
        segment,
        _segment_settings,
        _segment_sources,
        lambda config: [] if config.segment.given else _model_uses("segment", config.segment.model),
    ),
    Stage(
        "filter",
        1,
        ("segment",),
        filter_segments,
        _filter_settings,
        uses=lambda config: _model_uses("filter", config.filter.model) if config.filter.enabled else [],
    ),
    Stage("frames", 1, ("ingest", "filter"), frames, lambda config: _plain(config.frames)),
    _pose_stage("wrists", ("ingest", "frames"), wrists),
    _pose_stage("camera", ("ingest", "frames", "wrists"), camera),
    Stage("quality", 1, ("ingest", "frames", "wrists", "camera"), quality, lambda config: _plain(config.quality)),
)


def stage_named(name: str) -> Stage:
    """Raises EgocentricConfigError."""
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise EgocentricConfigError(f"stage {name!r}: expected one of {', '.join(stage.name for stage in STAGES)}")


def stages_until(name: str | None) -> Iterator[Stage]:
    """The stages in order, up to `name`. Raises EgocentricConfigError."""
    last = stage_named(name) if name else STAGES[-1]
    for stage in STAGES:
        yield stage
        if stage is last:
            return
