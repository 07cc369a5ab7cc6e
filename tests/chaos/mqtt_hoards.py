"""What somebody has an MQTT server keep for them: answers that are never fetched, and what is left behind when the
connection is long closed. Each kind's first round is more than the server may use, if it kept it."""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.mqtt import HOST, Wire, connect_packet, publish_packet, subscribe_packet, text

if TYPE_CHECKING:
    from chaos.mqtt_attacks import Attacker

ATTEMPT_S = 20.0
ENDED = (OSError, AssertionError, EOFError)
DAY_S = 86_400
ALIASES = 32
TOPIC_BYTES = 65_000
FILTERS, LEVELS = 1_000, 64
REPEATED, RETAINED = 20_000, 2_000
USER_PROPERTIES = 50_000
PINGS = 200_000
WAITING, WAITING_BYTES = 16, 250_000
FRAGMENT_BYTES = 250_000


def websocket_pings(attacker: Attacker) -> Iterator[None]:
    """WebSockets that send pings and no CONNECT, and never read what answers them."""
    ping = b"\x89\xfd\0\0\0\0" + b"p" * 125
    pings = ping * PINGS
    open_ones: list[socket.socket] = []
    while True:
        with contextlib.suppress(*ENDED):
            while len(open_ones) < attacker.size:
                open_ones.append(websocket(attacker.websocket_port))
        for each in list(open_ones):
            try:
                each.sendall(pings)
            except OSError:
                each.close()
                open_ones.remove(each)
        yield


def websocket_fragments(attacker: Attacker) -> Iterator[None]:
    """WebSockets that begin a message with most of a packet in it and never end either, every other one without having
    said who it is."""
    publish = b"\x30\x90\xa1\x0f" + text("fragment").ljust(FRAGMENT_BYTES, b"f")
    connect = b"\x10\xe0\xd4\x03" + text("MQTT").ljust(50_000, b"f")
    open_ones: list[socket.socket] = []
    while True:
        for each in open_ones:
            each.close()
        open_ones.clear()
        for number in range(attacker.size):
            with contextlib.suppress(*ENDED):
                made = websocket(attacker.websocket_port)
                open_ones.append(made)
                if number % 2:
                    made.sendall(frame(connect, is_final=False))
                    continue
                made.sendall(frame(connect_packet(attacker.name(), keep_alive_s=0)))
                made.recv(4096)
                made.sendall(frame(publish, is_final=False))
        yield


def frame(payload: bytes, *, is_final: bool = True) -> bytes:
    """A binary one, under a mask that changes nothing."""
    length = struct.pack(">BQ", 0xFF, len(payload))
    return (b"\x82" if is_final else b"\x02") + length + bytes(4) + payload


def websocket(port: int) -> socket.socket:
    made = socket.create_connection((HOST, port), timeout=ATTEMPT_S)
    key = base64.b64encode(b"0" * 16).decode()
    made.sendall(
        f"GET /mqtt HTTP/1.1\r\nHost: {HOST}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n".encode()
    )
    assert made.recv(4096).startswith(b"HTTP/1.1 101")
    return made


def aliases(attacker: Attacker) -> Iterator[None]:
    """Sessions that give names to the longest topics and leave, to be kept for a day."""
    while True:
        for _ in range(attacker.size):
            with contextlib.suppress(*ENDED), Wire(attacker.port, ATTEMPT_S) as wire:
                name = attacker.name()
                wire.send(connect_packet(name, version=5, session_expiry_s=DAY_S))
                wire.receive()
                for alias in range(1, ALIASES + 1):
                    topic = f"{name}-{alias}".ljust(TOPIC_BYTES, "a")
                    wire.send(publish_packet(topic, b"", properties=b"\x23" + alias.to_bytes(2, "big")))
                wire.pings()
        yield


def deep_filters(attacker: Attacker) -> Iterator[None]:
    """Sessions with as many filters as there may be of as many levels, none of which others have."""
    while True:
        for _ in range(attacker.size):
            with contextlib.suppress(*ENDED), Wire(attacker.port, ATTEMPT_S) as wire:
                name = attacker.name()
                wire.send(connect_packet(name, clean=False))
                wire.receive()
                rest = "/".join("a" * (LEVELS - 2))
                wire.send(subscribe_packet(*(f"{name}/{number}/{rest}" for number in range(FILTERS))))
                wire.receive()
        yield


def repeated_filter(attacker: Attacker) -> Iterator[None]:
    """Who asks for everything that is retained, twenty thousand times in one packet, and is gone at once."""
    with Wire(attacker.port, ATTEMPT_S) as wire:
        wire.connect(attacker.name())
        for number in range(RETAINED):
            wire.send(publish_packet(f"retained/{number}", b"x", retain=True))
        wire.pings()
    asked = subscribe_packet(*["#"] * REPEATED)
    while True:
        for _ in range(attacker.size):
            with contextlib.suppress(*ENDED), Wire(attacker.port, ATTEMPT_S) as wire:
                wire.connect(attacker.name())
                wire.send(asked)
        yield


def user_properties(attacker: Attacker) -> Iterator[None]:
    """Retained messages with tens of thousands of empty user properties, each of which has to be kept."""
    properties = b"\x26\0\0\0\0" * USER_PROPERTIES
    number = 0
    while True:
        for _ in range(attacker.size):
            with contextlib.suppress(*ENDED), Wire(attacker.port, ATTEMPT_S) as wire:
                wire.connect(attacker.name(), version=5)
                number += 1
                wire.send(publish_packet(f"user/{number}", b"x", retain=True, properties=properties))
                wire.pings()
        yield


def away(attacker: Attacker) -> Iterator[None]:
    """Sessions whose clients are away while as much as may wait is published to them, and of every other one the client
    is still there, takes it, acknowledges nothing and goes then."""
    while True:
        for number in range(attacker.size):
            with contextlib.suppress(*ENDED):
                leave_waiting(attacker, stays=number % 2 == 0)
        yield


def leave_waiting(attacker: Attacker, *, stays: bool) -> None:
    name = attacker.name()
    payload = attacker.random.randbytes(8).ljust(WAITING_BYTES, b"w")
    with Wire(attacker.port, ATTEMPT_S) as reader, Wire(attacker.port, ATTEMPT_S) as publisher:
        reader.send(connect_packet(name, clean=False))
        reader.receive()
        reader.send(subscribe_packet(name, qos=1))
        reader.receive()
        if not stays:
            reader.close()
        publisher.connect(attacker.name())
        for packet_id in range(1, WAITING + 1):
            publisher.send(publish_packet(name, payload, qos=1, packet_id=packet_id))
            publisher.receive()
            if stays:
                reader.receive()


HOARDS = {
    "websocket_pings": websocket_pings,
    "websocket_fragments": websocket_fragments,
    "aliases": aliases,
    "deep_filters": deep_filters,
    "repeated_filter": repeated_filter,
    "user_properties": user_properties,
    "away": away,
}
