"""Whatever a task, an instruction or a file is called, every page shows it as text."""

from __future__ import annotations

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import jinja2
import numpy as np
import pytest
from activemimic_bringup.demo.demo_page import DemoView, TrialView
from activemimic_bringup.demo.shipped import ShippedView
from activemimic_data.dataset.read import EpisodeRow
from activemimic_rollout.reports.html import data_uri, render
from activemimic_rollout.reports.report import ReportView
from activemimic_rollout.reports.run_trace import RunView
from activemimic_rollout.trials.results import Protocol, Trial
from activemimic_training.analysis import inspect_page, open_loop_page
from activemimic_training.analysis.inspect import InspectReport, SlotSummary
from activemimic_training.egocentric.ingest.item import LeftOut
from activemimic_training.egocentric.quality.quality import Finding
from activemimic_training.egocentric.run.status import Quarantined
from activemimic_training.egocentric.viewer.corpus_page import CorpusPage
from activemimic_training.egocentric.viewer.corpus_view import CorpusView
from activemimic_training.egocentric.viewer.episode_page import EpisodePage
from test_architecture import FOLDERS

EVIL = """</script><script>alert('1')</script><img src="x" onerror="alert(2)">&lt;{{ 7 * 7 }}"""
PNG = b"a picture"


def slot() -> SlotSummary:
    return SlotSummary(
        EVIL, EVIL, np.nan, np.nan, 0, 0, 0, 0, 0, 0, near_constant=True, rows_out_of_range=1, farthest_z=9
    )


def inspect_view() -> inspect_page.InspectView:
    dataset = SimpleNamespace(interface={"robot": EVIL}, fingerprint=EVIL, bags=[{"bag": EVIL}])
    row = EpisodeRow(0, 0, 5, EVIL)
    report = InspectReport(Path(EVIL), 30, 5, [EVIL], [row], [slot()], {EVIL: (1.0, 2.0)}, 0, [], [])
    shown = [inspect_page.EpisodeView(row, {EVIL: PNG}, PNG)]
    described = inspect_page.DatasetView(EVIL, dataset, report, [EVIL], shown)  # type: ignore[arg-type]
    return inspect_page.InspectView([EVIL, EVIL], [described], PNG, PNG, PNG, [EVIL], [[EVIL] * 4])


def corpus_page() -> CorpusPage:
    words = Counter({EVIL: 40, **{str(number): 1 for number in range(40)}})
    licence = {"name": EVIL, "commercial": None, "gated": True}
    licences = {
        "models": [{"stage": EVIL, "what": EVIL, "licence": licence}],
        "data": [{"what": EVIL, "videos": 1, "licence": licence}],
    }
    corpus = CorpusView(1, verbs=words, nouns=words, tasks=words, hands=words, licences=licences)
    corpus.reasons["segment"] = words
    corpus.findings = Counter({(EVIL, EVIL): 1})
    corpus.quarantined = [Quarantined(EVIL, EVIL, EVIL)] * 101
    corpus.left_out = [LeftOut(EVIL, EVIL)]
    return CorpusPage(Path(EVIL), corpus, PNG, PNG)


def report_view() -> ReportView:
    protocol = Protocol("lockstep", EVIL, EVIL, EVIL, 22.0)
    failed = Trial(0, 1, 4, False, 0, EVIL, EVIL, 9.0, {EVIL: 0.0})
    media = ["media/head.png", "media/grips.png", "trials/000.mp4"]
    return ReportView(protocol, [failed], EVIL, [(EVIL, EVIL)], [(EVIL, 1)], [EVIL], media)


TRIAL = TrialView(EVIL, 1, False, 9.0, EVIL, [EVIL])
SHARES = {EVIL: {"observed": 1.0, "interpolated": 0.0, "missing": 0.0}}
FINDING = Finding(EVIL, EVIL, EVIL, 0, 1, EVIL)  # type: ignore[arg-type]
ROW = (EVIL,) * 4
PAGES = {
    ("activemimic_rollout.reports", "report.html"): report_view(),
    ("activemimic_rollout.reports", "run_trace.html"): RunView(EVIL, EVIL, PNG, [ROW], [ROW], [ROW]),
    ("activemimic_bringup.demo", "from_scratch.html"): DemoView(
        EVIL, [(EVIL, EVIL, EVIL)], EVIL, [TRIAL], [TRIAL], {EVIL: EVIL}
    ),
    ("activemimic_bringup.demo", "shipped.html"): ShippedView({EVIL: [TRIAL]}, ROW, [ROW], [ROW], EVIL),
    ("activemimic_training.analysis", "inspect.html"): inspect_view(),
    ("activemimic_training.analysis", "open_loop.html"): open_loop_page.OpenLoopView(
        EVIL, EVIL, 1, 1, 1, [EVIL], [ROW], [open_loop_page.EpisodeView(0, EVIL, PNG, PNG, EVIL)]
    ),
    ("activemimic_training.egocentric.viewer", "episode.html"): EpisodePage(
        EVIL, EVIL, [EVIL], PNG, SHARES, [FINDING], {EVIL: EVIL}, {"frames": 1, "fps": 10, "names": [EVIL]}
    ),
    ("activemimic_training.egocentric.viewer", "corpus.html"): corpus_page(),
}


class Browser(HTMLParser):
    """The elements of a page, what is written in it, and what its scripts are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts = "", []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts.append(data)
        else:
            self.text += data


def test_every_page_is_here() -> None:
    found = {
        (".".join(path.parent.parent.relative_to(folder).parts), path.name)
        for folder in FOLDERS.values()
        for path in folder.glob("activemimic_*/**/templates/*.html")
        if '{% extends "base.html" %}' in path.read_text(encoding="utf-8")
    }
    assert found == {*PAGES}


@pytest.mark.parametrize(("package", "template"), PAGES)
def test_what_others_wrote_is_text(package: str, template: str) -> None:
    browser = Browser(render(package, template, PAGES[package, template]))
    assert EVIL in browser.text
    assert not [name for _, attributes in browser.elements for name in attributes if name.startswith("on")]
    assert len([tag for tag, _ in browser.elements if tag == "script"]) == (2 if template == "episode.html" else 0)
    assert not [tag for tag, attributes in browser.elements if attributes.get("src") == "x"]


def test_the_data_of_a_script_comes_through_as_it_was() -> None:
    page = PAGES["activemimic_training.egocentric.viewer", "episode.html"]
    data, script = Browser(render("activemimic_training.egocentric.viewer", "episode.html", page)).scripts
    assert json.loads(data)["names"] == [EVIL]
    assert "alert" not in script


def test_what_a_view_does_not_have_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="name"):
        render("activemimic_rollout.reports", "run_trace.html", SimpleNamespace())


def test_a_file_is_its_own_address() -> None:
    assert data_uri(b"\x00\xff", "image/jpeg") == "data:image/jpeg;base64,AP8="
