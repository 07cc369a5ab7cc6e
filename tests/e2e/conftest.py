"""What the end-to-end tests share: one RabbitMQ for all, hubs with a virtual host each, logs kept on failure."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Error as PlaywrightError

from harness.broker import Broker
from harness.browser import Browser, Theme, Visit
from harness.collector import Collector
from harness.endpoint import ENVIRONMENT, Places
from harness.hub import REPOSITORY, Hub, binaries
from harness.postgres import Postgres
from harness.receiver import Authority

HAS_FAILED = pytest.StashKey[bool]()
KEPT_LOGS = REPOSITORY / "target" / "test-logs"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    if report.failed:
        for node in item.listchain():
            node.stash[HAS_FAILED] = True
    return report


def pytest_terminal_summary(terminalreporter) -> None:
    """Says of each test that was tried once more what had not come in time."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.write_line(f"RERUN {report.nodeid}: {report.longrepr.reprcrash.message}")


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A RabbitMQ that the hubs of this run share; whoever stops or freezes one takes a node of their own."""
    folder = Path(tempfile.mkdtemp(prefix="crossdock-broker-"))
    node = Broker(folder)
    try:
        yield node.start()
    finally:
        node.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL that the hubs of this run share; whoever stops or freezes one takes a server of their own."""
    folder = Path(tempfile.mkdtemp(prefix="crossdock-postgres-"))
    server = Postgres(folder)
    try:
        yield server.start()
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Postgres | None:
    """Where a hub keeps its record: what must hold on one must hold on the other."""
    return request.getfixturevalue("postgres") if request.param == "postgresql" else None


class Halls:
    """Makes hubs and collectors, and ends them all."""

    def __init__(self) -> None:
        assert (binaries() / "crossdock").exists(), f"no hub in {binaries()}: build it, or use tests/run e2e"
        self._hubs: list[Hub] = []
        self._brokers: list[Broker] = []
        self._databases: list[Postgres] = []
        self._collectors: list[Collector] = []

    def hub(self, manifests: dict[str, str], **options) -> Hub:
        """A hub that is not started yet."""
        made = Hub(manifests, **options)
        self._hubs.append(made)
        return made

    def broker(self) -> Broker:
        """A RabbitMQ of the test's own, not started yet."""
        made = Broker(Path(tempfile.mkdtemp(prefix="crossdock-broker-")))
        self._brokers.append(made)
        return made

    def postgres(self) -> Postgres:
        """A PostgreSQL of the test's own, not started yet."""
        made = Postgres(Path(tempfile.mkdtemp(prefix="crossdock-postgres-")))
        self._databases.append(made)
        return made

    def collector(self, hub: Hub, name: str, **options) -> Collector:
        made = Collector(hub, name, **options)
        self._collectors.append(made)
        return made.start()

    def end(self, keep_as: str | None) -> None:
        for collector in self._collectors:
            collector.kill()
        for hub in self._hubs:
            hub.end()
            keep(hub.folder, keep_as)
        for broker in self._brokers:
            broker.kill()
            keep(broker.folder, keep_as)
        for database in self._databases:
            database.kill()
            keep(database.folder, keep_as)


def keep(folder: Path, name: str | None) -> None:
    """Keeps a failed test's logs where they can be read, and removes the folder."""
    if name is not None:
        place = KEPT_LOGS / name / folder.name
        for log in [*folder.rglob("*.log"), *folder.glob("*.deliveries")]:
            (place / log.relative_to(folder).parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(log, place / log.relative_to(folder))
        print(f"logs kept in {place}")
    shutil.rmtree(folder, ignore_errors=True)


def halls_for(request: pytest.FixtureRequest) -> Iterator[Halls]:
    halls = Halls()
    try:
        yield halls
    finally:
        failed = request.node.stash.get(HAS_FAILED, False)
        halls.end(folder_name(request) if failed else None)


def folder_name(request: pytest.FixtureRequest) -> str:
    """A test's name, or its module's, as a folder may be called."""
    return request.node.nodeid.replace("/", ".").replace("::", ".")


@pytest.fixture
def halls(request: pytest.FixtureRequest) -> Iterator[Halls]:
    """Hubs for one test."""
    yield from halls_for(request)


@pytest.fixture(scope="module")
def shared_halls(request: pytest.FixtureRequest) -> Iterator[Halls]:
    """Hubs for the tests of one module, which leave each other alone by using ids of their own."""
    yield from halls_for(request)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def webhook_hub(shared_halls, broker, authority) -> Hub:
    """A hub that trusts the authority and may call the receivers of the tests."""
    environment = ENVIRONMENT | {"SSL_CERT_FILE": str(authority.pem)}
    return shared_halls.hub({}, broker=broker, environment=environment).start()


@pytest.fixture
def places(webhook_hub) -> Iterator[Places]:
    """Webhook adapters for one test."""
    made = Places(webhook_hub)
    yield made
    made.end()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium that the tests of this run share; a visit has a profile of its own."""
    made = Browser()
    yield made
    made.end()


@pytest.fixture
def visit(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens browser profiles for one test; keeps pictures of what they showed when it fails."""
    visits: list[Visit] = []

    def begin(hub: Hub | None = None, theme: Theme = "light") -> Visit:
        visits.append(browser.visit(hub, theme))
        return visits[-1]

    yield begin
    for number, visit in enumerate(visits, start=1):
        if request.node.stash.get(HAS_FAILED, False):
            picture = KEPT_LOGS / folder_name(request) / f"browser-{number}.png"
            with contextlib.suppress(PlaywrightError):
                visit.page.screenshot(path=picture, full_page=True)
                print(f"picture kept in {picture}")
        visit.end()


@pytest.fixture(scope="session")
def sample_data() -> Callable[[str], Path]:
    """Finds a folder of the sample data; a test that needs one is skipped, and says so, where there is none."""

    def find(name: str) -> Path:
        base = Path(os.environ.get("CROSSDOCK_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
        folder = base / name
        if not folder.is_dir():
            pytest.skip(f"THE SAMPLE DATA IS NOT HERE: {folder}; set CROSSDOCK_TEST_DATA to its folder")
        return folder

    return find
