"""Bad files to import: a row that becomes no event goes to the rejects with the reason, and the rest is imported."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from e2e.bad_input import Case
from e2e.bad_input.hall import Hall

SOUND = '{type: "parcel.counted.v1", source: "/imported", data: .}'
GOOD = b"sku,price\nA,1.50\n"


def imported(
    title: str,
    data: bytes,
    answer: str,
    says: str,
    *,
    mapping: str = SOUND,
    name: str = "till.csv",
    rejected: int | None = None,
    more: tuple[str, ...] = (),
) -> Case:
    """An import that ends with 1. `rejected`: so many lines of rejects, each with these words; none: it does not
    begin, and says so."""

    def run(hall: Hall) -> None:
        with tempfile.TemporaryDirectory(prefix="crossdock-bad-") as folder:
            place = Path(folder)
            (place / name).write_bytes(data)
            (place / "map.jq").write_text(mapping)
            rejects = place / "rejects.jsonl"
            done = hall.hub.command(
                "import", str(place / name), "--map", str(place / "map.jq"), "--rejects", str(rejects), *more
            )
            # The folder is gone; what was asked of it was read before.
            lines = (
                [json.loads(line) for line in rejects.read_text().splitlines()] if rejects.exists() else []
            )
        assert done.returncode == 1, f"{done.returncode} {done.stdout} {done.stderr}"
        if rejected is None:
            assert says in done.stderr, done.stderr
        else:
            assert len(lines) == rejected, lines
            assert all(says in line["reject"] for line in lines), lines

    kept = "nothing" if rejected is None else "the row in the rejects, the other rows as events"
    return Case(title, f"{answer}: “{says}”", run, kept)


def at_once(title: str, data: bytes, says: str, **options) -> Case:
    return imported(title, data, "exit 1", says, **options)


def by_row(title: str, data: bytes, says: str, rejected: int = 1, **options) -> Case:
    return imported(title, data, "exit 1 at the end, and a reject", says, rejected=rejected, **options)


CASES = [
    at_once(
        "a mapping with a fault",
        GOOD,
        "map.jq:1:8: `nope` is not a function that is known here",
        mapping="{type: nope}",
    ),
    at_once(
        "a column to group by that is not there",
        GOOD,
        'it has no column "order", only sku, price',
        more=("--group-by", "order"),
    ),
    by_row("a row with too few fields", b"sku,price\nA,1\nB\n", "has 1 fields, the header has 2"),
    by_row("a row with too many fields", b"sku,price\nA,1\nB,2,3\n", "has 3 fields, the header has 2"),
    by_row("a row that is not UTF-8", b"sku,price\nA,1\n\xff,2\n", 'column "sku" is not UTF-8'),
    by_row(
        "a line of JSON that is cut off",
        b'{"sku":"A"}\n{"sku":\n',
        "is not JSON: EOF while parsing",
        name="till.jsonl",
    ),
    by_row(
        "a row that the mapping raises an error on",
        b"sku,price\nA,1.5\nB,free\n",
        "the mapping raised an error: tonumber expects",
        mapping='{type: "parcel.counted.v1", source: "/imported", data: (.price | tonumber)}',
    ),
    by_row("a mapping that yields no event", GOOD, "the mapping yielded no object", mapping=".sku"),
    by_row(
        "a mapping that yields half an event",
        GOOD,
        "/source: is missing",
        mapping='{type: "parcel.counted.v1"}',
    ),
    by_row(
        "a mapping that yields a type of no version",
        GOOD,
        "expected <family>.<past tense>.v<n>",
        mapping='{type: "counted", source: "/imported"}',
    ),
    by_row("jq that explodes in number", GOOD, "it yields too much", mapping="range(100000)"),
    by_row(
        "jq that explodes in size",
        GOOD,
        "it does too much work or makes too much data",
        mapping='reduce range(100) as $n ("x"; . + .)',
    ),
    by_row(
        "jq that explodes in depth",
        GOOD,
        "a value nests too deeply",
        mapping="reduce range(100000) as $n (.; [.])",
    ),
    by_row(
        "jq that works without end in sight",
        GOOD,
        "it does too much work or makes too much data",
        mapping="[range(1000000)] | map(. as $a | range(1000000) | . + $a) | add",
    ),
    by_row(
        "a regular expression that other engines choke on",
        b"sku,price\n" + b"a" * 30 + b"!,1\n",
        "/source: is missing",
        mapping='{type: (if (.sku | test("^(a+)+$")) then "a.b.v1" else "c.d.v1" end)}',
    ),
    by_row(
        "a regular expression of a billion steps",
        GOOD,
        "it does too much work or makes too much data",
        mapping='.sku | test("((a{1,100}){1,100}){1,100}")',
    ),
]
