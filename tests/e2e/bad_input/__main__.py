"""Writes the tables of docs/bad-input.md."""

from e2e.bad_input import DOCUMENT, with_tables

DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
