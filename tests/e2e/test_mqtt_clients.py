"""The clients that people have, against the gateway as it stands in front of the hub: paho-mqtt and aiomqtt, mosquitto's
own over TCP and TLS, and MQTT.js in Node and in a browser. Each connects, subscribes, gets what is retained, publishes
at every QoS, leaves a will, and takes its session up again."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiomqtt
import pytest
import trustme

from harness.hub import REPOSITORY
from harness.members import Member, Message, Transport
from harness.mqtt import HOST, Server, server_under_test
from harness.node import NODE_MODULES, node_says
from harness.wait import eventually

DEADLINE_S = 30
SCENARIO = REPOSITORY / "tests" / "node" / "mqtt.js"
JS_SEES = {
    "messages": ["qos 0 at 0", "qos 1 at 1", "qos 2 at 2"],
    "retained": True,
    "sessionPresent": True,
    "letters": ["letter 1", "letter 2", "letter 3"],
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Path:
    """The folder with a certificate for the server, its key, and who signed it."""
    folder = tmp_path_factory.mktemp("authority")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    issued = ca.issue_cert("localhost", HOST)
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for pem in issued.cert_chain_pems:
        pem.write_to_path(folder / "certificate.pem", append=True)
    return folder


@pytest.fixture(scope="module")
def server(authority) -> Iterator[Server]:
    made = server_under_test()(tls=(authority / "certificate.pem", authority / "key.pem")).start()
    yield made
    made.end()


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("transport", ["tcp", "tls", "websocket"])
def test_paho(server, authority, transport: Transport, version):
    name = f"paho-{transport}-{version}"

    def member(client_id: str, **options) -> Member:
        ca = authority / "ca.pem"
        made = Member(
            server, f"{name}-{client_id}", version=version, transport=transport, authority=ca, **options
        )
        members.append(made)
        return made

    members: list[Member] = []
    reader = member("reader").subscribe(f"{name}/news/#", 2)
    writer = member("writer")
    for qos in (0, 1, 2):
        writer.publish(f"{name}/news/{qos}", f"qos {qos}", qos)
    came = reader.wait_for("qos 0", "qos 1", "qos 2")
    assert [message.qos for message in came] == [0, 1, 2]

    writer.publish(f"{name}/state", "old", retain=True)
    writer.publish(f"{name}/state", "kept", retain=True)
    late = member("late").subscribe(f"{name}/state", 1)
    assert late.wait_for("kept") == [Message(f"{name}/state", "kept", 1, True)]

    traveller = member("traveller", keeps=True, will=(f"{name}/news/will", "it went"))
    traveller.subscribe(f"{name}/post", 1)
    traveller.vanish()
    reader.wait_for("qos 0", "qos 1", "qos 2", "it went")
    for number in (1, 2, 3):
        writer.publish(f"{name}/post", f"letter {number}")
    traveller = member("traveller", keeps=True)
    assert traveller.session_present
    traveller.wait_for("letter 1", "letter 2", "letter 3")
    for each in members:
        each.leave()


def test_aiomqtt(server, authority):
    tls = ssl.create_default_context(cafile=str(authority / "ca.pem"))

    def client(name: str, **options) -> aiomqtt.Client:
        return aiomqtt.Client(HOST, server.tls_port, identifier=f"aio-{name}", tls_context=tls, **options)

    async def next_of(reader: aiomqtt.Client) -> tuple[str, int, bool]:
        message = await asyncio.wait_for(anext(aiter(reader.messages)), DEADLINE_S)
        return message.payload.decode(), message.qos, bool(message.retain)

    async def scenario() -> None:
        async with client("reader") as reader, client("writer") as writer:
            await reader.subscribe("aio/news/#", qos=2)
            for qos in (0, 1, 2):
                await writer.publish(f"aio/news/{qos}", f"qos {qos}", qos=qos)
                assert await next_of(reader) == (f"qos {qos}", qos, False)
            await writer.publish("aio/state", "kept", qos=1, retain=True)
            async with client("late") as late:
                await late.subscribe("aio/state", qos=1)
                assert await next_of(late) == ("kept", 1, True)
            async with client("traveller", clean_session=False) as traveller:
                await traveller.subscribe("aio/post", qos=1)
            for number in (1, 2, 3):
                await writer.publish("aio/post", f"letter {number}", qos=1)
            async with client("traveller", clean_session=False) as traveller:
                for number in (1, 2, 3):
                    assert await next_of(traveller) == (f"letter {number}", 1, False)
            will = aiomqtt.Will("aio/news/will", "it went", qos=1)
            with pytest.raises(aiomqtt.MqttError):
                async with client("mortal", will=will) as mortal:
                    mortal._client.socket().shutdown(2)
                    await next_of(mortal)
            assert await next_of(reader) == ("it went", 1, False)

    # In a thread of its own: the browser of other tests has an event loop in this one.
    with ThreadPoolExecutor(1) as aside:
        aside.submit(asyncio.run, scenario()).result()


class Mosquitto:
    """mosquitto_pub and mosquitto_sub at one door of the server."""

    def __init__(self, server: Server, authority: Path, transport: str, version: str) -> None:
        port = server.tls_port if transport == "tls" else server.port
        self.door = ["-h", "localhost" if transport == "tls" else HOST, "-p", str(port), "-V", version]
        if transport == "tls":
            self.door += ["--cafile", str(authority / "ca.pem")]

    def publish(self, topic: str, payload: str, *options: str) -> None:
        command = ["mosquitto_pub", *self.door, "-t", topic, "-m", payload, *options]
        subprocess.run(command, check=True, timeout=DEADLINE_S)

    def subscribe(self, filter_: str, *options: str) -> subprocess.Popen[str]:
        command = [
            "mosquitto_sub",
            *self.door,
            "-t",
            filter_,
            "-F",
            "%q %r %p",
            "-W",
            str(DEADLINE_S),
            *options,
        ]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def read(self, filter_: str, count: int, *options: str) -> list[str]:
        """What comes, up to so many: QoS, whether retained, payload."""
        reader = self.subscribe(filter_, "-C", str(count), *options)
        said, _ = reader.communicate(timeout=DEADLINE_S)
        return said.splitlines()


@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_mosquittos_clients(server, authority, transport, version):
    client = Mosquitto(server, authority, transport, version)
    name = f"mosquitto-{transport}-{version}"

    for qos in "012":
        client.publish(f"{name}/state/{qos}", f"qos {qos}", "-q", qos, "-r")
    assert sorted(client.read(f"{name}/state/+", 3, "-q", "2")) == ["0 1 qos 0", "1 1 qos 1", "2 1 qos 2"]

    keep = ["-i", f"{name}-traveller", "-c", "-q", "1"]
    # -E: subscribes and goes.
    client.subscribe(f"{name}/post", "-E", *keep).wait(DEADLINE_S)
    for number in (1, 2, 3):
        client.publish(f"{name}/post", f"letter {number}", "-q", "1")
    assert client.read(f"{name}/post", 3, *keep) == ["1 0 letter 1", "1 0 letter 2", "1 0 letter 3"]

    watcher = Member(server, f"{name}-watcher").subscribe(f"{name}/#", 1)
    retained = len(eventually("what is retained came", lambda: watcher.payloads()[2:] and watcher.payloads()))
    mortal = client.subscribe(
        f"{name}/never", "--will-topic", f"{name}/will", "--will-payload", "it went", "--will-qos", "1"
    )
    # It says nothing of being connected, so it is asked through a message.
    ask = f"{name}/never"
    eventually("it is there", lambda: asked(client, ask, mortal), DEADLINE_S)
    mortal.kill()
    eventually("its will came", lambda: watcher.payloads()[retained:][-1:] == ["it went"], DEADLINE_S)
    watcher.leave()


def asked(client: Mosquitto, topic: str, reader: subprocess.Popen[str]) -> bool:
    client.publish(topic, "are you there?", "-q", "0", "-r")
    return bool(reader.stdout and reader.stdout.readline())


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("transport", ["tcp", "websocket"])
def test_mqtt_js_in_node(server, transport, version):
    url = server.websocket_url if transport == "websocket" else f"mqtt://{server.address}"
    assert json.loads(node_says(SCENARIO.name, url, str(version))) == JS_SEES


@pytest.mark.parametrize("version", [4, 5])
def test_mqtt_js_in_a_browser(server, visit, version):
    page = visit().page
    # A page of the same origin: of another one Chromium lets none speak to a loopback address.
    page.goto(f"http://{HOST}:{server.websocket_port}/")
    library = (NODE_MODULES / "mqtt" / "dist" / "mqtt.min.js").read_text(encoding="utf-8")
    page.evaluate(f"(() => {{ {library}; window.mqtt = mqtt.default ?? mqtt; }})()")
    page.evaluate(f"(() => {{ {SCENARIO.read_text()}; window.mqttScenario = mqttScenario; }})()")
    seen = page.evaluate(
        "([url, version]) => mqttScenario(mqtt, url, version)", [server.websocket_url, version]
    )
    assert seen == JS_SEES
