"""Every row of docs/bad-input.md, sent to a hub that works on beside it: the answer is the one that the document
gives, nobody gets anything of it, no neighbour is held up, and after all of them the hub is what it was."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.bad_input import DOCUMENT, Case, tables, with_tables
from e2e.bad_input.hall import MANIFESTS, NEIGHBOUR_S, SCHEMAS, Hall
from e2e.bad_input.over_http import begin_slow
from harness.events import parcel
from harness.wait import eventually

"""What the hub's process may ever have held in memory, after all of them. Said in the document."""
MEMORY_MAX_MIB = 256
ROWS_MIN = 40
WORKERS = 32

ALL = [(door, case) for door, cases in tables().items() for case in cases]


@pytest.fixture(scope="module")
def hall(shared_halls, broker) -> Iterator[Hall]:
    hub = shared_halls.hub(MANIFESTS, broker=broker)
    for name, text in SCHEMAS.items():
        hub.write_schema(name, text)
    hub.start()
    with ThreadPoolExecutor(WORKERS) as pool:
        hall = Hall(hub, shared_halls.collector(hub, "depot"), pool)
        begin_slow(hall)
        yield hall


@pytest.mark.parametrize(("door", "case"), ALL, ids=[f"{door}: {case.title}" for door, case in ALL])
def test_bad_input(hall, door, case: Case):
    before = hall.log_size()
    with hall.neighbour():
        case.run(hall)
    assert hall.hub.running()
    said = hall.hub.log_path.read_bytes()[before:]
    assert b"panicked" not in said
    assert len(said) < 64 * 1024, f"one input made {len(said)} bytes of log"


def test_after_all_of_them_the_hub_is_what_it_was(hall):
    assert hall.hub.is_ready()
    last = parcel("/rogue", subject="last")
    hall.good.add(last["id"])
    hall.hub.must_accept(last, key=hall.key("rogue"))
    hall.depot.wait_for(*hall.good, within_s=60)
    assert {delivery.id for delivery in hall.depot.deliveries()} - hall.good == imported_ids(hall)
    print(f"memory {memory_peak_mib(hall)} MiB at its peak; a neighbour waited at most {hall.slowest:.2f} s")
    assert memory_peak_mib(hall) < MEMORY_MAX_MIB

    def at_rest() -> bool:
        ledger = hall.hub.ledger()
        return ledger["balanced"] and ledger["waiting_in_ingress"] == 0

    eventually("the ledger balances, and all is judged", at_rest, 60)
    assert hall.hub.stop() == 0


def imported_ids(hall: Hall) -> set[str]:
    """Rows that were good among bad ones."""
    return {view["event"]["id"] for view in hall.hub.all_events(source="/imported")}


def memory_peak_mib(hall: Hall) -> int:
    status = Path(f"/proc/{hall.hub.process.pid}/status").read_text()
    [peak] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peak) // 1024


def test_the_document_and_the_cases_say_the_same():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run: PYTHONPATH=tests python -m e2e.bad_input"
    assert len(ALL) >= ROWS_MIN
    titles = [(door, case.title) for door, case in ALL]
    assert len(set(titles)) == len(titles)
    assert f"{NEIGHBOUR_S} s" in text
    assert f"{MEMORY_MAX_MIB} MiB" in text
