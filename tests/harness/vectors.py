"""The packet vectors that lie beside the project: what is sent, what has to come back, whether the connection lives."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.mqtt import CONNACK, DISCONNECT, PUBLISH, Closed, Server, Wire

# An answer has so long to come, and a connection so long to end.
ANSWER_S = 1.0
REFUSED = 0x80


@dataclass(frozen=True)
class Vector:
    """One case of the files."""

    group: str
    name: str
    version: int
    connects: bool
    ends: bool
    steps: tuple[tuple[str, bytes], ...]

    @property
    def is_v3(self) -> bool:
        return not self.group.startswith("v5")


def vectors(folder: Path) -> Iterator[Vector]:
    for path in sorted(folder.glob("*.json")):
        for group in json.loads(path.read_text()):
            for case in group["tests"]:
                steps = [
                    (step["type"], bytes.fromhex(step["payload"].replace(" ", ""))) for step in case["msgs"]
                ]
                yield Vector(
                    group["group"],
                    case["name"],
                    case.get("ver", 4),
                    case.get("connect", True),
                    case.get("expect_disconnect", True),
                    tuple(steps),
                )


def fault(server: Server, vector: Vector) -> str | None:
    """Plays a vector; gives what was not as expected. Lenient: a connection that ends needs no DISCONNECT or refusing
    CONNACK before, a CONNACK may have what properties it likes, and an answer may be worded otherwise as long as
    it is of the same type, to the same packet, and yes or no."""
    with server.wire(ANSWER_S) as wire:
        if vector.connects:
            wire.connect(vector.name, version=vector.version)
        for kind, payload in vector.steps:
            if kind == "send":
                wire.send(payload)
                continue
            try:
                answer = wire.receive()
            except TimeoutError:
                return f"nothing came, expected {payload.hex()}"
            except Closed:
                return None if vector.ends and says_no(payload) else f"it ended, expected {payload.hex()}"
            if not alike(answer, payload):
                return f"{answer.hex()} came, expected {payload.hex()}"
        return not_ended(wire) if vector.ends else not_alive(wire)


def says_no(packet: bytes) -> bool:
    kind = packet[0] >> 4
    return kind == DISCONNECT or (kind == CONNACK and packet[3] != 0)


def alike(answer: bytes, expected: bytes) -> bool:
    kind = expected[0] >> 4
    if answer[0] >> 4 != kind:
        return False
    if kind == CONNACK:
        return (answer[3] == 0) == (expected[3] == 0)
    if kind == DISCONNECT:
        return True
    if kind == PUBLISH or len(expected) < 4:
        return answer == expected
    return answer[2:4] == expected[2:4] and (reason(answer) < REFUSED) == (reason(expected) < REFUSED)


def reason(packet: bytes) -> int:
    return packet[-1] if len(packet) > 4 else 0


def not_ended(wire: Wire) -> str | None:
    try:
        while True:
            answer = wire.receive()
            if not says_no(answer):
                return f"{answer.hex()} came, expected an end"
    except TimeoutError:
        return "the connection lives on, expected an end"
    except Closed:
        return None


def not_alive(wire: Wire) -> str | None:
    with contextlib.suppress(Closed):
        return None if wire.pings() else "the connection is dead, expected it alive"
    return "the connection ended, expected it alive"
