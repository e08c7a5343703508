"""What an episode is about (`episode.yaml`), and where episodes lie."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import yaml
from activemimic_description.common.errors import OperationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

Outcome = Literal["success", "failure", "unknown"]
UNFINISHED = ".recording"  # suffix of a folder that its recorder has not closed
RECOVERING, DAMAGED = ".recovering", ".damaged"  # of what `recover` works in, and of what it has replaced
LOW_RATE = 0.8  # of the contract's rate; a topic that stays below it is not in order
# Simulated scenes from this seed on are for evaluation: nothing that is trained may have seen them.
FIRST_HELD_OUT_SEED = 1_000_000


class BagError(OperationError):
    """An episode that cannot be written or read: names the file and the cause."""


class DiskFullError(BagError):
    """The disk takes no more of an episode that is being recorded; what it took is kept."""


class EpisodeInfo(BaseModel):
    """What was done, with which robot, how it ended, and what was recorded of it. Stamps are log times in ns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    instruction: str
    outcome: Outcome
    recovered: bool = False  # put together from what a killed recorder or a damaged file had left
    robot: str
    contract: str  # the contract's name; the file itself is contract.yaml beside this one
    fingerprint: str
    seed: int | None = None
    start_ns: int
    stop_ns: int
    messages: dict[str, int] = Field(default_factory=dict)  # by topic
    # By topic, from gaps in the publishers' sequence numbers; null where there were none to look at.
    lost: dict[str, int | None] = Field(default_factory=dict)
    extra: dict[str, Any] = Field(default_factory=dict)

    @property
    def duration_s(self) -> float:
        return (self.stop_ns - self.start_ns) / 1e9

    @property
    def messages_lost(self) -> int:
        """Messages lost on all topics together, as far as known."""
        return sum(count or 0 for count in self.lost.values())


def load_episode_info(folder: Path) -> EpisodeInfo:
    """Read and check `episode.yaml`. Raises BagError."""
    folder = Path(folder)
    unfinished = folder if folder.name.endswith(UNFINISHED) else folder.with_name(folder.name + UNFINISHED)
    if unfinished.is_dir() and (unfinished == folder or not folder.exists()):
        raise BagError(
            f"{unfinished}: the recorder ended before it closed this episode (or still records it); "
            f"activemimic bag recover {unfinished} makes one of what is there"
        )
    if not folder.is_dir():
        raise BagError(f"{folder}: there is no such folder; expected a recorded episode")
    return read_episode_info(folder / "episode.yaml")


def read_episode_info(path: Path) -> EpisodeInfo:
    """Read and check an `episode.yaml`, of a closed episode or not. Raises BagError."""
    data = load_yaml(path)
    try:
        return EpisodeInfo.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BagError(f"{path}: {field}: {first['msg']}, found {first['input']!r}") from None


def load_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises BagError that names the file."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BagError(f"{path}: missing; expected a folder that the recorder has closed") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BagError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None


def find_episodes(paths: Iterable[Path | str]) -> list[Path]:
    """Episode folders at or below `paths`, in the order of the paths and of the names below each; no doubles.

    Unfinished recordings are listed too, so that whoever reads them can say so, but not what `recover` set aside.
    A path that is no folder is listed as it is.
    """
    found: dict[Path, None] = {}
    for root in map(Path, paths):
        if root.is_dir() and not _is_episode(root):
            folders = [folder for folder in sorted(root.rglob("*")) if folder.is_dir() and _is_episode(folder)]
        else:
            folders = [root]
        found.update(dict.fromkeys(folders))
    return list(found)


def _is_episode(folder: Path) -> bool:
    if folder.name.endswith(DAMAGED) or folder.parent.name.endswith(RECOVERING):
        return False
    return folder.name.endswith(UNFINISHED) or any(
        (folder / name).exists() for name in ("episode.yaml", "metadata.yaml")
    )
