"""One episode that cannot be used does not cost the others of its video."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from activemimic_training.egocentric.poses.clip import Clip
from activemimic_training.egocentric_error import EgocentricError


def each_episode(clips: Iterable[Clip], out: Path, work: Callable[[Clip, Path], Iterable[str] | None]) -> None:
    """Call `work` with every clip and a folder of its own below `out`.

    It returns why parts of the clip are left out; one for which it raises EgocentricError is left out as a whole.
    Writes episodes.json: {"episodes": [names], "left_out": [{"episode", "reason"}]}.
    """
    done: list[str] = []
    left_out: list[dict[str, str]] = []

    def leave_out(clip: Clip, reason: str) -> None:
        left_out.append({"episode": clip.name, "reason": " ".join(reason.split())})

    for clip in clips:
        folder = out / clip.name
        folder.mkdir()
        try:
            for reason in work(clip, folder) or ():
                leave_out(clip, reason)
            done.append(clip.name)
        except EgocentricError as error:
            shutil.rmtree(folder)
            leave_out(clip, str(error))
    write_episodes(out, done, left_out)


def write_episodes(stage: Path, done: Sequence[str], left_out: Sequence[Mapping[str, str]]) -> None:
    """episodes.json of a stage's folder."""
    (stage / "episodes.json").write_text(json.dumps({"episodes": [*done], "left_out": [*left_out]}, indent=1))


def episodes_of(stage: Path) -> list[str]:
    """The episodes that a stage gave, from its folder."""
    found: list[str] = json.loads((stage / "episodes.json").read_text())["episodes"]
    return found


def left_out_of(stage: Path) -> list[dict[str, str]]:
    """What a stage left out: episode and reason each."""
    found: list[dict[str, str]] = json.loads((stage / "episodes.json").read_text())["left_out"]
    return found
