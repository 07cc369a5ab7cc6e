"""What npm installed for the tests: tests/run says where, otherwise it is in the default build's folder."""

from __future__ import annotations

import os
from pathlib import Path

from harness.hub import REPOSITORY

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
NODE_MODULES = Path(os.environ.get("CROSSDOCK_TEST_NODE_MODULES", TARGET / "test-node" / "node_modules"))
