"""What npm installed for the tests, and the programs of tests/node that use it. tests/run says where it is, otherwise it
is in the default build's folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness.hub import REPOSITORY

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
NODE_MODULES = Path(os.environ.get("CROSSDOCK_TEST_NODE_MODULES", TARGET / "test-node" / "node_modules"))
DEADLINE_S = 60


def node_says(program: str, *arguments: str, stdin: str = "") -> str:
    """What a program of tests/node prints, once it has ended well."""
    done = subprocess.run(
        ["node", str(REPOSITORY / "tests" / "node" / program), *arguments],
        input=stdin,
        env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
