"""The operator's key: which answers count, and which files are keys."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from activemimic_bringup.nodes.operator_key import (
    KEPT,
    VALID_S,
    Challenges,
    OperatorKeyError,
    answer,
    controllers_key,
    read_key,
)

KEY, OTHER = b"k" * 64, b"o" * 64
LATER = int(VALID_S * 1e9) + 1


def test_the_right_answer_counts_once() -> None:
    challenges = Challenges(KEY)
    said = answer(KEY, "arm", challenges.new(0))
    assert challenges.judge(said, 5) == ("arm", "")
    assert challenges.judge(said, 6) == ("", "this challenge was not given, or is used up: ask for another")


def test_the_nonces_answer_is_of_no_use_for_another_word() -> None:
    challenges = Challenges(KEY)
    said = answer(KEY, "arm", challenges.new(0))
    assert challenges.judge("run" + said[3:], 1) == ("", "wrong operator key")
    assert challenges.judge(said, 2)[0] == "", "used up"


def test_another_key_an_old_nonce_and_one_that_was_never_given_do_not_count() -> None:
    challenges = Challenges(KEY)
    assert challenges.judge(answer(OTHER, "run", challenges.new(0)), 1) == ("", "wrong operator key")
    assert "older than 10 s" in challenges.judge(answer(KEY, "run", challenges.new(0)), LATER)[1]
    assert "was not given" in challenges.judge(answer(KEY, "run", "0" * 32), 0)[1]


@pytest.mark.parametrize("text", ["", "arm", "arm::", "hold:" + "0" * 32 + ":" + "0" * 64, "arm:" + "0" * 100_000])
def test_what_is_no_answer_is_told_so(text: str) -> None:
    assert Challenges(KEY).judge(text, 0) == ("", "not an answer: expected WORD:NONCE:HMAC, WORD one of arm, run")


def test_only_the_newest_nonces_are_kept_and_no_two_are_alike() -> None:
    challenges = Challenges(KEY)
    nonces = [challenges.new(number) for number in range(KEPT + 1)]
    assert len(set(nonces)) == KEPT + 1
    assert challenges.judge(answer(KEY, "arm", nonces[0]), 20)[0] == ""
    assert all(challenges.judge(answer(KEY, "arm", nonce), 20)[0] == "arm" for nonce in nonces[1:])


def test_a_key_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    made = controllers_key("", environment)
    path = tmp_path / "config" / "activemimic" / "operator_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["operator_key"]
    assert made is not None
    assert len(bytes.fromhex(made.decode())) == 32
    assert controllers_key("", environment) == made == read_key("", environment) == read_key(str(path))
    assert controllers_key("", {"HOME": str(tmp_path)}) != made


def test_off_is_said(tmp_path: Path) -> None:
    assert controllers_key("off", {"HOME": str(tmp_path)}) is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(KEY)
    for mode in (0o644, 0o640, 0o604):
        path.chmod(mode)
        with pytest.raises(OperatorKeyError, match=f"{path}: expected mode 0600, found {mode:04o}"):
            controllers_key(str(path))
    path.chmod(0o400)
    assert controllers_key(str(path)) == KEY


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(OperatorKeyError, match="No such file"):
        controllers_key(str(path))
    with pytest.raises(OperatorKeyError, match="Is a directory"):
        controllers_key(str(tmp_path))
    path.touch(mode=0o600)
    with pytest.raises(OperatorKeyError, match="expected at least 32 characters, found 0"):
        controllers_key(str(path))
    os.mkfifo(tmp_path / "pipe", 0o600)
    descriptor = os.open(tmp_path / "pipe", os.O_RDWR)  # so that opening it does not wait
    with pytest.raises(OperatorKeyError, match="found 0"):
        controllers_key(str(tmp_path / "pipe"))
    os.close(descriptor)


def test_where_no_key_can_be_made_it_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OperatorKeyError, match="cannot be made: Not a directory; give a file with operator_key_file:="):
        controllers_key("", {"XDG_CONFIG_HOME": str(tmp_path / "file")})
