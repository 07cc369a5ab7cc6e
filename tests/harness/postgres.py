"""A PostgreSQL server of the tests' own, from the distribution's package: on a free loopback port, in its own folder.

Stands for the server that an operator brings. Hubs get a database each, so many can share it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from harness.processes import end, free_port, processes_working_in
from harness.reaper import leave_nothing_in
from harness.wait import eventually

START_DEADLINE_S = 60
STOP_DEADLINE_S = 60
DEBIAN = Path("/usr/lib/postgresql")
SYSTEM_USER = "postgres"

SETTINGS = """\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
fsync = on
synchronous_commit = on
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
log_line_prefix = '%m [%p] %d '
log_checkpoints = off
"""


def programs() -> Path:
    """The folder with the newest version's programs."""
    versions = [path for path in DEBIAN.glob("*/bin") if (path / "initdb").exists()]
    newest = max(versions, key=lambda path: int(path.parent.name), default=None)
    on_path = shutil.which("initdb")
    assert newest or on_path, "PostgreSQL is not installed: tests/run installs it"
    return newest or Path(on_path).parent


class Postgres:
    """`start` and `stop` as often as wanted: port, passwords and data stay the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.administrator = "administrator"
        self.password = secrets.token_hex(12)
        self.programs = programs()
        # PostgreSQL refuses to run as root.
        self._user = pwd.getpwnam(SYSTEM_USER) if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._make_data()
        leave_nothing_in(folder)

    def _make_data(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self.data.mkdir(mode=0o700)
        password = self.folder / "password"
        password.write_text(self.password)
        if self._user is not None:
            os.chown(self.data, self._user.pw_uid, self._user.pw_gid)
        self._run(
            "initdb",
            *("--pgdata", str(self.data), "--username", self.administrator),
            *("--pwfile", str(password), "--auth", "md5"),
            *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions"),
        )
        (self.data / "postgresql.auto.conf").write_text(SETTINGS + f"port = {self.port}\n")

    def _as_its_user(self) -> dict:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "FOLDER": str(self.folder)}

    def _run(self, program: str, *arguments: str, **options) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            env=self._environment() | options.pop("env", {}),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            **self._as_its_user(),
            **options,
        )
        assert done.returncode == 0, f"{program}: {done.stderr.decode(errors='replace')}"
        return done

    def start(self) -> Postgres:
        eventually("an earlier run is over", lambda: not processes_working_in(self.data), STOP_DEADLINE_S)
        with (self.folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(self.data)],
                env=self._environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as_its_user(),
            )
        eventually("PostgreSQL answers", self._answers, START_DEADLINE_S)
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended: {(self.folder / 'postgres.log').read_text()[-2000:]}")
        return self.sql("SELECT 1") == "1"

    def stop(self) -> None:
        """An orderly stop, as an operator's: clients are cut off."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As a power cut."""
        for pid in processes_working_in(self.data):
            end(pid)
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """The server hangs: connections stay open and nothing answers."""
        for pid in processes_working_in(self.data):
            end(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in processes_working_in(self.data):
            end(pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(how)
            self._process.wait(timeout=STOP_DEADLINE_S)
            self._process = None
        eventually("PostgreSQL has stopped", lambda: not processes_working_in(self.data), STOP_DEADLINE_S)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What a statement gives, run by the administrator: rows in lines, columns between bars."""
        arguments = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement]
        done = self._run("psql", *arguments, env=self._client(database), timeout=30)
        return done.stdout.decode().strip()

    def dump(self, database: str) -> bytes:
        """Everything that is kept in a database, as statements."""
        return self._run("pg_dump", env=self._client(database)).stdout

    def _client(self, database: str) -> dict[str, str]:
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": self.administrator,
            "PGPASSWORD": self.password,
            "PGDATABASE": database,
        }

    def add_database(self, name: str) -> str:
        """Makes a database with an owner of its own, and gives its URL."""
        name = re.sub(r"[^a-z0-9]+", "_", name.lower())
        password = secrets.token_hex(12)
        self.sql(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        self.sql(f"CREATE DATABASE {name} OWNER {name}")
        return f"postgres://{name}:{password}@127.0.0.1:{self.port}/{name}"

    def remove_database(self, url: str) -> None:
        name = url.rpartition("/")[2]
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.sql(f"DROP ROLE IF EXISTS {name}")
