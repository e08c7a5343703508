"""Stage `wrists`: the wearer's wrists in the camera's frame, of every episode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from activemimic_training.egocentric.config import EgocentricConfig
from activemimic_training.egocentric.item import Item
from activemimic_training.egocentric.poses.clip import Clip, clips
from activemimic_training.egocentric.poses.episodes import each_episode
from activemimic_training.egocentric.poses.estimates import WristEstimate
from activemimic_training.egocentric.poses.supplied import supplied_wrists
from activemimic_training.egocentric.poses.truth import truth_wrists

BACKENDS: dict[str, Callable[[Any, Clip], WristEstimate]] = {
    "supplied": supplied_wrists,
    "truth": truth_wrists,
}


def wrists(item: Item, config: EgocentricConfig, inputs: Mapping[str, Path], out: Path) -> None:
    """Writes <episode>/wrists.npz for every episode, and episodes.json: which there are, which not and why."""
    settings = config.wrists
    assert settings is not None
    backend = BACKENDS[settings.backend]

    def estimate(clip: Clip, folder: Path) -> None:
        found = backend(settings, clip)
        found.validate(clip.name, len(clip))
        found.save(folder / "wrists.npz")

    each_episode(clips(item, inputs["ingest"], inputs["frames"]), out, estimate)
