"""The operator's commands against a running hub: what they print as JSON, and how they exit."""

from __future__ import annotations

import json
import subprocess
import threading

import pytest

from harness.amqp import channel, publish
from harness.events import manifest, parcel
from harness.hub import Hub, binaries, clean_environment
from harness.wait import eventually

MANIFESTS = {
    "till": manifest("till", publishes=("parcel.scanned.v1",)),
    "depot": manifest("depot", subscribes=("parcel.scanned.v1",)),
}


@pytest.fixture(scope="module")
def hub(shared_halls, broker) -> Hub:
    return shared_halls.hub(MANIFESTS, broker=broker).start()


def printed(hub: Hub, *arguments: str, stdin: str | None = None):
    return json.loads(hub.must(*arguments, "--json", stdin=stdin))


def test_events_are_sent_found_and_shown(hub):
    lines = [parcel("/commands", correlationid="order-5", data={"line": n}) for n in range(3)]
    hub.must("event", "send", "-", stdin="\n".join(json.dumps(line) for line in lines) + "\n")
    one, batch = parcel("/commands"), [parcel("/commands"), parcel("/commands")]
    (hub.folder / "one.json").write_text(json.dumps(one, indent=2))
    (hub.folder / "batch.json").write_text(json.dumps(batch))
    hub.must("event", "send", "one.json")
    hub.must("event", "send", "batch.json")
    sent = {event["id"] for event in [*lines, one, *batch]}

    def found() -> bool:
        text = hub.must("event", "find", "--source", "/commands", "--json")
        return all(event_id in text for event_id in sent)

    eventually("all are found", found)
    shown = printed(hub, "event", "show", one["id"])
    assert shown["event"] == one
    journey = printed(hub, "journey", "order-5")
    assert [view["event"]["data"]["line"] for view in journey["events"]] == [0, 1, 2]
    for human in (("event", "show", one["id"]), ("journey", "order-5"), ("event", "find")):
        assert hub.must(*human).strip()


def test_a_refused_event_fails_with_its_faults(hub):
    bad = hub.command("event", "send", "-", stdin=json.dumps(parcel("/commands", type="nonsense")))
    assert bad.returncode == 1
    assert "/type" in bad.stderr


def test_the_tail_prints_events_as_they_come(hub):
    tail = subprocess.Popen(
        [str(binaries() / "crossdock"), "event", "tail", "--json"],
        cwd=hub.folder,
        env=clean_environment() | {"CROSSDOCK_URL": hub.url, "CROSSDOCK_DATA_DIR": str(hub.data)},
        stdout=subprocess.PIPE,
        text=True,
    )
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(tail.stdout.readline()), daemon=True)
    reader.start()
    sent: set[str] = set()

    def seen() -> bool:
        event = parcel("/tailed")
        sent.add(event["id"])
        hub.must_accept(event)
        return bool(lines)

    try:
        eventually("the tail prints one", seen)
        assert json.loads(lines[0])["event"]["id"] in sent
    finally:
        tail.terminate()
        tail.wait(timeout=10)


def test_status_adapters_and_queues(hub):
    status = printed(hub, "status")
    assert "till" in json.dumps(status)
    assert "depot" in hub.must("status")
    assert "depot" in hub.must("adapter", "list")
    assert printed(hub, "adapter", "show", "till")["name"] == "till"
    assert hub.command("adapter", "show", "nobody").returncode == 1


def test_apply_says_that_the_hub_has_to_be_restarted_for_its_settings(hub):
    assert "restart" not in hub.must("apply", "--dry-run")
    before = hub.config.read_text()
    hub.config.write_text(before + "\n[retention]\nevents_days = 31\n")
    try:
        for arguments in ((), ("--dry-run",)):
            said = hub.must("apply", *arguments)
            assert "nothing to do" in said
            assert "crossdock.toml has changed since the hub started" in said
        assert printed(hub, "apply")["settings_changed"] is True
    finally:
        hub.config.write_text(before)
    assert "restart" not in hub.must("apply")


def test_api_keys_are_made_listed_and_removed(hub):
    made = printed(hub, "api-key", "add", "reporting", "--scope", "events:read")
    secret = made["key"]
    assert secret.startswith("cdk_")
    assert hub.request("GET", "/v1/events", key=secret).status_code == 200
    assert hub.send(parcel("/x"), key=secret).status_code == 403
    listed = hub.must("api-key", "list", "--json")
    assert "reporting" in listed
    assert secret not in listed
    assert secret not in hub.log()
    hub.must("api-key", "remove", made["id"])
    assert hub.request("GET", "/v1/events", key=secret).status_code == 401


def test_prove_is_content(hub):
    hub.must_accept(parcel("/proved"))
    assert hub.command("prove").returncode == 0
    assert printed(hub, "prove")["balanced"] is True


def test_wrong_use_exits_2(hub):
    for arguments in (("nonsense",), ("event", "send"), ("status", "--nonsense"), ("api-key", "add")):
        done = hub.command(*arguments)
        assert done.returncode == 2, arguments
        assert done.stderr


def test_no_hub_there_exits_1_and_says_so(hub):
    environment = clean_environment() | {
        "CROSSDOCK_URL": "http://127.0.0.1:9",
        "CROSSDOCK_DATA_DIR": str(hub.data),
    }
    done = subprocess.run(
        [str(binaries() / "crossdock"), "status"],
        cwd=hub.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr


def test_check_says_every_fault_with_file_and_line(halls):
    hub = halls.hub(
        {
            "till": manifest("till", publishes=("parcel.scanned.v1",)) + "colour = 3\n",
            "depot": 'name = "depot"\nsource = "/till"\ndelivery = { kind = "amqp" }\norder = "sometimes"\n',
        }
    )
    done = hub.command("check", "--config", str(hub.config))
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "adapters/till.toml:" in said
    assert "colour" in said
    assert "adapters/depot.toml:4:" in said
    hub.write_manifest("till", MANIFESTS["till"])
    hub.write_manifest("depot", MANIFESTS["depot"])
    assert hub.command("check", "--config", str(hub.config)).returncode == 0
    assert not hub.data.exists(), "check touches nothing"


def test_apply_makes_revisions_and_the_topology_follows(halls, broker):
    hub = halls.hub(MANIFESTS, broker=broker).start()
    first = hub.get("/v1/revisions/current")
    assert first["number"] == 1
    hub.write_manifest("office", manifest("office", subscribes=("parcel.*.v1",)))
    assert "office" in hub.must("apply", "--dry-run")
    assert hub.get("/v1/revisions/current")["number"] == 1
    assert "a dry run of a configuration" in hub.log()
    assert "a configuration was applied" not in hub.log()
    hub.must("apply")
    assert "a configuration was applied" in hub.log()
    assert hub.get("/v1/revisions/current")["number"] == 2
    office = halls.collector(hub, "office")
    event = parcel("/anyone")
    hub.must_accept(event)
    office.wait_for(event["id"])
    assert hub.credentials_path("office").stat().st_mode & 0o777 == 0o600

    hub.write_manifest("office", "name = ")
    broken = hub.command("apply")
    assert broken.returncode == 1
    assert "adapters/office.toml:1:" in broken.stdout + broken.stderr
    assert hub.get("/v1/revisions/current")["number"] == 2


def test_up_keeps_the_revision_and_status_names_the_difference(halls, broker):
    hub = halls.hub(MANIFESTS, broker=broker).start()
    hub.write_manifest("office", manifest("office", subscribes=("parcel.*.v1",)))
    hub.stop()
    hub.start()
    assert hub.get("/v1/revisions/current")["number"] == 1
    assert {row["name"] for row in hub.get("/v1/adapters")["adapters"]} == set(MANIFESTS)
    status = hub.must("status")
    assert "differ" in status, status


def test_rotation_overlaps_and_then_ends_the_old_credentials(halls, broker):
    hub = halls.hub(MANIFESTS, broker=broker).start()
    old = hub.credentials("till")
    hub.must("adapter", "rotate", "till")
    new = hub.credentials("till")
    assert new["CROSSDOCK_AMQP_URL"] != old["CROSSDOCK_AMQP_URL"]
    for credentials in (old, new):
        event = parcel("/till")
        with channel(credentials["CROSSDOCK_AMQP_URL"]) as own:
            publish(own, credentials["CROSSDOCK_AMQP_URL"], event)
        eventually(
            "both generations are the adapter",
            lambda event=event: hub.request("GET", f"/v1/events/{event['id']}").status_code == 200,
        )
    assert hub.request("POST", "/v1/adapters/till/rotate/finish").ok
    assert hub.send(parcel("/till"), key=old["CROSSDOCK_API_KEY"]).status_code == 401
    hub.must_accept(parcel("/till"), key=new["CROSSDOCK_API_KEY"])
    with pytest.raises(Exception, match=r"(?i)access|auth|refused"), channel(old["CROSSDOCK_AMQP_URL"]):
        pass
