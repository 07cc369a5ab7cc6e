"""Finding and ending processes: only those that this run started, known by the folder they work in."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
from pathlib import Path

from harness.wait import eventually

SERVER_PORTS = (20_000, 32_000)


def free_port() -> int:
    """A free loopback port below those that the system gives to clients: a client that knocks again and again while
    a server is away must not be given the server's own port."""
    while True:
        port = random.randrange(*SERVER_PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def processes_in(folder: Path, name: str | None = None) -> list[int]:
    """The processes whose environment names `folder`, and whose short name is `name` if one is given."""
    marker = os.fsencode(folder)
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if marker not in (entry / "environ").read_bytes():
                continue
            if (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                continue
            if name is None or (entry / "comm").read_text().strip() == name:
                found.append(int(entry.name))
    return found


def processes_working_in(folder: Path) -> list[int]:
    """The processes whose working directory is `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "cwd").readlink() == folder:
                    found.append(int(entry.name))
    return found


def end(pid: int, how: signal.Signals = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)


def end_all_in(folder: Path) -> None:
    """Ends whatever still works in `folder`, and waits until it is gone."""

    def nobody_left() -> bool:
        left = processes_in(folder)
        for pid in left:
            end(pid)
        return not left

    eventually(f"every process in {folder} is gone", nobody_left)


def listening_addresses(pid: int) -> set[str]:
    """The local TCP addresses (hexadecimal, as the kernel writes them) that a process listens on."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                addresses.add(fields[1].rpartition(":")[0])
    return addresses
