"""Writes the corpus that fuzzing begins with, from what the repository ships: events, manifests, settings, mappings.

seeds.py FOLDER    one folder below it for each target
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((REPOSITORY / "crates/model/schemas/examples").glob("*.json"))
NOT_HEADERS = {"data", "data_base64", "datacontenttype"}
RECEIPTS = (
    b'{"event":"e-1","outcome":"done","duration_ms":12}',
    b'[{"event":"e-1","outcome":"retry","source":"/shop","detail":"busy","retry_after_s":30},{"event":"e-2","outcome":"dead"}]',
)
MAPPINGS = (
    ".data.total.amount >= 10000",
    "{order: .data.order, pence: ([.data.lines[] | .quantity * .price.amount] | add)}",
    'def net: . / 1.2 | floor; .data | with_entries(select(.key | test("^[a-z]+$"))) | .total.amount |= net',
    "reduce .data.lines[] as $line ({}; .[$line.sku] += $line.quantity) | to_entries | sort_by(.value) | first",
    '.time | utc("Europe/London")? // "none" | ascii_downcase | split("t") | join("T")',
)
STREAM = b': hello\n\nid: 7\nevent: order.placed.v1\ndata: {"a":\ndata: 1}\n\nid:8\r\ndata:x\r\n\r\nretry: 5\ndata\n\n'
RETRY_AFTER = (
    b"120",
    b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"Sunday, 06-Nov-94 08:49:37 GMT",
    b"Sun Nov  6 08:49:37 1994",
)
# Packets of MQTT as a client sends them: the first byte, and the body without packet identifier, properties and payload.
MQTT_TOPIC = b"\x00\x06mine/a"
MQTT_PROPERTIES = (
    b"\x01\x01\x02\x00\x00\x00\x01\x03\x00\x04text\x08\x00\x06mine/b\x09\x00\x01c\x26\x00\x01k\x00\x01v"
)
HEADER_TYPES = {str: "S", bool: "t", int: "l"}


def events() -> Iterator[tuple[str, dict, bytes]]:
    for path in EXAMPLES:
        text = path.read_bytes()
        yield path.stem, json.loads(text), text


def attributes(event: dict) -> list[tuple[str, object]]:
    return [(name, value) for name, value in event.items() if name not in NOT_HEADERS]


def body(event: dict) -> bytes:
    return json.dumps(event["data"]).encode() if "data" in event else b""


def http(event: dict, text: bytes) -> Iterator[bytes]:
    yield b"content-type: application/cloudevents+json\n\n" + text
    yield b"content-type: application/cloudevents-batch+json\n\n[" + text + b"," + text + b"]"
    lines = [f"ce-{name}: {value}" for name, value in attributes(event)]
    lines.append(f"content-type: {event.get('datacontenttype', 'application/json')}")
    yield "\n".join(lines).encode() + b"\n\n" + body(event)


def amqp(event: dict, text: bytes) -> Iterator[bytes]:
    yield b"Capplication/cloudevents+json\n\n" + text
    for prefix in ("cloudEvents_", "cloudEvents:"):
        lines = [f"{HEADER_TYPES[type(value)]}{prefix}{name} {value}" for name, value in attributes(event)]
        lines.append(f"C{event.get('datacontenttype', 'application/json')}")
        yield "\n".join(lines).encode() + b"\n\n" + body(event)


def frame(kind: int, payload: bytes) -> bytes:
    return bytes([kind, 0, 1]) + len(payload).to_bytes(4, "big") + payload + b"\xce"


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def block(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


def frames(event: dict) -> Iterator[bytes]:
    """A delivery as it comes from RabbitMQ: method, content header and body."""
    entries = b"".join(
        short(f"cloudEvents_{name}".encode()) + b"S" + block(str(value).encode())
        for name, value in attributes(event)
    )
    death = short(b"queue") + b"S" + block(b"crossdock.adapter.erp") + short(b"count") + b"l" + bytes(8)
    entries += short(b"x-death") + b"A" + block(b"F" + block(death))
    data = body(event)
    deliver = (
        bytes([0, 60, 0, 60]) + short(b"tag") + bytes(8) + b"\0" + short(b"crossdock.deliver") + short(b"erp")
    )
    properties = short(b"application/json") + block(entries) + b"\x02"
    header = bytes([0, 60, 0, 0]) + len(data).to_bytes(8, "big") + b"\xb0\0" + properties
    yield b"\x07" + frame(1, deliver) + frame(2, header) + frame(3, data)


def configuration() -> Iterator[bytes]:
    for path in [
        *sorted((REPOSITORY / "config/adapters").glob("*.toml")),
        REPOSITORY / "config/crossdock.toml",
        REPOSITORY / "config/state.toml",
    ]:
        text = path.read_text()
        yield text.replace(f'name = "{path.stem}"', 'name = "erp"').encode()
        yield (
            text.encode() + b"\0CROSSDOCK_HTTP__LISTEN=127.0.0.1:8080\nCROSSDOCK_RABBITMQ__URL=amqp://a:b@c/d"
        )


def jq() -> Iterator[bytes]:
    shipped = [*(REPOSITORY / "docs/examples").glob("*.jq"), *(REPOSITORY / "tests/retail").glob("*.jq")]
    inputs = [text for _, _, text in events()]
    for number, mapping in enumerate([*MAPPINGS, *(path.read_text() for path in shipped)]):
        yield mapping.encode() + b"\0" + inputs[number % len(inputs)]


def schemas() -> Iterator[bytes]:
    """The shipped schemas, each with the data of its golden example."""
    for name, event, _ in events():
        yield (REPOSITORY / f"crates/model/schemas/{name}.json").read_bytes() + b"\0" + body(event)


def mqtt_packet(first: int, body: bytes) -> bytes:
    assert len(body) < 128, "one digit of length"
    return bytes([first, len(body)]) + body


def mqtt(version: int) -> bytes:
    """A client's whole life: it connects with a will and a login, subscribes, publishes at every QoS, acknowledges, asks
    whether anybody is there, unsubscribes and leaves."""

    def properties(value: bytes = b"") -> bytes:
        return bytes([len(value)]) + value if version == 5 else b""

    head = b"\x00\x04MQTT" + bytes([version, 0xEE]) + b"\x00\x3c"
    will = properties(b"\x18\x00\x00\x00\x05") + MQTT_TOPIC + b"\x00\x04gone"
    connect = head + properties(b"\x11\x00\x00\x00\x3c\x21\x00\x02") + b"\x00\x01i" + will
    packets = [
        mqtt_packet(0x10, connect + b"\x00\x01u\x00\x01p"),
        mqtt_packet(0x82, b"\x00\x01" + properties(b"\x0b\x07") + b"\x00\x06mine/#\x02\x00\x01#\x01"),
        mqtt_packet(0x30, MQTT_TOPIC + properties() + b"qos 0"),
        mqtt_packet(0x33, MQTT_TOPIC + b"\x00\x02" + properties(MQTT_PROPERTIES) + b"qos 1"),
        mqtt_packet(0x34, MQTT_TOPIC + b"\x00\x03" + properties(b"\x23\x00\x01") + b"qos 2"),
        *(mqtt_packet(first, b"\x00\x01") for first in (0x40, 0x50, 0x70)),
        mqtt_packet(0x62, b"\x00\x03"),
        mqtt_packet(0xC0, b""),
        mqtt_packet(0xA2, b"\x00\x04" + properties() + b"\x00\x06mine/#"),
        mqtt_packet(0xE0, b"\x04" + properties(b"\x11\x00\x00\x00\x00") if version == 5 else b""),
    ]
    return b"".join(packets)


def corpus() -> Iterator[tuple[str, bytes]]:
    for _, event, text in events():
        yield "json", text
        yield "structured", text
        yield "structured", b"[" + text + b"]"
        yield from (("http", seed) for seed in http(event, text))
        yield from (("amqp", seed) for seed in amqp(event, text))
        yield from (("frames", seed) for seed in frames(event))
    yield from (("receipts", seed) for seed in RECEIPTS)
    yield from (("configuration", seed) for seed in configuration())
    yield from (("schema", seed) for seed in schemas())
    yield from (("jq", seed) for seed in jq())
    yield from (("retry_after", seed) for seed in RETRY_AFTER)
    yield "stream", b"\x05" + STREAM
    for version in (4, 5):
        yield "mqtt", b"\x05" + mqtt(version)
        yield "mqtt_session", mqtt(version)


def main() -> None:
    folder = Path(sys.argv[1])
    for number, (target, seed) in enumerate(corpus()):
        (folder / target).mkdir(parents=True, exist_ok=True)
        (folder / target / f"seed-{number}").write_bytes(seed)


if __name__ == "__main__":
    main()
