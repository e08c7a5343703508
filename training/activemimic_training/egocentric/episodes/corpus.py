"""What a run kept, as a dataset to train on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from activemimic_data.dataset.assemble import BuildResult, Progress
from activemimic_data.dataset.layout import FORMATS

from activemimic_training.egocentric.episodes.corpus_export import EpisodeFiles, export_corpus
from activemimic_training.egocentric.poses.episodes import episodes_of
from activemimic_training.egocentric.run.stages import stage_folder
from activemimic_training.egocentric.run.status import RunStatus, run_status
from activemimic_training.egocentric_error import EgocentricError


def export_run(
    run: Path,
    out: Path,
    image_px: int = 448,
    workers: int = 2,
    version: str = FORMATS[0],
    progress: Progress | None = None,
) -> tuple[BuildResult, RunStatus]:
    """Write every piece that stage `quality` of `run` kept to the dataset `out`, and with it the run's licences.

    Killed, it goes on when it is started again; see `export_corpus`. Returns as well what the run had done.

    Raises:
        EgocentricError: `run` is no run, is at work, or kept nothing.
        DatasetError: `out` exists, or nothing could be converted.
    """
    found = run_status(run)
    if found.working:
        raise EgocentricError(f"{run}: a run is at work there; export when it is through")
    episodes = [episode for item in found.all_items if item in found.finished["quality"] for episode in _of(run, item)]
    if not episodes:
        through = len(found.finished["quality"])
        raise EgocentricError(
            f"{run}: expected trajectories to export, found none; {through} of {found.items} items are through stage "
            "quality"
        )
    source = json.loads((run / "licences.json").read_text())
    return export_corpus(episodes, out, image_px, workers, version=version, progress=progress, source=source), found


def _of(run: Path, item: str) -> Iterator[EpisodeFiles]:
    stage = stage_folder(run, item, "quality").absolute()
    for piece in episodes_of(stage):
        clip = stage_folder(run, item, "frames").absolute() / piece.partition("/")[0]
        about = json.loads((clip / "frames.json").read_text())
        name = piece.replace("/", "_")
        yield EpisodeFiles(
            name, stage / piece / "trajectory.npz", clip / "frames.mp4", about["time_ns"][0], about["task"]
        )
