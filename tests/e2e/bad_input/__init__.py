"""Every kind of bad input that docs/bad-input.md lists: what comes in, what the hub answers, what is kept.

Each case says how it is sent and what is expected; the tables of the document are written from the same words, so
neither can say what the other does not. `PYTHONPATH=tests python -m e2e.bad_input` writes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.hub import REPOSITORY

if TYPE_CHECKING:
    from e2e.bad_input.hall import Hall

DOCUMENT = REPOSITORY / "docs" / "bad-input.md"
HEADING = "| what comes in | what the hub answers | what is kept |\n|---|---|---|\n"
NOTHING = "nothing"


@dataclass(frozen=True)
class Case:
    """One row of the document, and how to see that it is true."""

    title: str
    answer: str
    run: Callable[[Hall], None]
    kept: str = NOTHING

    def row(self) -> str:
        return (
            "| "
            + " | ".join(cell.replace("|", "\\|") for cell in (self.title, self.answer, self.kept))
            + " |"
        )


def tables() -> dict[str, list[Case]]:
    """The cases by the door that they come through, in the document's order."""
    from e2e.bad_input import files, imports, keys, mappings, messages, receipts, requests, schemas

    return {
        "events over HTTP": requests.CASES,
        "events over AMQP": messages.CASES,
        "receipts": receipts.CASES,
        "manifests": files.MANIFEST_CASES,
        "mappings": mappings.CASES,
        "schemas": schemas.CASES,
        "rules of live state": files.STATE_CASES,
        "settings": files.SETTING_CASES,
        "keys and questions": keys.CASES,
        "files to import": imports.CASES,
    }


def begin(door: str) -> str:
    return f"<!-- {door}: written from tests/e2e/bad_input -->\n"


END = "<!-- end -->"


def with_tables(text: str) -> str:
    """The document with its tables as the cases say them."""
    for door, cases in tables().items():
        before, found, rest = text.partition(begin(door))
        assert found, f"{DOCUMENT.name} has no place for {door!r}"
        _, found, after = rest.partition(END)
        assert found, f"{DOCUMENT.name}: the table {door!r} does not end"
        rows = "".join(case.row() + "\n" for case in cases)
        text = before + begin(door) + HEADING + rows + END + after
    return text
