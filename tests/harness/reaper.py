"""Ends what tests started when the tests themselves are killed and cannot: a process that is told the folders and
waits for its input to end.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from functools import cache
from pathlib import Path

from harness.processes import end_all_in

TESTS = Path(__file__).resolve().parents[1]


@cache
def reaper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness.reaper"],
        cwd=TESTS,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def leave_nothing_in(folder: Path) -> None:
    """From now on, whatever works in this folder ends with this process, however it ends."""
    told = reaper().stdin
    assert told is not None
    told.write(f"{folder}\n".encode())
    told.flush()


if __name__ == "__main__":
    folders = [Path(line.rstrip("\n")) for line in sys.stdin]
    for folder in folders:
        with contextlib.suppress(AssertionError):
            end_all_in(folder)
