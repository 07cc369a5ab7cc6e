"""A foreign AMQP client: pika, used as an adapter's developer would, and as somebody who means harm would."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pika
from pika.adapters.blocking_connection import BlockingChannel

# Tests look at the exceptions; what pika logs beside them would bury a failure.
logging.getLogger("pika").setLevel(logging.CRITICAL + 1)

INGRESS = "crossdock.ingress"
RECEIPTS = "crossdock.receipts"
NOT_HEADERS = {"data", "data_base64", "datacontenttype"}


def parameters(url: str) -> pika.URLParameters:
    made = pika.URLParameters(url)
    made.socket_timeout = made.blocked_connection_timeout = made.stack_timeout = 10
    return made


def user_of(url: str) -> str:
    return urlsplit(url).username or ""


@contextmanager
def channel(url: str, *, confirms: bool = True) -> Iterator[BlockingChannel]:
    """A channel of a connection of its own."""
    connection = pika.BlockingConnection(parameters(url))
    try:
        opened = connection.channel()
        if confirms:
            opened.confirm_delivery()
        yield opened
    finally:
        if connection.is_open:
            connection.close()


def binary(event: dict, prefix: str = "cloudEvents_") -> tuple[pika.BasicProperties, bytes]:
    """An event in binary mode: attributes as headers, data as the body."""
    headers = {prefix + name: value for name, value in event.items() if name not in NOT_HEADERS}
    properties = pika.BasicProperties(
        content_type=event.get("datacontenttype"), headers=headers, delivery_mode=2
    )
    return properties, json.dumps(event.get("data")).encode()


def structured(event: dict) -> tuple[pika.BasicProperties, bytes]:
    properties = pika.BasicProperties(
        content_type="application/cloudevents+json; charset=utf-8", delivery_mode=2
    )
    return properties, json.dumps(event).encode()


def partition_key(event: dict) -> str:
    return event.get("partitionkey") or event.get("subject") or event["id"]


def publish(on: BlockingChannel, url: str, event: dict, mode=binary, **changes) -> None:
    """Publishes as contracts.md asks, and returns when confirmed. `changes` overwrite properties; headers are
    merged. The user is the connection's own unless changed."""
    properties, body = mode(event)
    properties.user_id = user_of(url)
    properties.headers = {**(properties.headers or {}), **changes.pop("headers", {})}
    for name, value in changes.items():
        setattr(properties, name, value)
    on.basic_publish(INGRESS, partition_key(event), body, properties)
