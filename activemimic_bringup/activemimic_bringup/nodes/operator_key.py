"""The operator's key: who holds it may arm and run the robot. A challenge and its answer; the key stays in its file.

The controller gives out a nonce, which counts once and for VALID_S. Whoever wants to say a word answers
`word:nonce:HMAC-SHA256(key, "word:nonce")`: what is heard on the way is of no use to anybody.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from activemimic_description.common.errors import InvalidInputError

OFF = "off"
KEYED_WORDS = ("arm", "run")
VALID_S = 10.0
KEPT = 8  # nonces that are open at once
MIN_CHARACTERS = 32
MAX_CHARACTERS = 4096

_ANSWER = re.compile(r"(arm|run):([0-9a-f]{32}):([0-9a-f]{64})")


class OperatorKeyError(InvalidInputError):
    """A key that cannot be used; the text names the file, what was expected and found."""


class Challenges:
    """The controller's side: gives out nonces and judges answers. Times are of a steady clock, in ns."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._given_ns: dict[str, int] = {}

    def new(self, now_ns: int) -> str:
        """A nonce; the oldest of more than KEPT is forgotten."""
        nonce = secrets.token_hex(16)
        self._given_ns[nonce] = now_ns
        while len(self._given_ns) > KEPT:
            del self._given_ns[next(iter(self._given_ns))]
        return nonce

    def judge(self, text: str, now_ns: int) -> tuple[str, str]:
        """The word that an answer says and "", or "" and why it does not count. The nonce is used up either way."""
        match = _ANSWER.fullmatch(text)
        if match is None:
            return "", "not an answer: expected WORD:NONCE:HMAC, WORD one of arm, run"
        word, nonce, _ = match.groups()
        given_ns = self._given_ns.pop(nonce, None)
        if given_ns is None:
            return "", "this challenge was not given, or is used up: ask for another"
        if now_ns - given_ns > VALID_S * 1e9:
            return "", f"this challenge is older than {VALID_S:g} s: ask for another"
        if not hmac.compare_digest(text, answer(self._key, word, nonce)):
            return "", "wrong operator key"
        return word, ""


def answer(key: bytes, word: str, nonce: str) -> str:
    """What the holder of the key says to a challenge."""
    said = f"{word}:{nonce}"
    return f"{said}:{hmac.new(key, said.encode(), 'sha256').hexdigest()}"


def read_key(setting: str, environment: Mapping[str, str] = os.environ) -> bytes:
    """The key in the file `setting`, by default in the user's own.

    Raises OperatorKeyError if there is none, others may read it, or it is too short.
    """
    path = _path(setting, environment)
    try:
        # Without waiting: a pipe in its place would be waited for, for ever.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            about = os.fstat(file.fileno())
            text = file.read(MAX_CHARACTERS).strip() if stat.S_ISREG(about.st_mode) else b""
    except OSError as error:
        raise OperatorKeyError(
            f"operator key {path}: {error.strerror}; give the file of the key that the controller has, which is "
            f"{_path('', environment)} of the user who started it unless its operator_key_file names another"
        ) from None
    if about.st_mode & 0o077:
        raise OperatorKeyError(
            f"operator key {path}: expected mode 0600, found {stat.S_IMODE(about.st_mode):04o}: others may read it; "
            f"make a new key (remove the file), or chmod 600 it if nobody did"
        )
    if len(text) < MIN_CHARACTERS:
        raise OperatorKeyError(f"operator key {path}: expected at least {MIN_CHARACTERS} characters, found {len(text)}")
    return text


def controllers_key(setting: str, environment: Mapping[str, str] = os.environ) -> bytes | None:
    """The key that the controller asks for, or None if it is switched off; the user's own is made if it is missing.

    Raises OperatorKeyError as `read_key` does, and if no key can be made.
    """
    if setting == OFF:
        return None
    if not setting:
        path = _path("", environment)
        try:
            _make(path)
        except OSError as error:
            raise OperatorKeyError(
                f"operator key {path}: cannot be made: {error.strerror}; give a file with operator_key_file:=FILE, or "
                f"switch the key off with operator_key_file:={OFF}"
            ) from None
    return read_key(setting, environment)


def _path(setting: str, environment: Mapping[str, str]) -> Path:
    if setting:
        return Path(setting)
    home = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME") or "/") / ".config")
    return Path(home) / "activemimic" / "operator_key"


def _make(path: Path) -> None:
    """Unless it is there. Written beside its place and linked, so that of two who make it both read the same."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
        os.link(partial, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(partial)
