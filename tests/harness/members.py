"""A well-behaved MQTT client for tests, paho-mqtt's: keeps what came, and can go without a word."""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness.mqtt import HOST, Server
from harness.wait import eventually

Transport = Literal["tcp", "tls", "websocket"]
DEADLINE_S = 15
KEPT_S = 600


@dataclass(frozen=True)
class Message:
    """One message as it came."""

    topic: str
    payload: str
    qos: int
    retained: bool


class Member:
    """One client, connected from the start. `keeps`: its session outlives the connection."""

    def __init__(
        self,
        server: Server,
        client_id: str,
        *,
        version: Literal[4, 5] = 5,
        transport: Transport = "tcp",
        authority: Path | None = None,
        keeps: bool = False,
        will: tuple[str, str] | None = None,
    ) -> None:
        self._came: list[Message] = []
        self._lock = threading.Lock()
        self.session_present = False
        self.granted: list[int] = []
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=paho.MQTTv5 if version == 5 else paho.MQTTv311,
            clean_session=None if version == 5 else not keeps,
            transport="websockets" if transport == "websocket" else "tcp",
            reconnect_on_failure=False,
        )
        if transport == "websocket":
            self._client.ws_set_options("/mqtt")
        if transport == "tls":
            self._client.tls_set(str(authority), tls_version=ssl.PROTOCOL_TLS_CLIENT)
        if will is not None:
            self._client.will_set(*will, qos=1)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        self._connected = threading.Event()
        self._subscribed = threading.Event()
        port = {"tcp": server.port, "tls": server.tls_port, "websocket": server.websocket_port}[transport]
        options: dict = {}
        if version == 5:
            options["clean_start"] = not keeps
            if keeps:
                options["properties"] = Properties(PacketTypes.CONNECT)
                options["properties"].SessionExpiryInterval = KEPT_S
        self._client.connect(HOST, port, **options)
        self._client.loop_start()
        assert self._connected.wait(DEADLINE_S), f"{client_id} got no CONNACK"

    def _on_connect(self, client, userdata, flags, reason, properties) -> None:
        self.session_present = flags.session_present
        assert not reason.is_failure, reason
        self._connected.set()

    def _on_message(self, client, userdata, message) -> None:
        with self._lock:
            self._came.append(
                Message(message.topic, message.payload.decode(), message.qos, bool(message.retain))
            )

    def _on_subscribe(self, client, userdata, packet_id, reasons, properties) -> None:
        self.granted = [reason.value for reason in reasons]
        self._subscribed.set()

    def subscribe(self, filter_: str, qos: int = 1) -> Member:
        self._subscribed.clear()
        self._client.subscribe(filter_, qos)
        assert self._subscribed.wait(DEADLINE_S), f"no SUBACK for {filter_}"
        assert self.granted == [qos], self.granted
        return self

    def publish(self, topic: str, payload: str, qos: int = 1, *, retain: bool = False) -> None:
        """Returns once it is acknowledged as its QoS has it."""
        self._client.publish(topic, payload, qos, retain).wait_for_publish(DEADLINE_S)

    def came(self) -> list[Message]:
        with self._lock:
            return list(self._came)

    def payloads(self) -> list[str]:
        return [message.payload for message in self.came()]

    def wait_for(self, *payloads: str) -> list[Message]:
        """Until these have come, these alone and in this order."""

        def all_here() -> bool:
            got = self.payloads()
            assert len(got) >= len(payloads), got
            return True

        eventually(f"{payloads} came", all_here, DEADLINE_S)
        assert self.payloads() == list(payloads)
        return self.came()

    def leave(self) -> None:
        """Says goodbye."""
        self._client.disconnect()
        self._client.loop_stop()

    def vanish(self) -> None:
        """Goes without a word, as a laptop that is closed: what it did not acknowledge was not received."""
        sock = self._client.socket()
        # A WebSocket is wrapped.
        raw = getattr(sock, "_socket", sock)
        raw.shutdown(socket.SHUT_RDWR)
        self._client.loop_stop()
