"""Bad schemas, and events that a schema of the shop's own does not let pass."""

from __future__ import annotations

import json

from e2e.bad_input import Case
from e2e.bad_input.files import APPLIED, GOOD, refused
from e2e.bad_input.hall import SCHEMAS, Hall
from harness.events import event

TYPE = "points.earned.v1"


def schema(title: str, text: str, place: str, says: str) -> Case:
    """A fault of `schemas/points.earned.v1.json` at `line:column`; `check` and `apply` say the same."""
    path = f"schemas/{TYPE}.json"
    return refused(title, {path: text}, f"{path}:{place}", says)


def judged(title: str, event_type: str, data, at: str, says: str) -> Case:
    """An event whose data its schema refuses."""

    def run(hall: Hall) -> None:
        answer = hall.hub.send(event(event_type, "/press", data=data), key=hall.key("press"))
        assert answer.status_code == 422, f"{answer.status_code} {answer.text[:500]}"
        faults = answer.json()["faults"]
        assert at in {fault["pointer"] for fault in faults}, faults[:3]
        assert any(says in fault["message"] for fault in faults), faults[:3]

    return Case(title, f"`422` `event-not-accepted` at `{at}`: “{says}”", run)


def narrowed(hall: Hall) -> None:
    stricter = json.loads(SCHEMAS["label.printed.v1"])
    stricter["required"].append("printer")
    files = {**GOOD, "schemas/label.printed.v1.json": json.dumps(stricter)}
    before = hall.hub.get("/v1/revisions/current")["number"]
    answer = hall.hub.request(
        "POST",
        "/v1/revisions",
        json={"files": [{"path": path, "text": text} for path, text in files.items()]},
    )
    assert answer.status_code == 422, answer.text
    [fault] = answer.json()["faults"]
    assert fault["file"] == "schemas/label.printed.v1.json"
    assert '"printer" is required now, which breaks' in fault["message"], fault
    assert "press" in fault["message"]
    assert hall.hub.get("/v1/revisions/current")["number"] == before


def comb(levels: int) -> dict:
    node: dict = {"leaf": 1}
    for _ in range(levels):
        node = {"left": node}
    return node


CASES = [
    schema("JSON that is cut off", '{"type": ', "1:9", "not valid JSON: EOF while parsing a value"),
    schema(
        "a key twice",
        '{\n  "type": "string",\n  "type": "object"\n}',
        "3:11",
        "/type: stands twice in the same object",
    ),
    schema("a keyword's value that is none", '{"type": "strin"}', "1:10", "/type: "),
    schema(
        "a schema that refers to the network",
        '{"$ref": "https://shop.example/schema.json"}',
        "1:10",
        "/$ref: a schema stands alone: expected a reference within this file",
    ),
    schema(
        "a schema that refers to a file",
        '{"$ref": "file:///etc/passwd"}',
        "1:10",
        "/$ref: a schema stands alone: expected a reference within this file",
    ),
    schema(
        "a schema that refers to itself about one and the same value",
        '{"allOf": [{"$ref": "#"}]}',
        "1:1",
        "this schema refers to itself about one and the same value",
    ),
    schema(
        "two schemas that refer to each other",
        '{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}',
        "1:38",
        "this schema refers to itself about one and the same value",
    ),
    schema(
        "a reference to nowhere",
        '{"$ref": "#/$defs/line"}',
        "1:10",
        "/$ref: there is no schema at this place of the file",
    ),
    schema(
        "another draft",
        '{"$schema": "http://json-schema.org/draft-07/schema#"}',
        "1:13",
        "schemas are read as draft 2020-12",
    ),
    schema(
        "a pattern that looks around",
        '{"pattern": "^(?!x)"}',
        "1:13",
        "this pattern looks around or refers back, which can take for ever",
    ),
    schema(
        "a pattern that refers back",
        r'{"pattern": "^(a+)\\1$"}',
        "1:13",
        "this pattern looks around or refers back, which can take for ever",
    ),
    schema("a pattern that is none", '{"pattern": "("}', "1:13", "this is not a regular expression"),
    schema(
        "a pattern that explodes",
        '{"pattern": "((a{1,100}){1,100}){1,100}"}',
        "1:13",
        "it takes more than 65536 bytes when it is compiled",
    ),
    schema(
        "a file that is too long",
        json.dumps({"title": "x" * (256 << 10)}),
        "1:1",
        "this file is too long, expected at most 256 KiB",
    ),
    schema(
        "2,001 schemas in one", json.dumps({"anyOf": [{}] * 2001}), "1:1", "has more than 2000 schemas in it"
    ),
    schema(
        "schemas ten thousand levels deep",
        '{"not": ' * 10_000 + "{}" + "}" * 10_000,
        "1:1017",
        "not valid JSON: recursion limit exceeded",
    ),
    refused(
        "a schema of a type that the hub has one for",
        {"schemas/order.placed.v1.json": "{}"},
        "schemas/order.placed.v1.json:1:1",
        "order.placed.v1 has a schema already, which comes with the hub",
    ),
    refused(
        "a file that is named after no type",
        {"schemas/Points.json": "{}"},
        "schemas/Points.json:1:1",
        "expected schemas/<type>.json with a type such as points.earned.v1",
    ),
    Case(
        "a property that is required all of a sudden",
        '`apply` refuses it: “"printer" is required now, which breaks press”',
        narrowed,
        APPLIED,
    ),
    judged(
        "an event that its schema does not let pass",
        "label.printed.v1",
        {},
        "/data",
        '"code" is a required property',
    ),
    judged(
        "text on which other engines backtrack for ever",
        "label.printed.v1",
        {"code": "a" * 50_000 + "!"},
        "/data/code",
        "does not match",
    ),
    judged(
        "a tree that is wrong at its end, a hundred levels down",
        "tree.grown.v1",
        {"left": comb(99) | {"left": 1}},
        "/data/left/left",
        "is not of type",
    ),
    judged(
        "thirty levels under a schema whose branches double at each",
        "thicket.grown.v1",
        comb(30),
        "/data",
        "is too large or too deep for the schema of its type",
    ),
]
