"""Where bad input is sent: one hub with adapters that behave, one that does not, and a neighbour who sends good
events beside each bad one."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPResponse
from urllib.parse import urlsplit

from harness.collector import Collector
from harness.events import manifest, parcel
from harness.hub import Hub

COUNTED, SCANNED = "parcel.counted.v1", "parcel.scanned.v1"
MANIFESTS = {
    # Sends what is bad.
    "rogue": manifest("rogue", publishes=(SCANNED, "order.placed.v1")),
    # Would get it if anything got through.
    "depot": manifest("depot", subscribes=("*.*.v1",)),
    # Publishes what the shop has schemas for.
    "press": manifest("press", publishes=("label.printed.v1", "tree.grown.v1", "thicket.grown.v1")),
    # Sends good events meanwhile.
    "corner": manifest("corner", publishes=(COUNTED,)),
    # Answer each other for ever.
    "ping": manifest("ping", publishes=("ball.pinged.v1",), subscribes=("ball.ponged.v1",)),
    "pong": manifest("pong", publishes=("ball.ponged.v1",), subscribes=("ball.pinged.v1",)),
}
"""Schemas of the shop's own; a tree refers to itself, level by level."""
SCHEMAS = {
    "label.printed.v1": """{
  "type": "object",
  "required": ["code"],
  "properties": {
    "code": { "type": "string", "pattern": "^(([a-z])+.)+[A-Z]([a-z])+$" }
  }
}
""",
    "tree.grown.v1": """{
  "$ref": "#/$defs/node",
  "$defs": {
    "node": {
      "type": "object",
      "properties": { "left": { "$ref": "#/$defs/node" }, "right": { "$ref": "#/$defs/node" } },
      "anyOf": [{ "required": ["left"] }, { "required": ["right"] }, { "required": ["leaf"] }]
    }
  }
}
""",
}
SCHEMAS["thicket.grown.v1"] = """{
  "type": "object",
  "anyOf": [
    { "additionalProperties": { "$ref": "#" } },
    { "additionalProperties": { "$ref": "#" }, "minProperties": 1 }
  ]
}
"""
"""Mappings that compile and fail at work: an adapter for each, which wants `odd.<name>.v1`."""
MAPPINGS = {
    "raises": "filter = 'error(\"no such shop\")'",
    "swells": "transform = 'reduce range(100) as $n (\"x\"; . + .)'",
    "sinks": "transform = 'reduce range(100000) as $n (.; [.])'",
    "doubles": "transform = '1, 2'",
    "mutes": "transform = 'empty'",
    "spills": "transform = '[range(300000)]'",
    "toils": "filter = '[range(1000)] | map(. as $a | [range(1000)] | map(. + $a)) | length > 0'",
    "crawls": "filter = 'reduce range(1000000) as $n (0; . + $n) | . >= 0'",
}
MANIFESTS |= {
    f"jq-{name}": manifest(f"jq-{name}", subscribes=(f"odd.{name}.v1",)) + mapping + "\n"
    for name, mapping in MAPPINGS.items()
}
"""How long a neighbour's event may take until it is accepted, whatever is sent beside it. Said in the document."""
NEIGHBOUR_S = 5
"""How often the neighbour sends while a case runs."""
NEIGHBOUR_PAUSE_S = 0.2


@dataclass
class Hall:
    hub: Hub
    depot: Collector
    pool: ThreadPoolExecutor
    """Events that are good and have to arrive."""
    good: set[str] = field(default_factory=set)
    slow: dict[str, Future] = field(default_factory=dict)
    """The longest that a neighbour's event took, in seconds."""
    slowest: float = 0.0

    def key(self, adapter: str) -> str:
        return self.hub.credentials(adapter)["CROSSDOCK_API_KEY"]

    def amqp(self, adapter: str = "rogue") -> str:
        return self.hub.credentials(adapter)["CROSSDOCK_AMQP_URL"]

    def log_size(self) -> int:
        return self.hub.log_path.stat().st_size

    @contextlib.contextmanager
    def neighbour(self) -> Iterator[None]:
        """Sends good events, one after the other, while the case runs; each has to be accepted in time."""
        key, over, late = self.key("corner"), threading.Event(), []

        def send() -> None:
            while True:
                event = parcel("/corner", type=COUNTED, subject="corner")
                began = time.monotonic()
                answer = self.hub.send(event, key=key)
                took = time.monotonic() - began
                self.slowest = max(self.slowest, took)
                if answer.status_code != 202 or took > NEIGHBOUR_S:
                    late.append(f"{answer.status_code} after {took:.1f} s")
                else:
                    self.good.add(event["id"])
                if over.wait(NEIGHBOUR_PAUSE_S):
                    return

        sending = self.pool.submit(send)
        try:
            yield
        finally:
            over.set()
            sending.result(timeout=NEIGHBOUR_S * 10)
        assert not late, f"a neighbour's event was not accepted within {NEIGHBOUR_S} s: {late}"


@dataclass(frozen=True)
class RawAnswer:
    """What came back on a connection; status 0 where it was closed without an answer."""

    status: int
    headers: dict[str, str]
    body: bytes


def raw(hub: Hub, *pieces: bytes, finish: bool = False, within_s: float = 60) -> RawAnswer:
    """Writes bytes on a connection of its own and reads what comes back. `finish` ends the sending side."""
    address = urlsplit(hub.url)
    with socket.create_connection((address.hostname, address.port), timeout=within_s) as connection:
        # The hub may refuse and close while more is on its way.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                connection.sendall(piece)
            if finish:
                connection.shutdown(socket.SHUT_WR)
        return read_answer(connection)


def everything(hub: Hub, request: bytes, within_s: float = 60) -> bytes:
    """All that comes back on a connection until the hub closes it."""
    address = urlsplit(hub.url)
    with socket.create_connection((address.hostname, address.port), timeout=within_s) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def read_answer(connection: socket.socket) -> RawAnswer:
    answer = HTTPResponse(connection)
    try:
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return RawAnswer(answer.status, headers, answer.read())
    except (ConnectionResetError, OSError, ValueError) as over:
        if isinstance(over, TimeoutError):
            raise
        return RawAnswer(0, {}, b"")


def new_id() -> str:
    return str(uuid.uuid4())
