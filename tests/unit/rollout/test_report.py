"""The page of an evaluation: it counts right, links only what is there, and escapes what trials say."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from activemimic_rollout.reports.report import chunks_text, reached, write_report
from activemimic_rollout.reports.trace import SEEN_PX, Grip, Trace
from activemimic_rollout.trials.results import Protocol, ResultsError, Trial, save_trials

STAGES = ("start", "reached", "grasped", "lifted")


def trial(number: int, stage: str, success: bool = False, failure: str = "") -> Trial:
    return Trial(number, 1_000_000 + number, 4, success, int(success), stage, failure, 9.0, {"start": 0.0, stage: 3.5})


TRIALS = [
    trial(0, "lifted", success=True),
    trial(1, "grasped", failure="dropped <twice>"),
    trial(2, "start", failure="not done within 22 s"),
]


@pytest.fixture
def page(tmp_path: Path) -> str:
    protocol = Protocol("lockstep", "reaching", "out/policy", "reaching", 22.0, perturbations=["without_head"])
    save_trials(tmp_path / "results.json", protocol, TRIALS)
    slots = {name: [0.0, 0.1] for name in Trace().slots}
    grips = {"cube": [Grip("right", -0.03, 0.01, 0.0, 0.0), Grip("right", 0.0, 0.0, 0.0, 0.4)]}
    trace = Trace([0.0, 0.1], ["start", "start"], [0, SEEN_PX], slots, grips)
    trace.write(tmp_path / "trials" / "000.csv")
    (tmp_path / "trials" / "001.mp4").write_bytes(b"a video")
    return write_report(tmp_path).read_text()


def test_the_funnel_counts_who_came_at_least_so_far() -> None:
    assert reached(TRIALS, STAGES) == [3, 2, 2, 1, 1]


def test_rejected_chunks_are_counted_by_reason() -> None:
    controllers = ({"accepted_policy": "7", "rejected_speed": "2"}, {"accepted_policy": "3", "rejected_start": "1"}, {})
    trials = [replace(TRIALS[0], diagnostics={"controller": counters}) for counters in controllers]
    assert chunks_text(trials) == "10 accepted, 3 rejected (speed 2, start 1)"


def test_the_page_says_what_was_tried_and_how_it_went(page: str) -> None:
    for text in ("out/policy succeeded", "1 of 3 (33 %", "without_head", "1 of 3</td>", "in lock-step"):
        assert text in page
    assert page.count("<details>") == 3
    assert "dropped &lt;twice&gt;" in page


def test_the_page_links_only_what_is_there(page: str, tmp_path: Path) -> None:
    links = re.findall(r'src="([^"]+)"', page)
    assert set(links) == {"media/funnel.png", "media/head.png", "media/grips.png", "trials/001.mp4"}
    assert all((tmp_path / link).is_file() for link in links)


def test_without_results_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="there is no such results file"):
        write_report(tmp_path)
