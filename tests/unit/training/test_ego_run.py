"""A run over egocentric videos goes on where it was killed, sets apart what fails, and accounts for every item."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import ego_videos as videos
import pytest
from activemimic_bringup.cli.main import app
from activemimic_training.egocentric.ingest.item import find_items
from activemimic_training.egocentric.run.executors import LocalExecutor
from activemimic_training.egocentric.run.pipeline import RunStatus
from activemimic_training.egocentric.run.pipeline import run as run_pipeline
from activemimic_training.egocentric.run.stages import Task
from activemimic_training.egocentric.run.status import run_status
from activemimic_training.egocentric.settings.pipeline_config import (
    EgocentricConfig,
    EgocentricConfigError,
    load_config,
)
from activemimic_training.egocentric_error import EgocentricError
from typer.testing import CliRunner

run = partial(run_pipeline, workers=1, until="frames")
with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three good videos, and three that are not."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("bread", "kitchen", "sink"):
        videos.write_video(folder / f"{name}.mp4", videos.steady(3, 15))
    whole = (folder / "bread.mp4").read_bytes()
    (folder / "cut_short.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp4").touch()
    videos.write_video(folder / "unnamed.mp4", videos.steady(1))
    names = ("bread", "kitchen", "sink", "cut_short", "empty")
    videos.write_segments(tmp_path / "segments.json", **{name: [videos.segment(0.2, 2.7)] for name in names})
    return folder


def configured(corpus: Path, **sections: dict) -> EgocentricConfig:
    given = {"segment": {"given": str(corpus.parent / "segments.json")}, "filter": {"enabled": False}}
    return EgocentricConfig.model_validate({**given, **sections})


def contents(out: Path) -> dict[str, bytes]:
    """Every file of the results and the quarantine."""
    found = [path for name in ("items", "quarantine") for path in (out / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


def performed(out: Path) -> Counter[tuple[str, str]]:
    """How often a stage was done or failed, over all runs in `out`."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return Counter((line["stage"], line["status"]) for line in lines)


def failures(status: RunStatus) -> dict[str, tuple[str, str]]:
    return {it.item: (it.stage, it.error) for it in status.quarantined}


def test_what_fails_is_set_apart_and_the_rest_is_done_once(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status = run([corpus], out, configured(corpus))
    found = failures(status)
    assert {item: stage for item, (stage, _) in found.items()} == {
        "cut_short": "ingest",
        "empty": "ingest",
        "unnamed": "segment",
    }
    assert found["empty"][1] == f"{corpus / 'empty.mp4'}: expected a video, found an empty file"
    assert "Traceback" in json.loads((out / "quarantine" / "unnamed.json").read_text())["traceback"]
    assert (status.items, status.episodes, status.frames, status.assumed) == (6, 3, 75, 4)
    assert performed(out) == {
        ("ingest", "done"): 4,
        ("ingest", "failed"): 2,
        ("segment", "done"): 3,
        ("segment", "failed"): 1,
        ("filter", "done"): 3,
        ("frames", "done"): 3,
    }

    before = contents(out)
    assert failures(run([corpus], out, configured(corpus))) == found
    assert contents(out) == before
    # Nothing was done again; of what failed only the video without own segments was looked for again in their file.
    assert performed(out).total() == 17
    assert performed(out)["segment", "failed"] == 2


def test_what_is_mended_or_changed_is_made_anew_and_nothing_else(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run([corpus], out, configured(corpus))
    videos.write_video(corpus / "empty.mp4", videos.steady(3, 15))
    assert set(failures(run([corpus], out, configured(corpus)))) == {"cut_short", "unnamed"}
    before = performed(out)

    run([corpus], out, configured(corpus, frames={"min_s": 2}), until="frames")
    assert performed(out) - before == {("frames", "done"): 4, ("segment", "failed"): 1}

    before = performed(out)
    assert set(failures(run([corpus], out, configured(corpus, frames={"min_s": 2}), retry=True))) == {
        "cut_short",
        "unnamed",
    }
    assert performed(out) - before == {("ingest", "failed"): 1, ("segment", "failed"): 1}


def test_a_result_that_lost_a_file_is_made_anew(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run([corpus / "sink.mp4"], out, configured(corpus))
    before = contents(out)
    (out / "items" / "sink" / "frames" / "sink_000" / "frames.mp4").write_bytes(b"")
    run([corpus / "sink.mp4"], out, configured(corpus))
    assert contents(out) == before


def test_kill_it_whenever_you_like(corpus: Path, tmp_path: Path) -> None:
    expected = tmp_path / "expected"
    run([corpus], expected, configured(corpus))
    out = tmp_path / "out"
    words = ["ego", "run", corpus, "--out", out, "--segments", tmp_path / "segments.json", "--until", "frames"]
    command = [sys.executable, "-m", "activemimic_bringup.cli.main", *words, "--set", "filter.enabled=false"]
    for count in (2, 9):
        with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            _until(lambda count=count: len([*out.glob("items/*/*/stage.json")]) >= count)
            process.kill()
    assert len([*out.glob("items/*/*/stage.json")]) < 13, "it was through before it could be killed"
    status = run([corpus], out, configured(corpus))
    assert contents(out) == contents(expected)
    assert status.episodes == 3
    assert not [*out.glob("items/*/.*")]


def test_a_process_that_dies_costs_its_item_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "stuck.mp4")  # whoever opens it waits for ever
    videos.write_video(tmp_path / "good.mp4", videos.steady(1))
    (good, stuck), _ = find_items([tmp_path])
    executor = LocalExecutor(1, {})
    try:
        executor.submit(Task(stuck, "ingest", EgocentricConfig(), tmp_path / "out"))
        assert not executor.has_room("ingest")
        assert executor.next(0.1) is None
        (child,) = multiprocessing.active_children()
        os.kill(child.pid or 0, signal.SIGKILL)
        outcome = executor.next(20)
        assert outcome is not None
        assert (outcome.item, outcome.status) == ("stuck", "failed")
        assert "its process died (exit code -9)" in outcome.error
        executor.submit(Task(good, "ingest", EgocentricConfig(), tmp_path / "out"))
        outcome = executor.next(20)
        assert outcome is not None
        assert outcome.status == "done"
    finally:
        executor.close()
    assert multiprocessing.active_children() == []


def test_a_run_that_stands_still_ends_and_names_where(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    os.mkfifo(tmp_path / "videos" / "stuck.mp4")
    config = EgocentricConfig.model_validate({"running": {"stall_s": 0.5}})
    with pytest.raises(EgocentricError, match=r"nothing got on for 0.5 s; running: stuck \(ingest\)"):
        run([tmp_path / "videos"], tmp_path / "out", config, until="ingest")


def test_a_server_that_goes_away_ends_the_run_and_sets_nothing_apart(corpus: Path, tmp_path: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def do_POST(self) -> None:
            self.send_error(404, "no such model")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        model = {"backend": "server", "model": "m", "url": f"http://127.0.0.1:{server.server_address[1]}/v1"}
        good = [corpus / f"{name}.mp4" for name in ("bread", "kitchen", "sink")]
        with pytest.raises(EgocentricError, match=r"HTTP 404.*3 of 3 items are left"):
            run(good, tmp_path / "out", configured(corpus, segment={"model": model}))
        server.shutdown()
    assert failures(run_status(tmp_path / "out")) == {}


def test_two_runs_in_one_folder_are_refused(corpus: Path, tmp_path: Path) -> None:
    def second(_: Any) -> None:
        assert run_status(tmp_path / "out").working
        with pytest.raises(EgocentricError, match="another run is at work there"):
            run([corpus], tmp_path / "out", configured(corpus), until="ingest")
        seen.append(1)

    seen: list[int] = []
    run([corpus / "sink.mp4"], tmp_path / "out", configured(corpus), until="ingest", progress=second)
    assert seen


def test_what_cannot_work_is_said_before_anything_runs(corpus: Path, tmp_path: Path) -> None:
    server = {"backend": "server", "model": "Qwen/Qwen3-VL-8B-Instruct", "url": "http://127.0.0.1:9/v1"}
    for sections, text in (
        ({"segment": {}}, "segment.model: expected a model, or own segments"),
        ({}, "wrists.backend: expected one for stage wrists, or --until frames; found none"),
        ({"filter": {}}, "filter.model: expected a model, or filter.enabled=false"),
        ({"segment": {"model": server}}, "127.0.0.1:9/v1/models: cannot be reached"),
        ({"segment": {"given": "/no/such.json"}}, "/no/such.json: cannot be read"),
        ({"running": {"resources": {"cameras": {}}}}, "stage 'cameras': expected one of ingest, segment"),
        (
            {"segment": {"model": server}, "licences": {"exclude": ["Apache-2.0"]}},
            "segment: Qwen/Qwen3-VL-8B-Instruct has licence Apache-2.0, which licences.exclude refuses",
        ),
    ):
        with pytest.raises((EgocentricConfigError, EgocentricError), match=text):
            run([corpus], tmp_path / "out", configured(corpus, **sections), until=None)
    assert not (tmp_path / "out").exists()
    with pytest.raises(EgocentricError, match="nowhere: expected a video or a folder, found nothing"):
        run([tmp_path / "nowhere"], tmp_path / "out", configured(corpus))


def test_models_and_data_are_reported_with_their_licences(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "script.json").write_text(json.dumps({"segment": [[]]}))
    model = {"backend": "scripted", "script": str(tmp_path / "script.json"), "licence": "MIT"}
    config = configured(corpus, segment={"model": model}, ingest={"data_licence": "own recordings"})
    status = run([corpus / "sink.mp4"], tmp_path / "out", config)
    assert (status.episodes, failures(status)) == (0, {})  # a video without a task is done, not lost
    report = json.loads((tmp_path / "out" / "licences.json").read_text())
    assert [(it["stage"], it["what"], it["licence"]["name"]) for it in report["models"]] == [
        ("segment", "scripted", "none: no weights")
    ]
    assert [(it["licence"]["name"], it["videos"]) for it in report["data"]] == [("own recordings", 1)]


def test_a_configuration_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "ego.yaml"
    path.write_text("segment:\n  min_s: 3\n  model: {backend: server}\n")
    with pytest.raises(EgocentricConfigError, match=r"ego.yaml: segment.model: model: expected the name of a model"):
        load_config(path)
    assert load_config(path, ["segment.model=null", "frames.cut_above=0.4"]).frames.cut_above == 0.4
    for override, text in (("segment.min=1", "segment.min: expected no such field"), ("segment", "expected section.f")):
        with pytest.raises(EgocentricConfigError, match=text):
            load_config(None, [override])


def test_the_commands_name_what_failed_and_count_the_rest(corpus: Path, tmp_path: Path) -> None:
    words = ["run", str(corpus), "--out", str(tmp_path / "out"), "--segments", str(tmp_path / "segments.json")]
    runner = CliRunner(env={"COLUMNS": "160"})
    result = runner.invoke(app, ["ego", *words, "--set", "filter.enabled=false", "--until", "frames", "--workers", "1"])
    assert result.exit_code == 1
    lines = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in lines] == ["cut_short", "empty", "unnamed"]
    assert "6 items, 0.2 min of video; 3 in quarantine" in result.output
    assert "3 episodes" in result.output
    result = runner.invoke(app, ["ego", "status", str(tmp_path / "out")])
    assert result.exit_code == 0
    row = next(line for line in result.output.splitlines() if "segment │" in line)
    assert [cell.strip() for cell in row.split("│")[2:5]] == ["3", "1", "0"]
    assert "no run is at work" in result.output
    assert runner.invoke(app, ["ego", "status", str(tmp_path)]).exit_code == 1


@with_ray
def test_ray_makes_the_same_bytes_and_refuses_what_it_would_wait_for(corpus: Path, tmp_path: Path) -> None:
    run([corpus], tmp_path / "local", configured(corpus))
    run([corpus], tmp_path / "ray", configured(corpus), executor="ray")
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    running = {"resources": {"frames": {"gpus": 0.5, "processes": 20}}}
    with pytest.raises(EgocentricConfigError, match=r"running\.resources: expected 10 GPUs for every process, Ray has"):
        run([corpus], tmp_path / "ray", configured(corpus, running=running), executor="ray")


def _until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)
