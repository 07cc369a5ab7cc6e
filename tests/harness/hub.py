"""A real hub process in a folder of its own: started, asked, ended and started again like an operator's."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import requests

from harness.broker import Broker
from harness.postgres import Postgres
from harness.processes import end_all_in, free_port
from harness.reaper import leave_nothing_in
from harness.wait import eventually

READY_DEADLINE_S = 90
STOP_DEADLINE_S = 40
COMMAND_DEADLINE_S = 120
REPOSITORY = Path(__file__).resolve().parents[2]


def binaries() -> Path:
    """The folder with the built programs: tests/run says where, otherwise the default build's."""
    return Path(os.environ.get("CROSSDOCK_TEST_BINARIES", REPOSITORY / "target" / "debug"))


def clean_environment() -> dict[str, str]:
    """This process's environment without a setting that a developer may have for a hub of their own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")}


class Hub:
    """One hub: `config/` and `var/` below `folder`. With a broker it gets a virtual host there, without one it
    starts its private node; with a database server a database there, without one it keeps its record in SQLite.
    Manifests are given as text by name."""

    def __init__(
        self,
        manifests: dict[str, str],
        *,
        broker: Broker | None = None,
        database: Postgres | None = None,
        folder: Path | None = None,
        settings: str = "",
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="crossdock-hub-"))
        self.data = self.folder / "var"
        self.config = self.folder / "config" / "crossdock.toml"
        self.log_path = self.folder / "hub.log"
        self.url = f"http://127.0.0.1:{free_port()}"
        self.mqtt_port = free_port()
        self.broker = broker
        self.environment = {
            "CROSSDOCK_DATA_DIR": str(self.data),
            "CROSSDOCK_HTTP__LISTEN": self.url.removeprefix("http://"),
            "CROSSDOCK_MQTT__LISTEN": f"127.0.0.1:{self.mqtt_port}",
            **(environment or {}),
        }
        self.vhost = "/"
        if broker is not None:
            self.vhost = self.folder.name
            self.environment["CROSSDOCK_RABBITMQ__URL"] = broker.add_vhost(self.vhost)
            self.environment["CROSSDOCK_RABBITMQ__MANAGEMENT_URL"] = broker.management_url
        self.database = database
        if database is not None:
            self.environment["CROSSDOCK_DATABASE__URL"] = database.add_database(self.folder.name)
        self.process: subprocess.Popen[bytes] | None = None
        (self.config.parent / "adapters").mkdir(parents=True, exist_ok=True)
        self.config.write_text(settings)
        for name, text in manifests.items():
            self.write_manifest(name, text)
        leave_nothing_in(self.folder)

    def write_manifest(self, name: str, text: str) -> None:
        (self.config.parent / "adapters" / f"{name}.toml").write_text(text)

    def write_schema(self, event_type: str, text: str) -> None:
        folder = self.config.parent / "schemas"
        folder.mkdir(exist_ok=True)
        (folder / f"{event_type}.json").write_text(text)

    def write_state(self, text: str) -> None:
        (self.config.parent / "state.toml").write_text(text)

    # ── the process ──────────────────────────────────────────────────────────────────────────────────────────

    def start(self, *arguments: str, ready: bool = True, environment: dict[str, str] | None = None) -> Hub:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [str(binaries() / "crossdock"), "up", "--config", str(self.config), *arguments],
                cwd=self.folder,
                env={**clean_environment(), **self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if ready:
            self.wait_until_ready()
        return self

    def wait_until_ready(self, within_s: float = READY_DEADLINE_S) -> None:
        def ready() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"the hub ended with {self.process.returncode} while starting:\n{self.log()[-3000:]}"
                )
            return self.is_ready()

        eventually("the hub is ready", ready, within_s)

    def is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> int:
        """Asks the hub to step down and gives its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the hub did not stop within {STOP_DEADLINE_S} s of SIGTERM") from None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Whatever state it is in: afterwards nothing of it runs, and its virtual host is gone."""
        if self.running():
            self.kill()
        end_all_in(self.folder)
        if self.broker is not None:
            with contextlib.suppress(requests.RequestException):
                self.broker.api("DELETE", f"/vhosts/{quote(self.vhost, safe='')}")
        if self.database is not None:
            # Its server may be down, as the test left it.
            with contextlib.suppress(AssertionError):
                self.database.remove_database(self.database_url)

    @property
    def database_url(self) -> str:
        return self.environment["CROSSDOCK_DATABASE__URL"]

    def record(self) -> bytes:
        """All that the hub keeps in its database, whichever it is."""
        if self.database is not None:
            return self.database.dump(self.database_url.rpartition("/")[2])
        return b"".join(path.read_bytes() for path in self.data.glob("crossdock.db*"))

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # ── what an operator asks ────────────────────────────────────────────────────────────────────────────────

    @property
    def admin_key(self) -> str:
        return (self.data / "admin.key").read_text().strip()

    def request(self, method: str, path: str, *, key: str | None = None, **options) -> requests.Response:
        """An HTTP request; as the administrator unless another key is given, without any for an empty one."""
        headers = dict(options.pop("headers", {}))
        token = self.admin_key if key is None else key
        if token:
            headers["Authorization"] = f"Bearer {token}"
        options.setdefault("timeout", 30)
        return requests.request(method, self.url + path, headers=headers, **options)

    def get(self, path: str, **query) -> dict:
        answer = self.request("GET", path, params=query)
        assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def send(self, *events: dict, key: str | None = None) -> requests.Response:
        """Sends events as a batch, one event in structured mode."""
        kind = "cloudevents" if len(events) == 1 else "cloudevents-batch"
        body = json.dumps(events[0] if len(events) == 1 else events)
        headers = {"Content-Type": f"application/{kind}+json"}
        return self.request("POST", "/v1/events", key=key, headers=headers, data=body.encode())

    def must_accept(self, *events: dict, key: str | None = None) -> None:
        answer = self.send(*events, key=key)
        assert answer.status_code == 202, f"{answer.status_code} {answer.text}"
        assert answer.json() == {"accepted": len(events)}

    def command(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a `crossdock` command against this hub, in its folder, with the key in var/admin.key."""
        environment = clean_environment() | {
            "CROSSDOCK_URL": self.url,
            "CROSSDOCK_DATA_DIR": str(self.data),
        }
        return subprocess.run(
            [str(binaries() / "crossdock"), *arguments],
            cwd=self.folder,
            env=environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=COMMAND_DEADLINE_S,
            check=False,
        )

    def must(self, *arguments: str, stdin: str | None = None) -> str:
        """As `command`, but it has to succeed; gives what it printed."""
        done = self.command(*arguments, stdin=stdin)
        assert done.returncode == 0, f"crossdock {' '.join(arguments)}: {done.returncode}\n{done.stderr}"
        return done.stdout

    def all_events(self, **query) -> Iterator[dict]:
        """Every recorded event that matches, page by page."""
        cursor: str | None = None
        while True:
            page = self.get("/v1/events", limit=200, **query, **({"cursor": cursor} if cursor else {}))
            yield from page["events"]
            cursor = page.get("next")
            if cursor is None:
                return

    def credentials_path(self, adapter: str) -> Path:
        return self.data / "adapters" / f"{adapter}.env"

    def credentials(self, adapter: str) -> dict[str, str]:
        """What `apply` issued to an adapter: CROSSDOCK_AMQP_URL and its companions."""
        path = eventually(
            f"{adapter}'s credentials are issued",
            lambda: self.credentials_path(adapter).exists() and self.credentials_path(adapter),
        )
        return read_environment_file(path)

    def ledger(self) -> dict:
        return self.get("/v1/ledger")

    def adapter_ledger(self, name: str) -> dict:
        return next(row for row in self.ledger()["adapters"] if row["adapter"] == name)

    def wait_until_balanced(self, within_s: float = 30) -> dict:
        """Until nothing is on its way any more and the ledger balances."""

        def balanced() -> dict | None:
            ledger = self.ledger()
            waiting = ledger["waiting_in_ingress"] or any(row["in_flight"] for row in ledger["adapters"])
            waiting = waiting or ledger["settling"]
            return ledger if ledger["balanced"] and not waiting else None

        return eventually("the ledger balances with nothing in flight", balanced, within_s)


def read_environment_file(path: Path) -> dict[str, str]:
    lines = (line for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {name: value.strip().strip('"') for name, _, value in (line.partition("=") for line in lines)}


def timed(action) -> float:
    """How many seconds something took."""
    began = time.monotonic()
    action()
    return time.monotonic() - began
