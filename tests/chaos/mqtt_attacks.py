"""What somebody does to an MQTT server who means harm or does not care, one kind at a time, again and again until it is
ended. A process of its own with the lowest priority: it shares the machine with whom it attacks.

    python -m chaos.mqtt_attacks KIND PORT WEBSOCKET_PORT SIZE SEED
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from chaos.mqtt_hoards import HOARDS
from harness.mqtt import HOST, Wire, connect_packet, packet, publish_packet, subscribe_packet, text

ATTEMPT_S = 5.0
# Between two rounds of what holds connections open.
PAUSE_S = 0.2
PAYLOAD = b"x" * 256
PIECE = 64 * 1024
GIANT_BYTES = 200 * 1024
# The lowest priority that there is.
LAST = 19
ENDED = (OSError, AssertionError, EOFError)


class Attacker:
    """Knows the server's ports and how much is meant."""

    def __init__(self, port: int, websocket_port: int, size: int, seed: int) -> None:
        self.port, self.websocket_port = port, websocket_port
        self.size, self.random = size, random.Random(seed)
        self.held: list[socket.socket] = []

    def open(self, first: bytes = b"", *, receive_bytes: int | None = None) -> socket.socket:
        made = socket.socket()
        if receive_bytes is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        made.settimeout(ATTEMPT_S)
        made.connect((HOST, self.port))
        if first:
            made.sendall(first)
        return made

    def hold(self, count: int, first: Callable[[int], bytes], **options) -> None:
        """So many connections, each with its first bytes, kept for ever."""
        for number in range(count):
            with contextlib.suppress(*ENDED):
                self.held.append(self.open(first(number), **options))

    def name(self) -> str:
        return f"attacker-{self.random.randrange(1 << 48):x}"

    # ── the kinds ────────────────────────────────────────────────────────────────────────────────────────────

    def garbage(self) -> Iterator[None]:
        """Random bytes, before a CONNECT and after one."""
        while True:
            for number in range(self.size):
                with contextlib.suppress(*ENDED), Wire(self.port, ATTEMPT_S) as wire:
                    if number % 2:
                        wire.connect(self.name(), version=self.random.choice((4, 5)))
                    wire.send(self.random.randbytes(self.random.randrange(1, 2_000)))
                    wire.socket.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        wire.socket.recv(4096)
            yield

    def half_open(self) -> Iterator[None]:
        """Connections that say nothing, or half of what they should."""
        whole = connect_packet("a name that never comes to its end")
        while True:
            self.hold(self.size, lambda number: whole[: number % len(whole)])
            yield
            self.drop_ended()

    def idle(self) -> Iterator[None]:
        """Clients that are there and do nothing."""
        self.hold(self.size, lambda number: connect_packet(f"idle-{number}", keep_alive_s=0))
        while True:
            yield

    def never_reading(self) -> Iterator[None]:
        """Subscribers that never read what a publisher sends them without a pause."""
        first = subscribe_packet("never/read", qos=1)
        self.hold(self.size, lambda number: connect_packet(f"deaf-{number}") + first, receive_bytes=4096)
        publisher = Publisher(self, "never/read")
        while True:
            publisher.send()
            yield

    def flood(self) -> Iterator[None]:
        """Publishers that send without a pause, to subscribers that read."""
        for number in range(self.size):
            self.held.append(self.open(connect_packet(f"reader-{number}") + subscribe_packet("flood/topic")))
        reader = selectors.DefaultSelector()
        for each in self.held:
            each.setblocking(False)
            reader.register(each, selectors.EVENT_READ)
        publishers = [Publisher(self, "flood/topic") for _ in range(2)]
        while True:
            for publisher in publishers:
                publisher.send()
            for key, _ in reader.select(0):
                with contextlib.suppress(BlockingIOError):
                    if not key.fileobj.recv(PIECE):
                        reader.unregister(key.fileobj)
            yield

    def giants(self) -> Iterator[None]:
        """Packets that are as large as may be, larger than may be, or only say that they are."""
        giant = publish_packet("giant/topic", b"g" * GIANT_BYTES)
        too_large = publish_packet("giant/topic", b"g" * GIANT_BYTES * 2)
        promise = b"\x30\xff\xff\xff\x7f" + text("giant/topic")
        name = packet(0x10, text("MQTT") + bytes([4, 2, 0, 60]) + text("n" * 65_000))
        while True:
            for number in range(self.size):
                with contextlib.suppress(*ENDED), Wire(self.port, ATTEMPT_S) as wire:
                    if number % 4 == 3:
                        wire.send(name)
                        continue
                    wire.connect(self.name())
                    wire.send((giant * 4, too_large, promise)[number % 4])
            yield

    def logins(self) -> Iterator[None]:
        """One CONNECT after the other, each with another name and a password that is made up."""
        while True:
            for _ in range(self.size):
                with contextlib.suppress(*ENDED, TimeoutError):
                    wire = Wire(self.port, ATTEMPT_S)
                    login = text(self.name()) + text(self.name())
                    body = text("MQTT") + bytes([4, 0xC2, 0, 60]) + text(self.name()) + login
                    wire.send(packet(0x10, body))
                    wire.receive()
                    wire.close()
            yield

    def topics(self) -> Iterator[None]:
        """A new topic with every message, and a new filter with every subscription."""
        number = 0
        wire = Wire(self.port, ATTEMPT_S)
        wire.connect("topical")
        while True:
            for _ in range(self.size):
                number += 1
                wire.send(publish_packet(f"topics/{number}/of/many", b"once"))
                if number % 10 == 0:
                    packet_id = number // 10 % 65_535 + 1
                    wire.send(subscribe_packet(f"topics/{number}/+", packet_id=packet_id))
                    wire.receive()
                    wire.send(packet(0xA2, packet_id.to_bytes(2, "big") + text(f"topics/{number}/+")))
                    wire.receive()
            yield

    # ── helpers ──────────────────────────────────────────────────────────────────────────────────────────────

    def drop_ended(self) -> None:
        """Forgets connections that the server has ended."""
        living = []
        for each in self.held:
            each.setblocking(False)
            try:
                ended = each.recv(1) == b""
            except BlockingIOError:
                ended = False
            except OSError:
                ended = True
            if ended:
                each.close()
            else:
                living.append(each)
        self.held = living


class Publisher:
    """Sends as much as the server takes."""

    def __init__(self, attacker: Attacker, topic: str) -> None:
        self.attacker = attacker
        self.bytes = publish_packet(topic, PAYLOAD)
        self.bytes *= PIECE // len(self.bytes)
        self.unsent = b""
        self.socket = self._connect()

    def _connect(self) -> socket.socket:
        made = self.attacker.open(connect_packet(self.attacker.name()))
        made.setblocking(False)
        return made

    def send(self) -> None:
        self.unsent = self.unsent or self.bytes
        try:
            self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            time.sleep(0.001)
        except OSError:
            self.unsent = b""
            self.socket = self._connect()


KINDS = {
    "garbage": Attacker.garbage,
    "half_open": Attacker.half_open,
    "idle": Attacker.idle,
    "never_reading": Attacker.never_reading,
    "flood": Attacker.flood,
    "giants": Attacker.giants,
    "logins": Attacker.logins,
    "topics": Attacker.topics,
    **HOARDS,
}
# What holds on to what it has does not begin anew without a pause.
PAUSES = {"half_open", "idle"}


def stand_back() -> None:
    """Whatever was inherited: the others' work comes first, also where the system shares by sessions."""
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, LAST)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(LAST))


def main() -> None:
    kind, port, websocket_port, size, seed = sys.argv[1], *map(int, sys.argv[2:])
    stand_back()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    attacker = Attacker(port, websocket_port, size, seed)
    for rounds, _ in enumerate(KINDS[kind](attacker), start=1):
        if rounds == 1:
            print("attacking", flush=True)
        if kind in PAUSES:
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
