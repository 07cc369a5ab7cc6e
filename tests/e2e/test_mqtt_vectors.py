"""MQTT packets as they should and should not be, each sent to the gateway by itself: the answers are what the
specifications ask for, and whatever comes, everybody else is served on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.mqtt import Server, server_under_test, serves
from harness.vectors import Vector, fault, vectors

# Of 190 (three of the rest ask for MQTT 3.1, which is not spoken here) and of 674; mosquitto 2.0.11 has 161 and 616.
V3_GOOD_MIN = 180
V5_GOOD_MIN = 650


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = server_under_test()().start()
    yield made
    made.end()


@pytest.fixture(scope="module")
def faults(server: Server, sample_data) -> list[tuple[Vector, str | None]]:
    """What each of them met; after each the server has to serve another client, by the same process."""
    seen = []
    with server.wire() as bystander:
        bystander.connect("bystander")
        for vector in vectors(sample_data("conformance/mqtt-packet-vectors")):
            seen.append((vector, fault(server, vector)))
            assert server.running(), f"{vector.group} {vector.name} ended the server: {server.log()[-2000:]}"
            assert serves(server), f"after {vector.group} {vector.name} nobody is served"
        assert bystander.pings(), "a client that did nothing wrong is served no more"
    return seen


def judge(seen: list[tuple[Vector, str | None]], good_min: int) -> None:
    bad = [f"{vector.group} {vector.name}: {what}" for vector, what in seen if what]
    good = len(seen) - len(bad)
    print("\n".join([f"{good} of {len(seen)} as expected", *bad]))
    assert good >= good_min, f"{good} of {len(seen)} as expected, at least {good_min} have to be"


def test_packets_of_3_1_and_3_1_1_are_answered_as_they_should_be(faults):
    judge([one for one in faults if one[0].is_v3], V3_GOOD_MIN)


def test_packets_of_5_0_are_answered_as_they_should_be(faults):
    judge([one for one in faults if not one[0].is_v3], V5_GOOD_MIN)
