"""The interoperability tests of Eclipse Paho, run as they are: each test in a process of its own, against a server of
its own, many at once, for they wait more than they work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.mqtt import HOST, Server, server_under_test
from harness.node import TARGET

REPOSITORY = "https://github.com/eclipse/paho.mqtt.testing"
COMMIT = "9d7bb80bb8b9d9cfc0b52f8cb4c1916401281103"
FETCH_DEADLINE_S = 120
TEST_DEADLINE_S = 90
AT_ONCE = 12
# What the suite's own main sets before unittest's; the one of 3.1.1 cannot be told a port.
RUNNER = """
import importlib, sys, unittest
suite, test, host, port = sys.argv[1:]
module = importlib.import_module(suite)
module.host, module.port, module.topic_prefix = host, int(port), "client_test5/"
module.topics = ("TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA")
module.wildtopics = ("TopicA/+", "+/C", "#", "/#", "/+", "+/+", "TopicA/#")
module.nosubscribe_topics = ("test/nosubscribe",)
unittest.main(module=module, argv=["paho", f"Test.{test}"])
"""


def checkout() -> Path | None:
    """The tests' folder: CROSSDOCK_TEST_PAHO names a checkout; without it they are fetched from GitHub once, none where
    that cannot be reached."""
    given = os.environ.get("CROSSDOCK_TEST_PAHO")
    folder = Path(given) if given else TARGET / "test-paho"
    if not given and not (folder / "fetched").exists() and not fetch(folder):
        return None
    found = folder / "interoperability"
    assert found.is_dir(), f"no Paho interoperability tests in {folder}"
    return found


def fetch(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for command in (
        ["init", "--quiet"],
        ["fetch", "--quiet", "--depth", "1", REPOSITORY, COMMIT],
        ["checkout", "--quiet", "FETCH_HEAD"],
    ):
        try:
            done = subprocess.run(
                ["git", *command], cwd=folder, capture_output=True, timeout=FETCH_DEADLINE_S, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        if done.returncode != 0:
            return False
    (folder / "fetched").touch()
    return True


def run(folder: Path, tests: list[tuple[str, str]]) -> dict[tuple[str, str], str | None]:
    """Runs (suite, test) pairs; gives none for each that passed, what it said for the others."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(tests, pool.map(lambda test: run_one(folder, *test), tests), strict=True))


def run_one(folder: Path, suite: str, test: str) -> str | None:
    server: Server = server_under_test()().start()
    try:
        done = subprocess.run(
            [sys.executable, "-c", RUNNER, suite, test, HOST, str(server.port)],
            cwd=folder,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TEST_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as never:
        said = never.stdout.decode(errors="replace") if isinstance(never.stdout, bytes) else never.stdout
        return f"not done within {TEST_DEADLINE_S} s\n{said or ''}"
    else:
        if not server.running():
            return f"it ended the server: {server.log()[-2000:]}"
        return None if done.returncode == 0 else done.stdout
    finally:
        server.end()
