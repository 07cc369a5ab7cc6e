"""A steady load of events with an order to check: by HTTP and by AMQP at once, each repeated until it is accepted.

Every key (the event's subject) has its own sequence and at most one event under way, so what arrives for a key must
be in order. Producers know nothing of crashes: they see an error, wait a moment and send the same ids again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import cycle

import pika.exceptions
import requests
from pika.adapters.blocking_connection import BlockingChannel

from harness.amqp import channel, publish
from harness.collector import Delivery
from harness.events import manifest, parcel
from harness.hub import Hub

TYPE = "parcel.scanned.v1"
MANIFESTS = {
    "till": manifest("till", publishes=(TYPE,)),
    "web": manifest("web", publishes=(TYPE,)),
    "depot": manifest("depot", subscribes=(TYPE,), more='order = "key"'),
}
HTTP_PRODUCERS = 2
AMQP_PRODUCERS = 4
KEYS_EACH = 20
PAUSE_AFTER_ERROR_S = 0.2
REQUEST_DEADLINE_S = 30


class Producer(threading.Thread):
    """Sends its share of the events, and counts those that the hub has accepted."""

    def __init__(self, hub: Hub, name: str, source: str, share: int, stop: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self.hub, self.source, self.share, self.stop = hub, source, share, stop
        self.accepted: list[str] = []
        self.refusals: list[requests.Response] = []
        self.errors = 0
        self.latest_error = ""
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            self.send_all()
        except BaseException as fault:
            self.fault = fault

    def send_all(self) -> None:
        raise NotImplementedError

    def pause(self, error: object) -> None:
        self.errors += 1
        self.latest_error = f"{time.strftime('%X')} {error}"
        time.sleep(PAUSE_AFTER_ERROR_S)

    def events(self) -> Iterator[dict]:
        """Key after key, each with its next number."""
        keys = [f"{self.name}-{n}" for n in range(KEYS_EACH)]
        for number, key in zip(range(self.share), cycle(keys), strict=False):
            yield parcel(self.source, subject=key, data={"sequence": number // KEYS_EACH})


class HttpProducer(Producer):
    """Batches with one event of each key; 202 for the batch before the next."""

    def send_all(self) -> None:
        batch: list[dict] = []
        for event in self.events():
            batch.append(event)
            if len(batch) == KEYS_EACH:
                self.deliver(batch)
                batch = []
        if batch:
            self.deliver(batch)

    def deliver(self, batch: list[dict]) -> None:
        key = self.hub.credentials("web")["CROSSDOCK_API_KEY"]
        while not self.stop.is_set():
            try:
                answer = self.hub.send(*batch, key=key)
            except requests.RequestException as error:
                self.pause(error)
                continue
            if answer.status_code == 202:
                self.accepted += [event["id"] for event in batch]
                return
            if answer.status_code not in (429, 503):
                raise AssertionError(f"a good batch was answered {answer.status_code}: {answer.text}")
            self.refusals.append(answer)
            self.pause(answer.text)


class AmqpProducer(Producer):
    """One event after the other, each confirmed before the next."""

    def send_all(self) -> None:
        waiting = self.events()
        event = next(waiting, None)
        while event is not None and not self.stop.is_set():
            url = self.hub.credentials("till")["CROSSDOCK_AMQP_URL"]
            try:
                with channel(url) as own:
                    while event is not None and not self.stop.is_set():
                        self.deliver(own, url, event)
                        event = next(waiting, None)
            except (pika.exceptions.AMQPError, OSError) as error:
                self.pause(repr(error))

    def deliver(self, own: BlockingChannel, url: str, event: dict) -> None:
        publish(own, url, event)
        self.accepted.append(event["id"])


class Load:
    """All producers together. `start` it, do harm meanwhile, `wait` for it."""

    def __init__(self, hub: Hub, events: int) -> None:
        count = HTTP_PRODUCERS + AMQP_PRODUCERS
        shares = [events // count + (1 if n < events % count else 0) for n in range(count)]
        self.total = events
        self.stop = threading.Event()
        self.producers: list[Producer] = []
        for n, share in enumerate(shares):
            make = HttpProducer if n < HTTP_PRODUCERS else AmqpProducer
            source = "/web" if make is HttpProducer else "/till"
            self.producers.append(make(hub, f"{source[1:]}-{n}", source, share, self.stop))

    def start(self) -> Load:
        for producer in self.producers:
            producer.start()
        return self

    def accepted(self) -> int:
        return sum(len(producer.accepted) for producer in self.producers)

    def accepted_ids(self) -> set[str]:
        return {event_id for producer in self.producers for event_id in producer.accepted}

    def refusals(self) -> list[requests.Response]:
        return [answer for producer in self.producers for answer in producer.refusals]

    def check(self) -> None:
        for producer in self.producers:
            if producer.fault is not None:
                raise AssertionError(f"{producer.name} gave up") from producer.fault

    def standing(self) -> str:
        """How far each producer is, and what it saw last that went wrong."""
        told = (
            f"{producer.name} {len(producer.accepted)} of {producer.share}, {producer.errors} errors"
            f" ({producer.latest_error or 'none'})"
            for producer in self.producers
        )
        return "; ".join(told)

    def running(self) -> bool:
        self.check()
        return any(producer.is_alive() for producer in self.producers)

    def wait(self, within_s: float) -> None:
        """Until every event is accepted."""
        deadline = time.monotonic() + within_s
        for producer in self.producers:
            producer.join(max(0.0, deadline - time.monotonic()))
        self.check()
        if self.running():
            self.end()
            raise AssertionError(f"not all accepted within {within_s:g} s: {self.standing()}")

    def end(self) -> None:
        self.stop.set()
        for producer in self.producers:
            producer.join(REQUEST_DEADLINE_S)


def out_of_order(deliveries: list[Delivery]) -> list[str]:
    """Where an event was first delivered after a later one of its key. Repeats are not looked at."""
    faults, latest, seen = [], {}, set()
    for delivery in deliveries:
        if delivery.id in seen:
            continue
        seen.add(delivery.id)
        key, number = delivery.subject, delivery.data["sequence"]
        if number < latest.get(key, -1):
            faults.append(f"{key}: {number} came after {latest[key]}")
        latest[key] = max(number, latest.get(key, -1))
    return faults


def repeats(deliveries: list[Delivery]) -> int:
    return len(deliveries) - len({delivery.id for delivery in deliveries})
