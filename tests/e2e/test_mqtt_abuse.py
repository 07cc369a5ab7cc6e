"""A little of each abuse of tests/chaos/mqtt_abuse.py: the others are served on, by the same process, in bounded memory.
`tests/run abuse` does it in full."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaos.mqtt_abuse import abuse
from chaos.mqtt_attacks import KINDS
from harness.mqtt import OpenGateway

SCALE = 0.2
SECONDS = 2.0


@pytest.fixture(scope="module")
def server() -> Iterator[OpenGateway]:
    made = OpenGateway().start()
    yield made
    made.end()


@pytest.mark.parametrize("kind", KINDS)
def test_others_are_served_on(server, kind):
    seen = abuse(server, kind, scale=SCALE, seconds=SECONDS, seed=1)
    assert not seen.faults, seen
    assert "router ended" not in server.log()
