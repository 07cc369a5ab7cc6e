"""MQTT servers that the tests start, Debian's mosquitto and the gateway that lets everybody in, and MQTT as bytes for
whoever sends what no client would."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TypeVar

from harness.hub import binaries
from harness.processes import free_port
from harness.reaper import leave_nothing_in
from harness.wait import eventually

HOST = "127.0.0.1"
START_DEADLINE_S = 20
STOP_DEADLINE_S = 20
# What the tests ask of the gateway beyond what everybody gets.
OPEN_GATEWAY = "open-gateway"
REFUSED_FILTER = "test/nosubscribe"

# Types of packets: the upper half of the first byte.
CONNACK, PUBLISH, PINGRESP, DISCONNECT = 2, 3, 13, 14

# Mosquitto without what would hold it back: its own bounds on clients, queues and messages on their way are off, and
# it sends at once, as the gateway does.
MOSQUITTO_SETTINGS = """\
allow_anonymous true
persistence false
max_connections -1
max_inflight_messages 0
max_queued_messages 0
max_queued_bytes 0
set_tcp_nodelay true
log_type error
log_type warning
"""

# A certificate and its key.
Tls = tuple[Path, Path]
T = TypeVar("T", bound="Server")


class Server:
    """A process that speaks MQTT over TCP and WebSocket, and over TLS if it is given a certificate and its key as PEM
    files. Its ports stay when it is started anew."""

    name = ""

    def __init__(self, *, tls: Tls | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"crossdock-{self.name}-"))
        self.port = free_port()
        self.websocket_port = free_port()
        self.tls_port = free_port()
        self.tls = tls
        self.log_path = self.folder / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.program = self.find()
        leave_nothing_in(self.folder)

    def find(self) -> Path:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def websocket_url(self) -> str:
        return f"ws://{HOST}:{self.websocket_port}/mqtt"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self: T) -> T:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=os.environ | {"FOLDER": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(f"{self.name} listens", self._listens, START_DEADLINE_S)
        return self

    def _listens(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {self.log()[-2000:]}")
        with contextlib.suppress(OSError):
            for port in (self.port, self.websocket_port, *([self.tls_port] if self.tls else [])):
                socket.create_connection((HOST, port), timeout=1).close()
            return True
        return False

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=STOP_DEADLINE_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> int:
        """Asks it to end, and gives its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=STOP_DEADLINE_S)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def wire(self, timeout_s: float = 2.0) -> Wire:
        """A connection on which nothing was said yet."""
        return Wire(self.port, timeout_s)


class Mosquitto(Server):
    """The broker that everybody knows, as the distribution has it."""

    name = "mosquitto"

    def find(self) -> Path:
        found = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        assert Path(found).exists(), "mosquitto is not installed: tests/run installs it"
        return Path(found)

    def command(self) -> list[str]:
        settings = self.folder / "mosquitto.conf"
        listeners = (
            f"listener {self.port} {HOST}\nlistener {self.websocket_port} {HOST}\nprotocol websockets\n"
        )
        if self.tls is not None:
            certificate, key = self.tls
            listeners += f"listener {self.tls_port} {HOST}\ncertfile {certificate}\nkeyfile {key}\n"
        # Started by root it would become another user, who may not read the folder.
        settings.write_text(f"user root\n{listeners}{MOSQUITTO_SETTINGS}")
        return [str(self.program), "-c", str(settings)]


class OpenGateway(Server):
    """The hub's gateway without the hub: everybody may do everything but subscribe to one filter, and no topic has a
    state."""

    name = OPEN_GATEWAY

    def find(self) -> Path:
        path = binaries() / OPEN_GATEWAY
        assert path.exists(), f"no {OPEN_GATEWAY} in {binaries()}: build it, or use tests/run"
        return path

    def command(self) -> list[str]:
        listeners = ["--tcp", self.address, "--websocket", f"{HOST}:{self.websocket_port}"]
        if self.tls is not None:
            certificate, key = self.tls
            listeners += [
                "--tls",
                f"{HOST}:{self.tls_port}",
                "--certificate",
                str(certificate),
                "--key",
                str(key),
            ]
        return [str(self.program), *listeners, "--refuse-filter", REFUSED_FILTER]


class Load:
    """The load generator of tests/mqtt; every measurement is a process of its own."""

    def __init__(self) -> None:
        self.program = binaries() / "mqtt-load"
        assert self.program.exists(), f"no mqtt-load in {binaries()}: build it, or use tests/run"

    def fanout(self, server: Server, *, within_s: float = 180, **options: object) -> dict:
        return self._run("fanout", ["--address", server.address, "--pid", str(server.pid)], options, within_s)

    def idle(
        self, server: Server, *, websocket: bool = False, within_s: float = 180, **options: object
    ) -> dict:
        address = f"{HOST}:{server.websocket_port}" if websocket else server.address
        door = [
            "--address",
            address,
            "--pid",
            str(server.pid),
            *(["--websocket", "/mqtt"] if websocket else []),
        ]
        return self._run("idle", door, options, within_s)

    def _run(self, what: str, door: list[str], options: dict[str, object], within_s: float) -> dict:
        given = [
            word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        done = subprocess.run(
            [str(self.program), what, *door, *given],
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        assert done.returncode == 0, f"mqtt-load {what}: {done.stderr}"
        return json.loads(done.stdout)


def server_under_test() -> type[Server]:
    """The open gateway. With CROSSDOCK_TEST_MQTT=mosquitto the peer, to see whether a test asks what can be had."""
    return Mosquitto if os.environ.get("CROSSDOCK_TEST_MQTT") == Mosquitto.name else OpenGateway


class Closed(Exception):
    """The server has ended the connection."""


class Wire:
    """One TCP connection, packet by packet as bytes. `TimeoutError` where nothing comes, `Closed` where nothing will."""

    def __init__(self, port: int, timeout_s: float = 2.0) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""

    def send(self, packet: bytes) -> None:
        # What was already refused may have closed it; that is seen when it is read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(packet)

    def receive(self, timeout_s: float | None = None) -> bytes:
        """The next packet, whole."""
        if timeout_s is not None:
            self.socket.settimeout(timeout_s)
        while True:
            end = first_packet_end(self._read)
            if end is not None:
                packet, self._read = self._read[:end], self._read[end:]
                return packet
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed
            self._read += more

    def connect(self, client_id: str, *, version: int = 4, keep_alive_s: int = 60) -> bytes:
        """Says who is there, and gives the CONNACK, which has to welcome."""
        self.send(connect_packet(client_id, version=version, keep_alive_s=keep_alive_s))
        answer = self.receive()
        assert answer[0] >> 4 == CONNACK and answer[3] == 0, f"CONNECT was answered {answer.hex()}"
        return answer

    def pings(self) -> bool:
        """Whether the server still answers on this connection; what else comes is passed over."""
        self.send(b"\xc0\x00")
        with contextlib.suppress(Closed, TimeoutError):
            while self.receive()[0] >> 4 != PINGRESP:
                pass
            return True
        return False

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def first_packet_end(read: bytes) -> int | None:
    """Where the first packet ends; none while it is not whole."""
    length = 0
    for at in range(1, min(len(read), 5)):
        length |= (read[at] & 0x7F) << (7 * (at - 1))
        if not read[at] & 0x80:
            end = at + 1 + length
            return end if len(read) >= end else None
    return None


def variable(number: int) -> bytes:
    """A number as MQTT writes lengths: 7 bits a byte, the lowest first."""
    written = b""
    while True:
        number, digit = divmod(number, 128)
        written += bytes([digit | (0x80 if number else 0)])
        if not number:
            return written


def packet(first: int, body: bytes) -> bytes:
    """A packet with the first byte and the body given."""
    return bytes([first]) + variable(len(body)) + body


def text(value: str) -> bytes:
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def connect_packet(
    client_id: str,
    *,
    version: int = 4,
    keep_alive_s: int = 60,
    clean: bool = True,
    session_expiry_s: int = 0,
) -> bytes:
    """A CONNECT; only MQTT 5 can say how long its session is kept."""
    name = text("MQIsdp" if version == 3 else "MQTT")
    said = b"\x11" + session_expiry_s.to_bytes(4, "big") if session_expiry_s else b""
    properties = variable(len(said)) + said if version == 5 else b""
    head = name + bytes([version, 2 if clean else 0]) + keep_alive_s.to_bytes(2, "big")
    return packet(0x10, head + properties + text(client_id))


def publish_packet(
    topic: str,
    payload: bytes,
    *,
    qos: int = 0,
    packet_id: int = 1,
    retain: bool = False,
    properties: bytes | None = None,
) -> bytes:
    """A PUBLISH, of 3.1.1 without properties."""
    number = packet_id.to_bytes(2, "big") if qos else b""
    said = b"" if properties is None else variable(len(properties)) + properties
    return packet(0x30 | qos << 1 | retain, text(topic) + number + said + payload)


def subscribe_packet(*filters: str, qos: int = 0, packet_id: int = 1) -> bytes:
    """A SUBSCRIBE of 3.1.1."""
    asked = b"".join(text(each) + bytes([qos]) for each in filters)
    return packet(0x82, packet_id.to_bytes(2, "big") + asked)


def serves(server: Server) -> bool:
    """Whether a client that has just come gets its own message back."""
    with server.wire() as wire:
        wire.connect("another")
        wire.send(subscribe_packet("another/topic"))
        wire.receive()
        wire.send(publish_packet("another/topic", b"still here"))
        return wire.receive().endswith(b"still here")
