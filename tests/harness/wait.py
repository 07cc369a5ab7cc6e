"""Waiting for a condition, with a deadline: what tests do here instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_S = 0.05


class Overdue(AssertionError):
    """The condition did not come true in time; says what was seen last."""


def eventually(what: str, look: Callable[[], T], within_s: float = 20.0) -> T:
    """Looks again and again until `look` gives something truthy, and gives that. An AssertionError of `look`
    counts as not yet, so it may hold assertions."""
    deadline = time.monotonic() + within_s
    seen: object = None
    while True:
        try:
            seen = look()
            if seen:
                return seen
        except AssertionError as not_yet:
            seen = not_yet
        if time.monotonic() > deadline:
            raise Overdue(f"not within {within_s:g} s: {what}; last seen: {seen!r}")
        time.sleep(PAUSE_S)
