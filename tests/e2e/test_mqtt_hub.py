"""MQTT as the hub has it: its listeners with and without TLS, what it says of itself, and what it says of settings that
cannot be."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import trustme

from harness.events import event
from harness.hub import REPOSITORY, Hub
from harness.processes import free_port
from harness.wait import eventually

RULES = (REPOSITORY / "config" / "state.toml").read_text(encoding="utf-8")
SERVER_SHUTTING_DOWN = 0x8B
KEY = ("api-key", "add", "pages", "--scope", "browser-tokens:write", "--topics", "stock/#")


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Path:
    """The folder with a certificate, its key, and who signed it."""
    folder = tmp_path_factory.mktemp("papers")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    issued = ca.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    return folder


@pytest.fixture(scope="module")
def tls_port() -> int:
    return free_port()


def tls_settings(port: int, certificate: Path, key: Path) -> str:
    return f'[mqtt.tls]\nlisten = "127.0.0.1:{port}"\ncertificate = "{certificate}"\nkey = "{key}"\n'


@pytest.fixture(scope="module")
def hub(shared_halls, broker, papers, tls_port) -> Iterator[Hub]:
    settings = tls_settings(tls_port, papers / "certificate.pem", papers / "key.pem")
    made = shared_halls.hub({}, broker=broker, settings=settings)
    made.write_state(RULES)
    yield made.start()


@pytest.fixture(scope="module")
def token(hub) -> str:
    key = hub.must(*KEY).splitlines()[0]
    asked = {"topics": ["stock/#"], "subject": "a page"}
    answer = hub.request("POST", "/v1/browser-tokens", key=key, json=asked)
    assert answer.status_code == 201, answer.text
    return answer.json()["token"]


def read_one(port: int, token: str, *options: str) -> subprocess.CompletedProcess[str]:
    """The first message under stock/, with a client that people have."""
    command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-u", "page", "-P", token]
    command += ["-t", "stock/#", "-q", "1", "-C", "1", "-W", "10", "-F", "%r %t %p", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
@pytest.mark.parametrize("listener", ["tcp", "tls"])
def test_a_state_is_read_at_every_listener(hub, token, papers, tls_port, listener, version):
    def is_there() -> bool:
        return hub.request("GET", "/v1/state/stock/LDN1/MUG").status_code == 200

    if not is_there():  # A change while it is read would come as one.
        hub.must_accept(
            event("stock.level.v1", "/stock", data={"sku": "MUG", "location": "LDN1", "on_hand": 4})
        )
    eventually("the state", is_there)
    port, tls = (hub.mqtt_port, []) if listener == "tcp" else (tls_port, ["--cafile", str(papers / "ca.pem")])
    read = read_one(port, token, "-V", version, *tls)
    assert read.returncode == 0, read.stderr
    assert read.stdout.startswith('1 stock/LDN1/MUG {"topic":"stock/LDN1/MUG","version":'), read.stdout


def test_who_has_no_token_is_not_let_in(hub):
    read = read_one(hub.mqtt_port, "no token")
    assert read.returncode != 0
    assert "not authorised" in read.stderr.lower()


def test_status_overview_and_metrics_say_how_it_goes(hub, token):
    command = ["mosquitto_sub", "-p", str(hub.mqtt_port), "-u", "page", "-P", token, "-t", "stock/#"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as reader:
        try:
            eventually("a client is seen", lambda: hub.get("/v1/status")["mqtt"]["clients"] == 1)
            assert hub.get("/v1/overview")["mqtt"]["clients"] == 1
            assert "1 client, " in hub.must("status")
            metrics = lambda: hub.request("GET", "/metrics").text  # noqa: E731
            eventually("Prometheus sees it", lambda: "crossdock_mqtt_clients 1" in metrics())
            for name in ("messages_total", "dropped_total", "queue_bytes", "retained", "refused_total"):
                assert f"crossdock_mqtt_{name}" in metrics()
        finally:
            reader.terminate()


def test_pages_that_are_turned_away_want_attention(halls, broker):
    hub = halls.hub({}, broker=broker).start()
    for _ in range(20):
        headers = {"Origin": "https://shop.example.com"}
        assert requests.get(f"{hub.url}/mqtt", headers=headers, timeout=30).status_code == 403
    [line] = [one for one in hub.get("/v1/overview")["attention"] if one["subject"] == "mqtt"]
    assert line["sentence"].startswith(
        "20 logins of pages were refused in the last 5 minutes and none was let in"
    )
    assert "(`origin`: pages of https://shop.example.com may not connect): " in line["sentence"]
    assert line["sentence"] in hub.must("status")


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("nowhere.pem", "key.pem", "mqtt.tls.certificate: cannot read"),
        ("key.pem", "key.pem", "holds no certificate in PEM"),
        ("certificate.pem", "ca.pem", "mqtt.tls.key: cannot read"),
    ],
)
def test_a_certificate_that_is_none_is_said_at_the_start(halls, papers, certificate, key, said):
    hub = halls.hub({}, settings=tls_settings(free_port(), papers / certificate, papers / key))
    hub.start(ready=False)
    eventually("the hub ends", lambda: not hub.running())
    assert said in hub.log(), hub.log()


def test_an_address_that_is_taken_is_said_with_its_setting(halls, hub):
    other = halls.hub({}, environment={"CROSSDOCK_MQTT__LISTEN": f"127.0.0.1:{hub.mqtt_port}"})
    other.start(ready=False)
    eventually("the hub ends", lambda: not other.running())
    assert "listen in [mqtt], or CROSSDOCK_MQTT__LISTEN" in other.log(), other.log()


def test_a_stop_says_goodbye(halls, broker):
    hub = halls.hub({}, broker=broker)
    hub.write_state(RULES)
    hub.start()
    key = hub.must(*KEY).splitlines()[0]
    asked = {"topics": ["stock/#"], "subject": "a page"}
    token = hub.request("POST", "/v1/browser-tokens", key=key, json=asked).json()["token"]
    command = ["mosquitto_sub", "-d", "-p", str(hub.mqtt_port), "-u", "page", "-P", token]
    command += ["-t", "stock/#", "-V", "mqttv5", "-W", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as reader:
        eventually("a client is seen", lambda: hub.get("/v1/status")["mqtt"]["clients"] == 1)
        began = time.monotonic()
        assert hub.stop() == 0
        assert time.monotonic() - began < 20
        reader.terminate()
        said = reader.communicate()[0]
    assert f"received disconnect ({SERVER_SHUTTING_DOWN})\n" in said.lower(), said
