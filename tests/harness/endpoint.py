"""A webhook adapter in a hub that runs, with the receiver that its events are posted to."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import requests

from harness.events import event, webhook
from harness.hub import Hub
from harness.receiver import SECRET, Receiver
from harness.wait import eventually

# Of a hub whose webhooks may go to the tests' own receivers.
ENVIRONMENT = {"CROSSDOCK_OUTBOUND__ALLOW": "127.0.0.1", "WEBHOOK_SECRET": SECRET}


@dataclass
class Place:
    """A hub, a receiver of the test's own, and the adapter between them."""

    hub: Hub
    receiver: Receiver
    adapter: str

    @property
    def type(self) -> str:
        return f"{self.adapter}.sent.v1"

    def event(self, **changes) -> dict:
        return event(self.type, "/anyone", **{"data": {"price": 1.10}, **changes})

    def send(self, *events: dict) -> None:
        for start in range(0, len(events), 100):
            self.hub.must_accept(*events[start : start + 100])

    def delivery(self, event_id: str) -> dict | None:
        """What became of an event, once there is a word about it."""
        found = self.hub.request("GET", f"/v1/events/{event_id}")
        rows = found.json()["deliveries"] if found.status_code == 200 else []
        return next((row for row in rows if row["adapter"] == self.adapter and row["tries"]), None)

    def outcome(self, event_id: str) -> dict:
        """The first word about an event's delivery."""
        row = eventually(f"there is a word about {event_id}", lambda: self.delivery(event_id))
        return row["tries"][0]

    def view(self) -> dict:
        return self.hub.get(f"/v1/adapters/{self.adapter}")

    def becomes(self, state: str, within_s: float = 20) -> dict:
        """RabbitMQ counts consumers every few seconds."""
        return eventually(
            f"{self.adapter} is {state}",
            lambda: (view := self.view())["state"] == state and view,
            within_s,
        )

    def attention(self) -> list[str]:
        return [line for line in self.hub.get("/v1/status")["attention"] if line.startswith(self.adapter)]

    def counted(self, outcome: str) -> int:
        """What the hub's metrics say about this adapter's requests."""
        text = requests.get(f"{self.hub.url}/metrics", timeout=10).text
        for line in text.splitlines():
            if line.startswith("crossdock_webhook_requests_total{") and f'adapter="{self.adapter}"' in line:
                labels, _, value = line.partition("} ")
                if f'outcome="{outcome}"' in labels:
                    return int(value)
        return 0

    def apply(self, **manifest) -> None:
        """Puts the adapter's manifest in force."""
        url = manifest.pop("url", self.receiver.url)
        self.hub.write_manifest(self.adapter, webhook(self.adapter, url, subscribes=(self.type,), **manifest))
        self.hub.must("apply", "--config", str(self.hub.config))


class Places:
    """Makes places: each with an adapter named after `adapter`, on one hub unless another is given."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._receivers: list[Receiver] = []

    def __call__(
        self, adapter: str, receiver: Receiver | None = None, on: Hub | None = None, **manifest
    ) -> Place:
        made = Place(on or self._hub, receiver or Receiver(), f"{adapter}{uuid.uuid4().hex[:6]}")
        self._receivers.append(made.receiver.start())
        made.apply(**manifest)
        return made

    def end(self) -> None:
        for receiver in self._receivers:
            receiver.stop()
            assert receiver.faults == [], "every request is signed as it should be"
