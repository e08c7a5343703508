"""`activemimic bag info`, `validate` and `recover`, as they are typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from activemimic_bringup.cli.main import app
from activemimic_data.bags import command_sources, load_episode_info
from activemimic_description.stack_topics import CONTROL, DIAGNOSTICS
from synthetic import write_episode
from typer.testing import CliRunner, Result


def run(*words: object) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, ["bag", *map(str, words)])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good episodes and a slow one; read only."""
    root = tmp_path_factory.mktemp("recorded")
    for number in range(2):
        write_episode(root / f"reaching_{number:06d}", frames=15, seed=number)
    write_episode(root / "slow", frames=15, without_images=("head", range(0, 15, 2)), outcome="failure")
    return root


def damaged(recorded: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "reaching_000000"
    shutil.copytree(recorded / "reaching_000000", folder)
    (file,) = folder.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-100])
    return folder


def test_info_tells_what_episodes_are_about(recorded: Path) -> None:
    result = run("info", recorded)
    assert result.exit_code == 0, result.output
    for words in ("reaching_000001", "grasp the cube", "success", "failure", "/joint_states", "45"):
        assert words in result.output


def test_info_of_a_damaged_episode_names_it_and_goes_on(recorded: Path, tmp_path: Path) -> None:
    result = run("info", damaged(recorded, tmp_path), recorded / "slow")
    assert result.exit_code == 1
    assert "truncated or damaged" in result.output
    assert "failure" in result.output


def test_validate_exits_with_one_if_an_episode_is_bad(recorded: Path) -> None:
    good = run("validate", recorded / "reaching_000000", recorded / "reaching_000001")
    assert (good.exit_code, "2 episodes, 0 bad" in good.output) == (0, True), good.output
    bad = run("validate", recorded)
    assert (bad.exit_code, "3 episodes, 1 bad" in bad.output) == (1, True), bad.output
    assert "/camera/head_color/compressed: expected 30 Hz (contract)" in bad.output


def test_validate_prints_json_and_nothing_else(recorded: Path) -> None:
    result = run("validate", recorded, "--json")
    assert result.exit_code == 1
    verdicts = {Path(entry["folder"]).name: entry for entry in json.loads(result.stdout)}
    assert {name: entry["good"] for name, entry in verdicts.items()} == {
        "reaching_000000": True,
        "reaching_000001": True,
        "slow": False,
    }
    assert verdicts["slow"]["topics"][0]["expected_hz"] == 30


def test_recover_mends_what_is_damaged_and_leaves_the_rest(recorded: Path, tmp_path: Path) -> None:
    folder = damaged(recorded, tmp_path)
    whole = tmp_path / "whole"
    shutil.copytree(recorded / "reaching_000001", whole)
    result = run("recover", tmp_path)
    assert result.exit_code == 0, result.output
    assert f"{whole}: whole; nothing to recover" in result.output
    assert f"the original is now {folder}.damaged" in result.output
    assert load_episode_info(folder).messages == load_episode_info(recorded / "reaching_000000").messages


def test_the_topics_that_tell_who_moves_the_robot_have_one_name() -> None:
    assert (CONTROL.name, DIAGNOSTICS.name) == (command_sources.CONTROL, command_sources.DIAGNOSTICS)
