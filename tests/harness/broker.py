"""A RabbitMQ node of the tests' own, on free loopback ports, in its own folder.

Stands for the broker that an operator brings. Hubs get a virtual host each, so many can share it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import requests

from harness.processes import end, end_all_in, free_port, processes_in
from harness.reaper import leave_nothing_in
from harness.wait import eventually

BOOT_DEADLINE_S = 90
SERVER_SCRIPTS = Path("/usr/lib/rabbitmq/bin")


class Broker:
    """`start` and `stop` as often as wanted: ports, user and data stay the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = "operator"
        self.password = secrets.token_hex(12)
        self.amqp_port, self.management_port = free_port(), free_port()
        self.dist_port, self.epmd_port = free_port(), free_port()
        self.management_url = f"http://127.0.0.1:{self.management_port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._write_configuration()
        leave_nothing_in(folder)

    def _write_configuration(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "enabled_plugins").write_text(
            "[rabbitmq_consistent_hash_exchange,rabbitmq_management].\n"
        )
        (self.folder / "rabbitmq.conf").write_text(
            f"""\
listeners.tcp.1 = 127.0.0.1:{self.amqp_port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {self.management_port}
default_user = {self.user}
default_pass = {self.password}
disk_free_limit.absolute = 10MB
max_message_size = 2097152
log.console = false
"""
        )

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"tests-{self.amqp_port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.epmd_port),
        }

    def start(self) -> Broker:
        script = SERVER_SCRIPTS / "rabbitmq-server"
        command = str(script) if script.exists() else shutil.which("rabbitmq-server")
        assert command, "RabbitMQ is not installed: tests/run installs it"
        with (self.folder / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                [command],
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        eventually("RabbitMQ answers", self._answers, BOOT_DEADLINE_S)
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"RabbitMQ ended: {(self.folder / 'console.log').read_text()[-2000:]}")
        try:
            return self.api("GET", "/health/checks/port-listener/" + str(self.amqp_port)).ok
        except requests.ConnectionError:
            return False

    def stop(self) -> None:
        """An orderly stop, as an operator's."""
        for pid in processes_in(self.folder, "beam.smp"):
            end(pid, signal.SIGTERM)
        eventually("RabbitMQ has stopped", lambda: not processes_in(self.folder, "beam.smp"), 60)
        end_all_in(self.folder)
        self._reap()

    def kill(self) -> None:
        """As a power cut."""
        end_all_in(self.folder)
        self._reap()

    def freeze(self) -> None:
        """The node hangs: connections stay open and nothing answers."""
        for pid in processes_in(self.folder, "beam.smp"):
            end(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in processes_in(self.folder, "beam.smp"):
            end(pid, signal.SIGCONT)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(timeout=20)
            self._process = None

    def api(self, method: str, path: str, **options) -> requests.Response:
        """The management API, as the administrator."""
        return requests.request(
            method,
            f"{self.management_url}/api{path}",
            auth=(self.user, self.password),
            timeout=10,
            **options,
        )

    def add_vhost(self, name: str) -> str:
        """Makes a virtual host that the administrator may use, and gives its AMQP URL."""
        for path, body in (
            (f"/vhosts/{quote(name, safe='')}", {}),
            (
                f"/permissions/{quote(name, safe='')}/{self.user}",
                {"configure": ".*", "write": ".*", "read": ".*"},
            ),
        ):
            self.api("PUT", path, json=body).raise_for_status()
        return f"amqp://{self.user}:{self.password}@127.0.0.1:{self.amqp_port}/{quote(name, safe='')}"
