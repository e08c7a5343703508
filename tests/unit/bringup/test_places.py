"""What may be set over the network while nodes run: places of checkpoints, names and texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from activemimic_bringup.launching.parameters import NODES, RECORDER, refusal
from activemimic_policy.checked_policy import SHIPPED, CheckpointPlaceError, check_place, checkpoint_roots


def checkpoint(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).touch()
    return folder


def test_by_default_the_shipped_ones_and_the_neighbours_of_the_given_one_may_be_loaded(tmp_path: Path) -> None:
    given, beside = checkpoint(tmp_path / "run" / "a"), checkpoint(tmp_path / "run" / "b")
    roots = checkpoint_roots("", str(given))
    assert roots == [SHIPPED, tmp_path / "run"]
    for name in (str(given), str(beside), "reaching", str(tmp_path / "run" / "missing")):
        check_place(name, roots)
    assert checkpoint_roots("", "reaching") == [SHIPPED, SHIPPED]
    assert checkpoint_roots(f"{tmp_path}:/data", "") == [tmp_path, Path("/data")]


def test_elsewhere_is_refused_however_it_is_written(tmp_path: Path) -> None:
    elsewhere = checkpoint(tmp_path / "elsewhere")
    roots = [tmp_path / "roots"]
    inside = checkpoint(tmp_path / "roots" / "inside")
    (tmp_path / "roots" / "link").symlink_to(elsewhere)
    (tmp_path / "roots2").symlink_to(elsewhere)
    for name in (
        str(elsewhere),
        f"{inside}/../../elsewhere",
        str(tmp_path / "roots" / "link"),
        str(tmp_path / "roots2"),
        str(tmp_path / "roots"),
        "..",
        "",
    ):
        with pytest.raises(CheckpointPlaceError, match=f"expected it below {tmp_path / 'roots'} .checkpoint_roots."):
            check_place(name, roots)
    check_place(str(inside), roots)


def test_a_file_that_is_a_link_to_elsewhere_is_refused_and_named(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch()
    folder = checkpoint(tmp_path / "roots" / "a")
    store = tmp_path / "roots" / "blobs"
    store.mkdir()
    (store / "weights").touch()
    (folder / "more").symlink_to(store / "weights")
    check_place(str(folder), [tmp_path / "roots"])
    (folder / "tokenizer.json").symlink_to(secret)
    with pytest.raises(CheckpointPlaceError, match=f"{folder}/tokenizer.json, which is {secret}"):
        check_place(str(folder), [tmp_path / "roots"])


@pytest.mark.parametrize("task", ["../../elsewhere", "/etc", "..", ".", "", "a/b", "a\\b", "A", "a\n", "a" * 65, "-a"])
def test_a_task_is_a_name(task: str) -> None:
    assert refusal(RECORDER, {"seed": 1, "task": task}).startswith("parameter task: expected a name of at most 64")
    assert refusal(RECORDER, {"task": "restocking_2-left"}) == ""


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31m", "tab\t", "nul\0", "\u2028", "\x85", "a" * 1001])
def test_an_instruction_is_one_line(text: str) -> None:
    for node in ("recorder", "policy"):
        assert refusal(NODES[node], {"instruction": text}).startswith("parameter instruction: expected at most 1000")
        assert refusal(NODES[node], {"instruction": "把杯子放好 — naïve ✓"}) == ""


def test_every_text_that_may_be_set_while_a_node_runs_is_checked() -> None:
    unchecked = {
        (node, parameter.name)
        for node, parameters in NODES.items()
        for parameter in parameters
        if parameter.run_time and isinstance(parameter.default, str) and not (parameter.pattern or parameter.choices)
    }
    assert unchecked == {("controller", "operator")}, "which operator_key.Challenges judges"
