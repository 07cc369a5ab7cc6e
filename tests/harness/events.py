"""Events and manifests for tests: short to write, valid unless a test makes them otherwise."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone


def event(event_type: str, source: str, **changes) -> dict:
    """A structured CloudEvent; a change to None leaves the attribute out."""
    made = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": source,
        "type": event_type,
        "time": datetime.now(timezone.utc).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def parcel(source: str, **changes) -> dict:
    """An event of a type that the hub has no schema for, so its data is the test's own."""
    return event("parcel.scanned.v1", source, **{"data": {"dock": 7}, **changes})


def manifest(
    name: str,
    *,
    publishes: tuple[str, ...] = (),
    subscribes: tuple[str, ...] = (),
    filter: str | None = None,
    transform: str | None = None,
    delivery: str = '{ kind = "amqp" }',
    more: str = "",
) -> str:
    """A manifest whose source is `/<name>`. A filter and a transform, in jq without `'''`, belong to what it
    subscribes."""
    lines = [
        f'name = "{name}"',
        f'source = "/{name}"',
        f"publishes = {list(publishes)!r}",
        f"delivery = {delivery}",
        more,
    ]
    if subscribes:
        lines += ["[[subscribe]]", f"types = {list(subscribes)!r}"]
        mappings = {"filter": filter, "transform": transform}
        lines += [f"{key} = '''{jq}'''" for key, jq in mappings.items() if jq is not None]
    return "\n".join(lines) + "\n"
