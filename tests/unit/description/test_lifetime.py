"""A process ends with its launcher, and with nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from activemimic_description.common.lifetime import LAUNCHER_PID, lives

CHILD = (
    "import time; from activemimic_description.common.lifetime import end_with_launcher; "
    "end_with_launcher(); print('goes on', flush=True); time.sleep(30)"
)
LAUNCHER = f"""
import os, subprocess, sys, time
environment = {{**os.environ, {LAUNCHER_PID!r}: str(os.getpid())}}
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], env=environment, stdout=subprocess.PIPE, text=True)
print(child.stdout.readline(), child.pid, flush=True)
time.sleep(30)
"""


def child(launcher_pid: str) -> subprocess.Popen[str]:
    environment = {**os.environ, LAUNCHER_PID: launcher_pid}
    return subprocess.Popen([sys.executable, "-c", CHILD], env=environment, stdout=subprocess.PIPE, text=True)


def test_a_process_ends_when_its_launcher_is_killed() -> None:
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "goes on\n"
    pid = int(launcher.stdout.readline())
    launcher.kill()
    launcher.wait()
    deadline = time.monotonic() + 10.0
    while lives(pid):
        assert time.monotonic() < deadline, "it outlives its launcher"
        time.sleep(0.02)


def test_a_process_whose_launcher_is_gone_already_ends_at_once() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    for wait in (False, True):  # nobody may have noticed yet that it has ended
        if wait:
            gone.wait()
        else:
            os.waitid(os.P_PID, gone.pid, os.WEXITED | os.WNOWAIT)
        process = child(str(gone.pid))
        assert process.wait(timeout=20.0) == -signal.SIGTERM


def test_a_process_that_no_launcher_started_or_that_is_wrapped_goes_on() -> None:
    for launcher_pid in ("0", str(os.getppid())):
        process = child(launcher_pid)
        assert process.stdout is not None
        assert process.stdout.readline() == "goes on\n"
        process.kill()
        process.wait()


def test_a_lost_terminal_ends_a_process_unless_nohup_said_otherwise() -> None:
    script = (
        "from activemimic_description.common.lifetime import ending_signals; print(*(s.name for s in ending_signals()))"
    )
    for handler, names in ((signal.SIG_DFL, "SIGINT SIGTERM SIGHUP\n"), (signal.SIG_IGN, "SIGINT SIGTERM\n")):
        result = subprocess.run(
            [sys.executable, "-c", script],
            preexec_fn=lambda handler=handler: signal.signal(signal.SIGHUP, handler),
            capture_output=True,
            text=True,
        )
        assert result.stdout == names
