"""A webhook receiver in the tests' own process: verifies what comes with the library of Standard Webhooks, writes it
down, and answers as the test wants it."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme
from standardwebhooks import Webhook

from harness.processes import free_port
from harness.wait import eventually

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ANSWER_DEADLINE_S = 120


@dataclass(frozen=True)
class Got:
    """One request as it came, verified."""

    at: float
    headers: dict[str, str]
    body: bytes
    event: dict

    @property
    def id(self) -> str:
        return self.event["id"]

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Answer:
    """An answer with a length and an end."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def give(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(self.status)
        for name, value in {"Content-Length": str(len(self.body)), **self.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(self.body)


@dataclass
class Endless:
    """A good head, and a body that goes on until the reader leaves."""

    status: int = 200

    def give(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.send_response(self.status)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b"x" * 1024)


@dataclass
class Held:
    """A line of the head, and nothing more until the test lets go."""

    let_go: threading.Event = field(default_factory=threading.Event)

    def give(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        with contextlib.suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            self.let_go.wait(ANSWER_DEADLINE_S)


class Receiver:
    """Listens from `start` on; `stop` and `start` as often as wanted, on the same port. `answer` is asked for each
    request, in the request's own thread."""

    def __init__(
        self,
        answer: Callable[[Got], Answer | Endless | Held] = lambda _: Answer(),
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        secret: str = SECRET,
    ) -> None:
        self.answer, self.tls, self.secret = answer, tls, secret
        self.port = free_port()
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}/in"
        self.faults: list[str] = []
        self.most_at_once = 0
        self._requests: list[Got] = []
        self._at_once = 0
        self._lock = threading.Lock()
        self._server: _Server | None = None

    def start(self) -> Receiver:
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        """From now on connections are refused, and open ones are cut."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut()
            self._server = None

    def requests(self) -> list[Got]:
        """Everything so far, in the order in which it came."""
        with self._lock:
            return list(self._requests)

    def ids(self) -> list[str]:
        return [got.id for got in self.requests()]

    def wait_for(self, *ids: str, within_s: float = 30) -> list[Got]:
        """Until every one of these events is here; gives their requests."""
        wanted = set(ids)

        def all_here() -> list[Got] | None:
            got = [one for one in self.requests() if one.id in wanted]
            return got if {one.id for one in got} == wanted else None

        return eventually(f"{len(wanted)} events are posted", all_here, within_s)

    def take(self, headers: dict[str, str], body: bytes) -> Got:
        Webhook(self.secret).verify(body, headers)
        got = Got(time.monotonic(), headers, body, json.loads(body))
        with self._lock:
            self._requests.append(got)
        return got

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", receiver.port), _Handler)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def finish_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:
        if self.receiver.tls is not None:
            request = self.receiver.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: socket.socket, client_address: tuple[str, int]) -> None:
        """Broken connections are the tests' business and not worth a word."""

    def cut(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with receiver.under_way():
            try:
                got = receiver.take(headers, body)
            except Exception as fault:
                receiver.faults.append(f"{type(fault).__name__}: {fault}")
                Answer(400).give(self)
                return
            receiver.answer(got).give(self)

    def log_message(self, format: str, *arguments: object) -> None:
        """The test has it all."""


class Authority:
    """A certificate authority, and the certificates of servers that it signs."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.pem = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.pem)

    def server(self, *names: str, **times) -> ssl.SSLContext:
        """A context for a server of these names; `times` are `not_before` and `not_after`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names, **times).configure_cert(context)
        return context
