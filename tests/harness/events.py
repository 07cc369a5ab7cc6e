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
    more: str = "",
) -> str:
    """A manifest over AMQP whose source is `/<name>`."""
    lines = [
        f'name = "{name}"',
        f'source = "/{name}"',
        f"publishes = {list(publishes)!r}",
        'delivery = { kind = "amqp" }',
        more,
    ]
    return "\n".join(lines + subscription(subscribes, filter, transform)) + "\n"


def webhook(
    name: str,
    url: str,
    *,
    publishes: tuple[str, ...] = (),
    subscribes: tuple[str, ...] = (),
    filter: str | None = None,
    transform: str | None = None,
    secret: str = 'env = "WEBHOOK_SECRET"',
    more: str = "",
    **limits: int,
) -> str:
    """A manifest by webhook whose source is `/<name>`; `limits` are timeout_s, max_in_flight and rate_per_s."""
    lines = [
        f'name = "{name}"',
        f'source = "/{name}"',
        f"publishes = {list(publishes)!r}",
        more,
        "[delivery]",
        'kind = "webhook"',
        f'url = "{url}"',
        f"secret = {{ {secret} }}",
        *(f"{limit} = {number}" for limit, number in limits.items()),
    ]
    return "\n".join(lines + subscription(subscribes, filter, transform)) + "\n"


def subscription(
    types: tuple[str, ...], filter: str | None = None, transform: str | None = None
) -> list[str]:
    """To these types; the mappings are jq without `'''`."""
    if not types:
        return []
    mappings = {"filter": filter, "transform": transform}
    written = [f"{key} = '''{jq}'''" for key, jq in mappings.items() if jq is not None]
    return ["[[subscribe]]", f"types = {list(types)!r}", *written]
