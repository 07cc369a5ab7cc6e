"""What README, the guide and `--help` print is true: every command in them is run as printed, in a copy of the
repository's top level, beside a hub with its demo."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.amqp import channel
from harness.documents import blocks, help_examples, script, subcommands
from harness.events import manifest
from harness.hub import REPOSITORY, Hub, binaries, clean_environment
from harness.wait import eventually

DOCUMENTS = (
    "README.md",
    "docs/browser-tokens.md",
    "docs/first-adapter.md",
    "docs/mappings.md",
    "docs/state.md",
    "docs/webhooks.md",
)
COPIED = ("README.md", "LICENSE", "config", "docs", "deploy", "crates/model/schemas", "tests/retail")
DEFAULT_URL = "http://127.0.0.1:8080"
DOCUMENT_DEADLINE_S = 180
EXAMPLE_DEADLINE_S = 60
ENDLESS_S = 4
ENDLESS = ("crossdock event tail",)
RUN_BY_THE_FIXTURE = ("crossdock up",)
DEAD_LETTER = "1042.erp"


class Copy:
    """A copy of what a reader has before them, with a hub running in it as they were told to run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, folder / name)
            elif source.exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, folder / name)
        for profile in ("light", "debug", "release"):
            (folder / "target").mkdir(exist_ok=True)
            (folder / "target" / profile).symlink_to(binaries())
        self.url = DEFAULT_URL if port_is_free(8080) else None

    def environment(self, hub: Hub) -> dict[str, str]:
        """The hub is the default one, unless its port is taken on this machine."""
        environment = clean_environment() | {"PATH": f"{binaries()}:{os.environ['PATH']}", "PAGER": "cat"}
        environment.pop("VIRTUAL_ENV", None)
        return environment if self.url else environment | {"CROSSDOCK_URL": hub.url}

    def run(self, hub: Hub, text: str, within_s: float) -> subprocess.CompletedProcess[str]:
        if not self.url:
            for host in ("127.0.0.1:8080", "localhost:8080"):
                text = text.replace(host, hub.url.removeprefix("http://"))
        return subprocess.run(
            ["bash", "-c", text],
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env=self.environment(hub),
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def place(shared_halls, tmp_path_factory) -> Iterator[tuple[Copy, Hub]]:
    copy = Copy(tmp_path_factory.mktemp("crossdock-reader"))
    # As the guide to webhooks has it started.
    hub = shared_halls.hub({}, folder=copy.folder, environment={"CROSSDOCK_OUTBOUND__ALLOW": "127.0.0.1"})
    if copy.url:
        hub.url = copy.url
        hub.environment["CROSSDOCK_HTTP__LISTEN"] = copy.url.removeprefix("http://")
    shutil.copytree(REPOSITORY / "config", copy.folder / "config", dirs_exist_ok=True)
    hub.start("--demo")
    eventually("the demo runs", lambda: hub.get("/v1/events", type="order.placed.v1")["events"], 60)
    yield copy, hub


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_holds_when_followed(place, document):
    copy, hub = place
    markdown = (REPOSITORY / document).read_text(encoding="utf-8")
    assert any(block.runs for block in blocks(markdown)), f"{document} has no command to run"
    done = copy.run(hub, script(markdown, document), DOCUMENT_DEADLINE_S)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_readme_shows_both_commands_at_once():
    first_screen = "\n".join((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()[:40])
    assert "deploy/up" in first_screen
    assert "tests/run" in first_screen


def every_help(arguments: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """`crossdock --help` and the help of everything below."""
    printed = subprocess.run(
        [str(binaries() / "crossdock"), *arguments, "--help"], capture_output=True, text=True, check=True
    ).stdout
    yield arguments, printed
    for name in subcommands(printed):
        yield from every_help((*arguments, name))


def a_dead_letter(copy: Copy, hub: Hub) -> str:
    """Lets an adapter without a second attempt reject an order of the demo; gives the dead letter's id."""
    unlucky = manifest("unlucky", subscribes=("order.placed.v1",), more="retry = { schedule = [] }")
    (copy.folder / "config" / "adapters" / "unlucky.toml").write_text(unlucky)
    hub.must("apply", "--config", str(copy.folder / "config" / "crossdock.toml"))
    url = hub.credentials("unlucky")["CROSSDOCK_AMQP_URL"]
    with channel(url, confirms=False) as own:

        def rejected() -> bool:
            method, _, _ = own.basic_get("crossdock.adapter.unlucky")
            if method is not None:
                own.basic_reject(method.delivery_tag, requeue=False)
            return method is not None

        eventually("an order is rejected", rejected, 60)
        own.connection.process_data_events(0)
    letters = eventually(
        "it is a dead letter", lambda: hub.get("/v1/dead-letters", adapter="unlucky")["dead_letters"], 30
    )
    return letters[0]["id"]


def test_help_examples_run_as_printed(place):
    copy, hub = place
    dead_letter = a_dead_letter(copy, hub)
    faults, seen = [], 0
    for arguments, printed in every_help():
        found = help_examples(printed)
        if not found and not subcommands(printed):
            faults.append(f"crossdock {' '.join(arguments)} --help has no example")
        for example in found:
            example = example.replace(DEAD_LETTER, dead_letter)
            seen += 1
            if example.startswith(RUN_BY_THE_FIXTURE):
                continue
            if example.startswith(ENDLESS):
                done = copy.run(
                    hub, f"timeout --preserve-status -s INT {ENDLESS_S} {example}", EXAMPLE_DEADLINE_S
                )
                good = done.returncode in (0, 130)
            else:
                done = copy.run(hub, f"set -e -o pipefail\n{example}\n", EXAMPLE_DEADLINE_S)
                good = done.returncode == 0
            if not good:
                faults.append(f"{example}: exit {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    assert seen > 10, "--help shows examples under 'Examples:'"
    assert not faults, "\n".join(faults)
