"""Bad files: `check` and `apply` say every fault with file, line, column and what was expected; nothing is applied."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from e2e.bad_input import Case
from e2e.bad_input.hall import MANIFESTS, SCHEMAS, Hall

KIB = 1 << 10
APPLIED = "the revision in force"
GOOD = {
    **{f"adapters/{name}.toml": text for name, text in MANIFESTS.items()},
    **{f"schemas/{name}.json": text for name, text in SCHEMAS.items()},
}
HEAD = 'name = "erp"\nsource = "/erp"\n'
RULE = '[[state]]\ntypes = ["stock.level.v1"]\ndata = ".data"\n'
SUBSCRIBE = f'{HEAD}[[subscribe]]\ntypes = ["order.placed.v1"]\n'


def checked(hall: Hall, files: dict[str, str | bytes]) -> tuple[int, list[dict], str]:
    """What `check` says of a folder with these files: exit code, faults with paths relative to it, standard error."""
    folder = Path(tempfile.mkdtemp(prefix="crossdock-bad-"))
    try:
        (folder / "adapters").mkdir()
        (folder / "schemas").mkdir()
        (folder / "crossdock.toml").touch()
        for name, text in files.items():
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        done = hall.hub.command("check", "--config", str(folder / "crossdock.toml"), "--json")
        faults = json.loads(done.stdout)["faults"] if done.stdout else []
        for fault in faults:
            fault["file"] = fault["file"].removeprefix(f"{folder}/")
        return done.returncode, faults, done.stderr.replace(f"{folder}/", "")
    finally:
        shutil.rmtree(folder)


def applied(hall: Hall, files: dict[str, str]) -> list[dict]:
    """What the hub says of these files: its faults; the revision in force stays."""
    before = hall.hub.get("/v1/revisions/current")["number"]
    sent = [{"path": path, "text": text} for path, text in files.items()]
    answer = hall.hub.request("POST", "/v1/revisions", json={"files": sent})
    assert answer.status_code == 422, f"{answer.status_code} {answer.text[:500]}"
    assert answer.json()["type"] == "/problems/configuration-faults"
    assert hall.hub.get("/v1/revisions/current")["number"] == before
    return answer.json()["faults"]


def refused(
    title: str,
    files: dict[str, str] | Callable[[], dict[str, str]],
    at: str,
    says: str,
    *,
    apply: bool = True,
) -> Case:
    """Files with a fault at `file:line:column`, beside good ones; `check` and `apply` say the same."""

    def run(hall: Hall) -> None:
        made = files() if callable(files) else files
        code, faults, _ = checked(hall, {**GOOD, **made})
        assert code == 1
        found = [fault for fault in faults if "{file}:{line}:{column}".format(**fault) == at]
        assert any(says in fault["message"] for fault in found), faults[:5]
        if apply:
            same = [{key: fault[key] for key in ("file", "line", "column", "message")} for fault in faults]
            assert applied(hall, {**GOOD, **made}) == same[:1000]

    return Case(title, f"`{at}: {says}`" if "`" not in says else f"{at}: {says}", run, APPLIED)


def manifest(title: str, text: str | Callable[[], str], place: str, says: str) -> Case:
    """A fault of `adapters/erp.toml` at `line:column`."""
    return refused(
        title,
        lambda: {"adapters/erp.toml": text() if callable(text) else text},
        f"adapters/erp.toml:{place}",
        says,
    )


def jq(title: str, program: str, column: int, says: str, key: str = "filter", line: int = 5) -> Case:
    """A fault of a mapping, at a column of the manifest's line with it."""
    text = f"{SUBSCRIBE}{key} = '{program}'\n" if line == 5 else f"{SUBSCRIBE}{key} = '''\n{program}\n'''\n"
    return manifest(title, text, f"{line}:{column}", says)


def unreadable(title: str, files: dict[str, bytes], says: str) -> Case:
    def run(hall: Hall) -> None:
        code, _, said = checked(hall, files)
        assert code == 1
        assert says in said, said

    return Case(title, f"`{says}`", run, APPLIED)


def misplaced(hall: Hall) -> None:
    [fault] = applied(hall, {"crossdock.toml": "[rabbitmq]\n"})
    assert (fault["file"], fault["line"]) == ("crossdock.toml", 1)
    assert "expected adapters/<name>.toml, schemas/<type>.json or state.toml" in fault["message"]


def settings(title: str, text: str, place: str, says: str) -> Case:
    return refused(title, {"crossdock.toml": text}, f"crossdock.toml:{place}", says, apply=False)


def rule(title: str, line: str, place: str, says: str) -> Case:
    """A fault of a rule's last line."""
    text = f"{RULE}{line}\n"
    return refused(title, {"state.toml": text}, f"state.toml:{place}", says)


MANIFEST_CASES = [
    manifest(
        "a typo in a key",
        f'{HEAD}publish = ["order.numbered.v1"]\n',
        "3:1",
        "unknown key `publish`, did you mean `publishes`?",
    ),
    manifest(
        "a typo in a section", f"{HEAD}[retries]\n", "3:2", "unknown section [retries], did you mean [retry]?"
    ),
    manifest(
        "a key below the section that it does not belong to",
        f'{HEAD}[retry]\norder = "key"\n',
        "4:1",
        "it belongs at the top of the file, above the first [section]",
    ),
    manifest("no name", 'source = "/erp"\n', "1:1", 'missing key `name`, expected a string, such as "erp"'),
    manifest(
        "a name in capitals",
        'name = "ERP"\nsource = "/erp"\n',
        "1:8",
        "expected 1 to 64 lower-case letters, digits and hyphens",
    ),
    manifest(
        "a file that is named after somebody else",
        'name = "wms"\nsource = "/wms"\n',
        "1:8",
        'adapter "wms" is described in erp.toml, expected wms.toml',
    ),
    refused(
        "two adapters of one name",
        {"adapters/erp.toml": HEAD, "adapters/erp2.toml": 'name = "erp"\nsource = "/erp2"\n'},
        "adapters/erp2.toml:1:8",
        '"erp" is already the name in adapters/erp.toml, expected one of its own',
    ),
    refused(
        "two adapters of one source",
        {"adapters/erp.toml": HEAD, "adapters/erp2.toml": 'name = "erp2"\nsource = "/erp"\n'},
        "adapters/erp2.toml:2:10",
        '"/erp" is already the source in adapters/erp.toml, expected one of its own',
    ),
    manifest(
        "a source with a blank",
        'name = "erp"\nsource = "our erp"\n',
        "2:10",
        'expected a URI reference, such as "/erp"',
    ),
    manifest(
        "a type without a version",
        f'{HEAD}publishes = ["order.numbered"]\n',
        "3:14",
        "expected <family>.<past tense>.v<n>",
    ),
    manifest(
        "a pattern that no type matches",
        f'{HEAD}[[subscribe]]\ntypes = ["order.pl*.v1"]\n',
        "4:10",
        '"order.pl*.v1" can match no event type',
    ),
    manifest(
        "a type twice", f'{HEAD}publishes = ["a.b.v1", "a.b.v1"]\n', "3:24", "is listed twice, expected once"
    ),
    manifest(
        "one type where a list belongs",
        f'{HEAD}publishes = "a.b.v1"\n',
        "3:13",
        "`publishes` is a string, expected a list",
    ),
    manifest(
        "an unknown kind of delivery",
        f'{HEAD}delivery = {{ kind = "pigeon" }}\n',
        "3:21",
        '`kind` is "pigeon", expected "amqp", "webhook" or "feed"',
    ),
    manifest(
        "a delay that is none", f'{HEAD}[retry]\nschedule = ["5s", "soon"]\n', "4:19", '"soon" is not a delay'
    ),
    manifest(
        "a delay of a year",
        f'{HEAD}[retry]\nschedule = ["365d"]\n',
        "4:13",
        '"365d" is out of range, expected a delay from 1s to 7d',
    ),
    manifest(
        "a quote that is never closed",
        'name = "erp\nsource = "/erp"\n',
        "1:8",
        "this text is never closed, expected a quote at its end",
    ),
    manifest(
        "a key twice",
        f'{HEAD}source = "/erp2"\n',
        "3:1",
        "`source` is here for the second time, expected it once",
    ),
    manifest(
        "a number that is too large",
        f"{HEAD}order = 99999999999999999999\n",
        "3:9",
        "this number is too large, expected one of at most 64 bits",
    ),
    manifest(
        "a date",
        f"{HEAD}description = 2026-01-01\n",
        "3:15",
        "a date has no place here, expected a text in quotes",
    ),
    manifest(
        "10,000 levels of nesting",
        lambda: f"{HEAD}publishes = {'[' * 10_000}{']' * 10_000}\n",
        "3:93",
        "max recursion depth",
    ),
    manifest(
        "a file of more than 256 KiB",
        lambda: HEAD + "# long\n" * 40_000,
        "1:1",
        "this file is too long, expected at most 256 KiB",
    ),
    manifest(
        "20,000 keys that are none",
        lambda: HEAD + "".join(f"k{n} = 1\n" for n in range(20_000)),
        "3:1",
        "unknown key `k0`",
    ),
    unreadable(
        "a file that is not UTF-8",
        {"adapters/erp.toml": b'name = "\xff"\n'},
        "adapters/erp.toml is not UTF-8 text",
    ),
    manifest(
        "a webhook with a password in its address",
        f'{HEAD}[delivery]\nkind = "webhook"\nurl = "https://hub:hunter2@erp.example.com/"\nsecret = {{ env = "S" }}\n',
        "5:7",
        "this address holds a user, a password or a fragment, expected none of these",
    ),
    manifest(
        "a webhook without a secret",
        f'{HEAD}[delivery]\nkind = "webhook"\nurl = "https://erp.example.com/"\n',
        "3:1",
        "missing key `secret` in [delivery]",
    ),
    Case(
        "the hub's own settings among the adapters",
        "`crossdock.toml:1:1: this file has no place here, expected adapters/<name>.toml, schemas/<type>.json or state.toml`",
        misplaced,
        APPLIED,
    ),
]

MAPPING_CASES = [
    jq("a filter that breaks off", ".data.total >=", 25, "expected term"),
    jq("a function that is not there", ".data | total", 19, "`total` is not a function that is known here"),
    jq(
        "a fault on the third line of a transform",
        "{\n  a: 1,\n  b: nope\n}",
        6,
        "`nope` is not a function that is known here",
        "transform",
        8,
    ),
    jq("a loop: `repeat`", "repeat(.)", 11, "it may never end"),
    jq("a loop: `while`", "[.[] | while(true; .)]", 18, "it may never end"),
    jq("a loop: `until`", "until(false; .)", 11, "it may never end"),
    jq("a recursion: `recurse(f)`", "recurse(.)", 11, "it may never end"),
    jq(
        "a function that calls itself",
        "def f: f; f",
        18,
        "`f` calls itself: a mapping must end, so there is no recursion",
    ),
    jq(
        "a function that calls itself through another",
        "def f(g): g; def h: f(h); h",
        33,
        "`h` calls itself: a mapping must end, so there is no recursion",
    ),
    jq(
        "a `range` without an end",
        "[range(0; infinite)]",
        12,
        "`range` must end: its bounds go up to 1000000, and its step is not 0",
    ),
    jq(
        "outputs that multiply: `combinations`", "[[1, 2], [3, 4]] | combinations", 30, "its outputs multiply"
    ),
    jq("a look outside: `input`", "input", 11, "a mapping is given one event at a time"),
    jq("a look outside: `now`", ".time > now", 19, "the same event must always give the same result"),
    jq("a look outside: `env`", "env.HOME", 11, "a mapping sees nothing but the event"),
    jq(
        "another file: `import`",
        'import "a" as a; .',
        11,
        "`import` is not available: a mapping stands alone",
    ),
    jq("brackets a hundred deep", "[" * 100 + "]" * 100, 75, "brackets nest deeper than 64 levels"),
    manifest(
        "a mapping of more than 64 KiB",
        lambda: f"{SUBSCRIBE}filter = '{'.' + ' ' * 65 * KIB}'\n",
        "5:11",
        "a mapping is at most 65536 bytes long",
    ),
]

STATE_CASES = [
    rule("a rule without a topic", "", "1:1", "missing key `topic` in [[state]]"),
    rule(
        "a topic that is not the hub's to write",
        'topic = "sensors/{.data.sku}"',
        "4:9",
        "expected it to begin with state/ or stock/",
    ),
    rule("a topic with a wildcard", 'topic = "stock/+"', "4:9", "'+' has no place in it"),
    rule(
        "a topic with more than a path in its braces",
        'topic = "stock/{.data.lines[0].sku}"',
        "4:9",
        "{.data.lines[0].sku} is no path into the event, expected one such as {.data.sku} or {.subject}",
    ),
    rule(
        "a typo in a key",
        'topic = "stock/{.data.sku}"\norderby = ".time"',
        "5:1",
        "unknown key `orderby` in [[state]], did you mean `order_by`?",
    ),
    rule(
        "an order that is never the same",
        'topic = "stock/{.data.sku}"\norder_by = "now"',
        "5:13",
        "the same event must always give the same result",
    ),
    rule(
        "a lifetime that is none",
        'topic = "stock/{.data.sku}"\nexpires_after = "a day"',
        "5:17",
        "is not a delay, expected whole numbers with units",
    ),
    refused(
        "201 rules",
        lambda: {"state.toml": f'{RULE}topic = "stock/{{.data.sku}}"\n' * 201},
        "state.toml:1:1",
        "has 201 items, expected at most 200",
    ),
]

SETTING_CASES = [
    settings(
        "a typo in a section", "[rabbit]\n", "1:2", "unknown section [rabbit], did you mean [rabbitmq]?"
    ),
    settings("a typo in a key", '[http]\nlisten_on = "127.0.0.1:1"\n', "2:1", "unknown key `listen_on`"),
    settings(
        "an address without a port",
        '[http]\nlisten = "127.0.0.1"\n',
        "2:10",
        "is not a listening address, expected an IP address and a port",
    ),
    settings(
        "a broker that is no AMQP",
        '[rabbitmq]\nurl = "http://broker"\n',
        "2:7",
        "this is not an AMQP URL, expected amqp://user:password@host:5672/vhost",
    ),
    settings(
        "listening to everybody without TLS",
        '[http]\nlisten = "0.0.0.0:8080"\n',
        "2:10",
        "would speak plain HTTP, expected a loopback address",
    ),
]
