"""A little of each abuse of tests/chaos/mqtt_abuse.py: the others are served on, by the same process, in bounded memory.
`tests/run abuse` does it in full."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaos.mqtt_abuse import abuse
from chaos.mqtt_attacks import KINDS
from chaos.mqtt_hoards import HOARDS
from harness.mqtt import OpenGateway

SCALE = 0.2
SECONDS = 2.0


@pytest.fixture(scope="module")
def server() -> Iterator[OpenGateway]:
    made = OpenGateway().start()
    yield made
    made.end()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in HOARDS])
def test_others_are_served_on(server, kind):
    holds_out(server, kind)


@pytest.mark.parametrize("kind", HOARDS)
def test_what_is_kept_for_somebody_is_bounded(kind):
    # One of its own: what another kind left behind is not to count.
    server = OpenGateway().start()
    try:
        holds_out(server, kind)
    finally:
        server.end()


def holds_out(server: OpenGateway, kind: str) -> None:
    seen = abuse(server, kind, scale=SCALE, seconds=SECONDS, seed=1)
    assert not seen.faults, seen
    assert "router ended" not in server.log()
