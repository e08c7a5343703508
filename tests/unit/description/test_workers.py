"""Worker processes do not outlive whoever started them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from activemimic_description.common.workers import worker_pool

SCRIPT = """
import sys, time
from pathlib import Path
from activemimic_description.common.workers import worker_pool

def work(folder):
    import os
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)

if __name__ == "__main__":
    with worker_pool(1) as pool:
        pool.submit(work, sys.argv[1]).result()
"""


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "State:\tZ" not in status  # an orphan is waited for by whoever adopts it; until then it is a zombie


def test_a_killed_process_takes_its_busy_workers_with_it(tmp_path: Path) -> None:
    script, pids = tmp_path / "script.py", tmp_path / "pids"
    script.write_text(SCRIPT)
    pids.mkdir()
    parent = subprocess.Popen([sys.executable, str(script), str(pids)])
    deadline = time.monotonic() + 30
    while not (found := list(pids.iterdir())):
        assert time.monotonic() < deadline, "no worker started"
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    worker = int(found[0].name)
    while alive(worker):
        assert time.monotonic() < deadline, "the worker lives on"
        time.sleep(0.05)


def test_work_is_done_in_other_processes() -> None:
    with worker_pool(2) as pool:
        assert os.getpid() not in set(pool.map(_pid, range(2)))


def _pid(_: int) -> int:
    return os.getpid()
