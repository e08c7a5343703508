"""Commands about egocentric video. They need no ROS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from activemimic_description.common.errors import FAILED

from activemimic_bringup.cli.build_report import BuildReport
from activemimic_bringup.cli.ego_truth import hot3d, synthesize
from activemimic_bringup.cli.error_exit import UsageProblem, print_error

if TYPE_CHECKING:
    from activemimic_training.egocentric.run.pipeline import RunStatus, StageProgress

_SHOWN = 10  # reasons; a corpus may have thousands

app = typer.Typer(no_args_is_help=True, help="Turn videos of people's own view into training data.")
app.command()(synthesize)
app.command()(hot3d)


@app.command()
def run(
    inputs: Annotated[
        list[Path], typer.Argument(help="Videos, folders of frames, Ego4D folders, or folders that hold them.")
    ],
    out: Annotated[Path, typer.Option(help="The run's folder; one that holds a killed run is gone on with.")],
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="section.field=value on top of it; repeatable.")
    ] = None,
    segments: Annotated[
        Path | None, typer.Option(help="Own segments in place of a model's: JSON, video name to its segments.")
    ] = None,
    executor: Annotated[str, typer.Option(help="local: processes of this machine; ray: this machine or a cluster.")] = (
        "local"
    ),
    workers: Annotated[int, typer.Option(min=1, help="Processes for the stages that take no GPU.")] = 2,
    until: Annotated[str | None, typer.Option(help="The last stage to run; default: all.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Also items that failed before as they are now.")] = False,
) -> None:
    """Bring videos through the stages. Exits with 1 if an item failed; the others are done all the same."""
    from activemimic_training.egocentric.run.pipeline import run as run_pipeline
    from activemimic_training.egocentric.settings.pipeline_config import load_config
    from rich.console import Console

    if executor not in ("local", "ray"):
        raise UsageProblem(f"--executor {executor!r}: expected local or ray")
    overrides = [*(settings or []), *([f"segment.given={json.dumps(str(segments))}"] if segments else [])]
    with _Bars() as bars:
        result = run_pipeline(
            inputs,
            out,
            load_config(config, overrides),
            executor,  # type: ignore[arg-type]
            workers,
            until,
            retry,
            bars.progress,
        )
    _show(result, Console(soft_wrap=True, highlight=False))
    if result.quarantined:
        raise typer.Exit(FAILED)


@app.command()
def status(out: Annotated[Path, typer.Argument(help="The run's folder.")]) -> None:
    """What a run has done so far, what failed and why; also while it is at work."""
    from activemimic_training.egocentric.run.status import run_status
    from rich.console import Console
    from rich.table import Table

    found = run_status(out)
    console = Console(soft_wrap=True, highlight=False)
    table = Table("stage", "done", "quarantined", "left", "mean s per item")
    failed = 0
    for stage in found.stages:
        failed += stage.quarantined
        left = found.items - stage.done - failed
        seconds = "" if stage.seconds is None else f"{stage.seconds:.2f}"
        table.add_row(stage.name, str(stage.done), str(stage.quarantined), str(left), seconds)
    console.print(table)
    console.print("a run is at work" if found.working else "no run is at work")
    _show(found, console)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    out: Annotated[Path, typer.Option(help="The dataset's folder; must not exist.")],
    version: Annotated[str, typer.Option("--format", help="Layout of LeRobot: v3.0 or v2.1.")] = "v3.0",
    image_px: Annotated[
        int, typer.Option(min=16, max=2048, help="Side of the square images; even, as video wants it.")
    ] = 448,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Make a dataset of the trajectories that a run kept. Killed, the same command goes on."""
    from activemimic_training.egocentric.episodes.corpus import export_run

    if image_px % 2:
        raise UsageProblem(f"--image-px {image_px}: expected an even number")
    with BuildReport() as report:
        result, done = export_run(run, out, image_px, workers, version, report.progress)
    if left := len(done.unfinished("quality")):
        typer.echo(f"{left} of {done.items} items are not through stage quality and not in it: activemimic ego status")
    report.show(result)


@app.command()
def evaluate(
    predicted: Annotated[Path, typer.Argument(help="A trajectory (.npz), a folder of them, or of a run.")],
    truth: Annotated[Path, typer.Argument(help="The same of the truth; episodes are matched by name, frames by time.")],
    json_out: Annotated[Path | None, typer.Option("--json", help="Where all figures go, as JSON.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of tolerances and tiers.")] = None,
) -> None:
    """Hold estimated camera and wrists against true ones: recovery rates, errors, coverage, jitter."""
    from activemimic_training.egocentric.quality.evaluate import evaluate as run
    from activemimic_training.egocentric.quality.evaluate import load_evaluate_config
    from rich.console import Console

    from activemimic_bringup.cli.ego_figures import show_figures

    figures = run(predicted, truth, load_evaluate_config(config))
    if json_out:
        json_out.parent.mkdir(parents=True, exist_ok=True)
        json_out.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    show_figures(figures, Console(soft_wrap=True, highlight=False))
    if json_out:
        typer.echo(f"figures: {json_out}")


@app.command()
def view(
    source: Annotated[Path, typer.Argument(help="A run's folder, a stage's folder of an episode, or a corpus.")],
    episode: Annotated[str | None, typer.Argument(help="VIDEO_NUMBER; of a corpus: its number.")] = None,
    out: Annotated[Path | None, typer.Option(help="The page; default: EPISODE.html.")] = None,
    rerun: Annotated[Path | None, typer.Option(help="Write a Rerun recording (.rrd) as well.")] = None,
) -> None:
    """An episode as a page: video with what comes next drawn in, paths in space, confidence and findings over time."""
    from activemimic_training.egocentric.viewer.episode_page import write_episode_page
    from activemimic_training.egocentric.viewer.episode_view import load_episode
    from activemimic_training.egocentric.viewer.rerun_recording import write_recording

    found = load_episode(source, episode)
    page = out or Path(f"{found.name.replace(' ', '_')}.html")
    write_episode_page(found, page)
    typer.echo(f"{found.name}: {page}")
    if rerun:
        write_recording(found, rerun)
        typer.echo(f"recording: {rerun}")


@app.command()
def corpus(
    run: Annotated[Path, typer.Argument(help="The run's folder; it may be at work.")],
    out: Annotated[Path, typer.Option(help="The page.")] = Path("corpus.html"),
) -> None:
    """A whole corpus as a page: what is done in it, durations, what was left out and why, hands, scale, licences."""
    from activemimic_training.egocentric.viewer.corpus_page import write_corpus_page
    from activemimic_training.egocentric.viewer.corpus_view import read_corpus

    write_corpus_page(run, read_corpus(run), out)
    typer.echo(f"{run}: {out}")


def _show(found: RunStatus, console: Any) -> None:
    for left_out in found.left_out:
        console.print(f"left out: {left_out.source}: {left_out.reason}", style="yellow", markup=False)
    if found.assumed:
        text = f"{found.assumed} of {found.items} items have no calibration: their field of view is assumed"
        console.print(text, style="yellow")
    for item in found.quarantined:
        print_error(f"{item.item}: {item.stage}: {item.error}")
    counts = f"{found.items} items, {found.video_s / 60:.1f} min of video; {len(found.quarantined)} in quarantine"
    segments = f"{found.proposed} segments, {found.rejected} of them rejected"
    episodes = f"{found.episodes} episodes, {found.episode_s / 60:.1f} min; {found.dropped} pieces too short"
    console.print(f"{counts}\n{segments}\n{episodes}", markup=False)
    if found.finished["quality"] or found.lost:
        for lost in found.lost[:_SHOWN]:
            console.print(f"left out: {lost.episode}: {lost.stage}: {lost.reason}", style="yellow", markup=False)
        if len(found.lost) > _SHOWN:
            text = f"and {len(found.lost) - _SHOWN} more: left_out in items/*/{{wrists,camera,quality}}/episodes.json"
            console.print(text, style="yellow", markup=False)
        kept = f"{found.kept} trajectories, {found.kept_s / 60:.1f} min; left out {len(found.lost)} times"
        console.print(kept, markup=False)


class _Bars:
    """A bar for each stage, with the time it is expected to take."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        failed = TextColumn("{task.fields[failed]}", style="red")
        self._bar = Progress(*columns, failed, console=Console(highlight=False))
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tasks:
            self._bar.stop()

    def progress(self, stage: StageProgress) -> None:
        self._bar.start()
        if stage.stage not in self._tasks:
            self._tasks[stage.stage] = self._bar.add_task(stage.stage, total=None, failed="")
        text = f"{stage.failed} failed" if stage.failed else ""
        self._bar.update(
            self._tasks[stage.stage], completed=stage.done + stage.failed, total=stage.expected, failed=text
        )
