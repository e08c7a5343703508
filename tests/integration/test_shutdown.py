"""Nodes end cleanly, whatever the signal and however often it comes; `activemimic up` ends all of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from activemimic_description.contract import load_contract

from .checkpoints import untrained_checkpoint
from .conftest import World, wait_until

CONTRACT = load_contract("g1_sim")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_checkpoint(tmp_path_factory.mktemp("policy") / "checkpoint", CONTRACT)


@pytest.mark.parametrize(
    "signals", [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)], ids=["int", "term", "int-int"]
)
def test_nodes_end_with_0(world: World, checkpoint: Path, tmp_path: Path, signals: tuple[signal.Signals, ...]) -> None:
    processes = [world.launch("controller"), world.launch("recorder", out=str(tmp_path))]
    for process in processes:
        process.wait_for("ready")
    for number in signals:
        for process in processes:
            process.signal(number)
        time.sleep(0.02)
    for process in processes:
        assert process.ended() == 0, (process.name, process.text)
        assert "Traceback" not in process.text


def test_a_signal_while_a_node_starts_ends_it_too(world: World, checkpoint: Path) -> None:
    process = world.launch("policy", checkpoint=str(checkpoint))
    wait_until(lambda: process.catches(signal.SIGTERM), "the node to have begun")
    assert process.end(signal.SIGINT) == 0, process.text
    assert "Traceback" not in process.text


def up(world: World, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "activemimic_bringup.cli.main", "up", *words],
        env={**os.environ, "ROS_DOMAIN_ID": str(world.domain), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_up_ends_all_nodes_on_ctrl_c(world: World, tmp_path: Path) -> None:
    process = up(world, "record", f"out:={tmp_path}")
    assert process.stdout is not None
    lines = []
    while sum("ready" in line for line in lines) < 2:
        lines.append(process.stdout.readline())
        assert lines[-1], "".join(lines)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=15)
    assert process.returncode == 0, "".join(lines) + rest
    assert any(line.startswith("controller ") for line in lines)
    assert "Traceback" not in rest


def test_when_one_node_dies_up_says_which_and_ends_the_others(world: World) -> None:
    process = up(world, "policy", "contract:=g1_sim", "checkpoint:=nowhere")
    text, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "checkpoint nowhere" in text
    assert "node policy ended with exit code 2; ending the others" in text
