"""The hub and its private node: begin, end, die and begin again; what lies in the data folder, and who may read it."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

from harness.events import parcel
from harness.hub import REPOSITORY, timed
from harness.load import MANIFESTS
from harness.processes import listening_addresses, processes_in
from harness.wait import eventually

LOOPBACK = {"0100007F", "00000000000000000000000001000000"}
SECOND_START_MAX_S = 20


def nodes(hub) -> list[int]:
    return processes_in(hub.data, "beam.smp")


def passwords(hub) -> list[str]:
    urls = [hub.credentials(adapter)["CROSSDOCK_AMQP_URL"] for adapter in MANIFESTS]
    return [urlsplit(url).password or "" for url in urls]


def test_a_private_node_lives_and_ends_with_its_hub(halls):
    hub = halls.hub(MANIFESTS).start()
    assert len(nodes(hub)) == 1
    for pid in processes_in(hub.data):
        assert listening_addresses(pid) <= LOOPBACK
    for secret in (hub.data / "admin.key", *(hub.data / "adapters").iterdir()):
        assert secret.stat().st_mode & 0o777 == 0o600, secret
    seen_by_all = "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in processes_in(hub.data))
    for secret in (hub.admin_key, *passwords(hub)):
        assert secret not in seen_by_all

    depot = halls.collector(hub, "depot")
    first = parcel("/anyone")
    hub.must_accept(first)
    depot.wait_for(first["id"])
    assert hub.stop() == 0
    eventually("nothing of it is left", lambda: not processes_in(hub.data))
    took = timed(hub.start)
    assert took < SECOND_START_MAX_S, f"the second start took {took:.1f} s"
    second = parcel("/anyone")
    hub.must_accept(second)
    depot.wait_for(second["id"])
    assert hub.get(f"/v1/events/{first['id']}")["event"] == first

    hub.kill()
    eventually("the node ends with a killed hub", lambda: not nodes(hub), 30)
    hub.start()
    assert len(nodes(hub)) == 1
    third = parcel("/anyone")
    hub.must_accept(third)
    depot.wait_for(third["id"])
    assert hub.stop() == 0


def test_a_second_hub_in_the_same_folder_is_refused(halls):
    hub = halls.hub(MANIFESTS).start()
    second = halls.hub(MANIFESTS, folder=hub.folder)
    second.start(ready=False)
    code = eventually(
        "the second one gives up",
        lambda: second.process.poll() is not None and (second.process.returncode,),
        40,
    )
    assert code == (1,)
    assert hub.is_ready()


def test_a_taken_port_is_said_plainly(halls, broker):
    hub = halls.hub(MANIFESTS, broker=broker)
    port = int(hub.url.rpartition(":")[2])
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        hub.start(ready=False)
        eventually("it gives up", lambda: hub.process.poll() is not None, 30)
    assert hub.process.returncode == 1
    assert str(port) in hub.log()


def test_a_plaintext_listener_off_loopback_is_refused(halls, broker):
    hub = halls.hub(MANIFESTS, broker=broker, environment={"CROSSDOCK_HTTP__LISTEN": "0.0.0.0:0"})
    hub.start(ready=False)
    eventually("it gives up", lambda: hub.process.poll() is not None, 30)
    assert hub.process.returncode in (1, 2)
    assert "allow_plaintext" in hub.log()


def test_a_stop_under_load_is_quick(halls, broker):
    hub = halls.hub(MANIFESTS, broker=broker).start()
    with hub.request("GET", "/v1/stream", stream=True) as stream:
        assert stream.status_code == 200
        began = time.monotonic()
        assert hub.stop() == 0
        assert time.monotonic() - began < 15, "an open stream holds the hub up"


def test_the_demo_has_something_to_show_at_once(halls):
    hub = halls.hub({})
    for path in (REPOSITORY / "config" / "adapters").glob("*.toml"):
        hub.write_manifest(path.stem, path.read_text())
    hub.start("--demo")

    def shown() -> bool:
        events = hub.get("/v1/events", limit=200)["events"]
        families = {view["event"]["type"].split(".")[0] for view in events}
        assert {"order", "cart", "stock", "preflight"} <= families, families
        return any(row["state"] == "confirmed" for view in events for row in view["deliveries"])

    eventually("orders, carts, stock and preflight pass", shown, 60)

    def all_live() -> bool:
        states = {row["name"]: row["state"] for row in hub.get("/v1/adapters")["adapters"]}
        assert states["erp"] == states["warehouse"] == "live", states
        return True

    eventually("the demo's consumers are seen", all_live)
    hub.must("status")

    def dead_letters() -> list[dict]:
        return [one for one in hub.get("/v1/dead-letters")["dead_letters"] if one["adapter"] == "courier"]

    letter = eventually("the parcel desk leaves a dead letter", dead_letters, 60)[0]
    assert letter["attempts"] == 3
    assert "no collection from LDN1 is planned yet" in letter["detail"]
    hub.must("dead-letter", "redrive", letter["id"])

    def delivered() -> bool:
        view = hub.get(f"/v1/events/{letter['event_id']}")
        return any(row["adapter"] == "courier" and row["state"] == "confirmed" for row in view["deliveries"])

    eventually("its redrive succeeds", delivered)
    assert letter["id"] not in [one["id"] for one in dead_letters()]

    assert hub.stop() == 0
    eventually("the demo's processes end with it", lambda: not processes_in(hub.folder), 20)
