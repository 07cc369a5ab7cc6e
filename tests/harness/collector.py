"""An adapter of a few lines in a process of its own: writes down what it gets, then acks or rejects it.

As a program it consumes until it is ended; the class starts, kills and reads such a process. What it has written is
in the file before the ack goes out, so a kill at any moment forgets nothing that was acked.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
import time
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pika
import pika.exceptions

from harness.amqp import RECEIPTS, parameters, user_of
from harness.hub import read_environment_file
from harness.wait import eventually

TESTS = Path(__file__).resolve().parents[1]
BATCH_MAX = 64
LINGER_S = 0.02
RECONNECT_PAUSE_S = 0.3


@dataclass(frozen=True)
class Delivery:
    """One delivery as it was written down."""

    raw: dict

    @property
    def headers(self) -> dict:
        return self.raw["headers"]

    @property
    def properties(self) -> dict:
        return self.raw["properties"]

    @cached_property
    def body(self) -> bytes:
        return base64.b64decode(self.raw["body"])

    @property
    def data(self):
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["cloudEvents_id"]

    @property
    def type(self) -> str:
        return self.headers["cloudEvents_type"]

    @property
    def attempt(self) -> int:
        return self.headers["crossdock-attempt"]

    @property
    def subject(self) -> str | None:
        return self.headers.get("cloudEvents_subject")


def fails(event_id: str, attempt: int, share: float, attempts: int) -> bool:
    """Whether a collector rejects this: a share of all events, drawn by their ids, in their first attempts."""
    return attempt <= attempts and zlib.crc32(event_id.encode()) % 1000 < share * 1000


class Collector:
    """The consumer of one adapter's queue. `name` is the adapter's; `receipts` makes it say what it did.

    It rejects a share of the events in their first `failed_attempts` attempts.
    """

    def __init__(
        self,
        hub,
        name: str,
        *,
        receipts: bool = True,
        prefetch: int = 100,
        fail_share: float = 0.0,
        failed_attempts: int = 1,
    ) -> None:
        self.hub, self.name = hub, name
        self.record = hub.folder / f"{name}.deliveries"
        self.log_path = hub.folder / f"{name}.log"
        self._command = [sys.executable, "-m", "harness.collector", "--prefetch", str(prefetch)]
        self._command += ["--fail-share", str(fail_share), "--failed-attempts", str(failed_attempts)]
        self._command += ["--receipts"] if receipts else []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Collector:
        self.hub.credentials(self.name)
        credentials = self.hub.credentials_path(self.name)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, str(credentials), str(self.record)],
                cwd=TESTS,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def deliveries(self) -> list[Delivery]:
        """Everything so far, oldest first. A line that a kill cut short was never acked and comes again."""
        if not self.record.exists():
            return []
        found = []
        for line in self.record.read_bytes().splitlines():
            try:
                found.append(Delivery(json.loads(line)))
            except ValueError:
                continue
        return found

    def wait_for(self, *ids: str, within_s: float = 20) -> list[Delivery]:
        """Until every one of these events is here; gives their deliveries."""
        wanted = set(ids)

        def all_here() -> list[Delivery] | None:
            got = [delivery for delivery in self.deliveries() if delivery.id in wanted]
            return got if {delivery.id for delivery in got} == wanted else None

        return eventually(f"{self.name} has {len(wanted)} events", all_here, within_s)

    def count(self) -> int:
        return len(self.deliveries())


def written(method, properties: pika.BasicProperties, body: bytes) -> dict:
    """A delivery as JSON: times and bytes inside headers as text."""
    plain = {name: value for name, value in vars(properties).items() if value is not None}
    headers = plain.pop("headers", {}) or {}
    return {
        "exchange": method.exchange,
        "routing_key": method.routing_key,
        "redelivered": method.redelivered,
        "headers": headers,
        "properties": plain,
        "body": base64.b64encode(body).decode(),
    }


@dataclass(frozen=True)
class Habits:
    """What the process does with what it gets."""

    prefetch: int
    receipts: bool
    fail_share: float
    failed_attempts: int

    def fails(self, properties: pika.BasicProperties) -> bool:
        event_id, attempt = properties.headers["cloudEvents_id"], properties.headers["crossdock-attempt"]
        return fails(event_id, attempt, self.fail_share, self.failed_attempts)

    def receipt(self, properties: pika.BasicProperties) -> dict:
        event = {"event": properties.headers["cloudEvents_id"]}
        if self.fails(properties):
            return {**event, "outcome": "retry", "detail": "not this time"}
        return {**event, "outcome": "done", "duration_ms": 1}


def handle(batch: list, record, receipts_on, habits: Habits, user: str) -> None:
    """Writes the batch down, sends its receipts if asked and waits for their confirm. The caller acks."""
    for method, properties, body in batch:
        record.write(json.dumps(written(method, properties, body), default=str).encode() + b"\n")
    record.flush()
    if receipts_on is not None:
        receipts_on.basic_publish(
            RECEIPTS,
            "",
            json.dumps([habits.receipt(properties) for _, properties, _ in batch]).encode(),
            pika.BasicProperties(content_type="application/json", delivery_mode=2, user_id=user),
        )


def settle(channel, batch: list, habits: Habits) -> None:
    """Acks what was handled and rejects what failed."""
    for method, properties, _ in batch:
        if habits.fails(properties):
            channel.basic_reject(method.delivery_tag, requeue=False)
        else:
            channel.basic_ack(method.delivery_tag)


def consume(credentials: dict[str, str], record, habits: Habits) -> None:
    """Consumes until the connection ends. Publishing has a connection of its own."""
    url = credentials["CROSSDOCK_AMQP_URL"]
    queue = f"crossdock.adapter.{credentials['CROSSDOCK_ADAPTER']}"
    consuming = pika.BlockingConnection(parameters(url))
    publishing = pika.BlockingConnection(parameters(url)) if habits.receipts else None
    try:
        receipts_on = publishing.channel() if publishing else None
        if receipts_on is not None:
            receipts_on.confirm_delivery()
        channel = consuming.channel()
        channel.basic_qos(prefetch_count=habits.prefetch)
        batch: list = []
        for delivery in channel.consume(queue, inactivity_timeout=LINGER_S):
            if delivery[0] is not None:
                batch.append(delivery)
            if batch and (delivery[0] is None or len(batch) >= BATCH_MAX):
                handle(batch, record, receipts_on, habits, user_of(url))
                settle(channel, batch, habits)
                batch.clear()
            elif delivery[0] is None and publishing is not None:
                publishing.process_data_events(0)
    finally:
        for connection in (consuming, publishing):
            if connection is not None and connection.is_open:
                connection.close()


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("credentials", type=Path)
    options.add_argument("record", type=Path)
    options.add_argument("--prefetch", type=int, default=100)
    options.add_argument("--receipts", action="store_true")
    options.add_argument("--fail-share", type=float, default=0.0)
    options.add_argument("--failed-attempts", type=int, default=1)
    given = options.parse_args()
    habits = Habits(given.prefetch, given.receipts, given.fail_share, given.failed_attempts)
    with given.record.open("ab") as record:
        if record.tell():
            record.write(b"\n")  # closes a line that a kill cut short
        while True:
            try:
                consume(read_environment_file(given.credentials), record, habits)
            except (pika.exceptions.AMQPError, OSError) as over:
                print(f"the connection is over: {over!r}", flush=True)
            time.sleep(RECONNECT_PAUSE_S)


if __name__ == "__main__":
    main()
