"""What a training step frees is kept for the next one."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# The pages that the second half of the rounds took anew.
ROUNDS = """
import resource, torch
from activemimic_training.trainer.optimization.memory import keep_freed_memory
{call}
for round in range(20):
    if round == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    rows = [torch.ones(10_000_000) for _ in range(3)]
    del rows
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_taken(call: str) -> int:
    done = subprocess.run([sys.executable, "-c", ROUNDS.format(call=call)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_round_takes_no_pages_that_the_one_before_has_freed() -> None:
    assert pages_taken("keep_freed_memory()") < 0.01 * pages_taken("")
