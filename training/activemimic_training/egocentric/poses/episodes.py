"""One episode that cannot be used does not cost the others of its video."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from activemimic_training.egocentric.errors import EgocentricError
from activemimic_training.egocentric.poses.clip import Clip


def each_episode(clips: Iterable[Clip], out: Path, work: Callable[[Clip, Path], None]) -> None:
    """Call `work` with every clip and a folder of its own below `out`.

    A clip for which it raises EgocentricError is left out, with the reason. Writes episodes.json:
    {"episodes": [names], "left_out": [{"episode", "reason"}]}.
    """
    done: list[str] = []
    left_out: list[dict[str, str]] = []
    for clip in clips:
        folder = out / clip.name
        folder.mkdir()
        try:
            work(clip, folder)
            done.append(clip.name)
        except EgocentricError as error:
            shutil.rmtree(folder)
            left_out.append({"episode": clip.name, "reason": " ".join(str(error).split())})
    (out / "episodes.json").write_text(json.dumps({"episodes": done, "left_out": left_out}, indent=1))


def episodes_of(stage: Path) -> list[str]:
    """The episodes that a stage gave, from its folder."""
    found: list[str] = json.loads((stage / "episodes.json").read_text())["episodes"]
    return found
