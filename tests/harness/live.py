"""A client of /v1/live, as a dashboard's tab is: what it was told, and when."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass

import requests

from harness.hub import Hub
from harness.wait import eventually

SILENCE_MAX_S = 30


@dataclass(frozen=True)
class Message:
    at: float
    topic: str
    id: str | None
    data: dict


class Live(threading.Thread):
    """One open stream, read until it ends or is closed."""

    def __init__(self, hub: Hub, *topics: str, key: str | None = None, last_id: str | None = None) -> None:
        super().__init__(daemon=True)
        headers = {"Last-Event-ID": last_id} if last_id is not None else {}
        path = f"/v1/live?topics={','.join(topics)}"
        self.answer = hub.request("GET", path, key=key, headers=headers, stream=True, timeout=SILENCE_MAX_S)
        self.ended_at: float | None = None
        self._messages: list[Message] = []
        if self.answer.status_code == 200:
            self.start()

    def run(self) -> None:
        fields: dict[str, str] = {}
        try:
            for line in self.answer.iter_lines(chunk_size=1, decode_unicode=True):
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                    continue
                if "data" in fields:
                    data = json.loads(fields["data"])
                    message = Message(time.monotonic(), fields["event"], fields.get("id"), data)
                    self._messages.append(message)
                fields = {}
        except (requests.RequestException, AttributeError, ValueError):
            pass  # It was closed, or broken off: what was read until then counts.
        self.ended_at = time.monotonic()

    def messages(self, topic: str) -> list[Message]:
        return [message for message in list(self._messages) if message.topic == topic]

    def last(self, topic: str) -> dict | None:
        messages = self.messages(topic)
        return messages[-1].data if messages else None

    def wait_for(self, topic: str, within_s: float = 20) -> dict:
        return eventually(f"{topic} is shown", lambda: self.last(topic), within_s)

    def last_id(self) -> str | None:
        ids = [message.id for message in list(self._messages) if message.id is not None]
        return ids[-1] if ids else None

    def shown_events(self) -> list[str]:
        return [view["event"]["id"] for message in self.messages("events") for view in message.data["events"]]

    def skipped(self) -> int:
        return sum(message.data["skipped"] for message in self.messages("events"))

    def close(self) -> None:
        self.answer.close()
