"""The tests' own tools say what they should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.collector import Delivery
from harness.documents import blocks, help_examples, script, subcommands
from harness.load import out_of_order, repeats
from harness.processes import processes_in
from harness.reaper import TESTS
from harness.wait import Overdue, eventually

DOCUMENT = """\
# Guide
File: `a/hello.py`

```python
print("hello")
```

1. Run it:

   ```sh
   word=$(python3 a/hello.py)
   ```

```console
$ false
```

```sh
test "$word" = hello
```

```python
raise SystemExit("only shown")
```
"""


def follow(markdown: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script(markdown, "guide")],
        cwd=folder,
        env=os.environ | {"FOLDER": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


def test_a_document_is_done_in_its_order(tmp_path):
    assert [block.line for block in blocks(DOCUMENT)] == [4, 10, 14, 18, 22]
    done = subprocess.run(
        ["bash", "-s"],
        input=script(DOCUMENT, "guide"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "── guide:18" in done.stderr


def test_a_document_that_is_wrong_is_found_out(tmp_path):
    wrong = DOCUMENT.replace("= hello", "= goodbye")
    done = subprocess.run(
        ["bash", "-s"],
        input=script(wrong, "guide"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "── guide:18"


def test_what_runs_in_the_background_is_ended(tmp_path):
    text = "```sh background\ntouch started\nsleep 1000\necho never\n```\n```sh\nuntil [ -e started ]; do :; done\n```\n"
    done = follow(text, tmp_path)
    assert done.returncode == 0, done.stderr
    assert processes_in(tmp_path) == []


def test_an_unclosed_block_is_a_fault():
    with pytest.raises(ValueError, match="line 1"):
        blocks("```sh\ntrue\n")


def test_help_is_read():
    printed = "Does it\n\nCommands:\n  event    Events\n  api-key  Keys\n  help     Print\n\nOptions:\n  --json\n\nExamples:\n  crossdock status\n  $ crossdock prove --json\n"
    assert subcommands(printed) == ["event", "api-key"]
    assert help_examples(printed) == ["crossdock status", "crossdock prove --json"]


def test_waiting_says_what_was_seen_last():
    with pytest.raises(Overdue, match=r"never; last seen: AssertionError\(3\)"):
        eventually("never", lambda: (_ for _ in ()).throw(AssertionError(3)), 0.1)


def test_what_killed_tests_leave_behind_is_ended(tmp_path):
    tests = """
import os, signal, subprocess, sys
from pathlib import Path
from harness.reaper import leave_nothing_in
folder = Path(sys.argv[1])
leave_nothing_in(folder)
subprocess.Popen(["sleep", "1000"], env={"PATH": os.environ["PATH"], "FOLDER": str(folder)}, start_new_session=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", tests, str(tmp_path)], cwd=TESTS, timeout=20, check=False)
    assert done.returncode == -signal.SIGKILL
    eventually("nothing is left", lambda: processes_in(tmp_path) == [])


def delivery(key: str, number: int) -> Delivery:
    headers = {"cloudEvents_id": f"{key}-{number}", "cloudEvents_subject": key}
    return Delivery({"headers": headers, "body": f'{{"sequence":{number}}}'.encode().hex(), "properties": {}})


def test_order_is_judged_by_first_deliveries_of_a_key(monkeypatch):
    monkeypatch.setattr(
        Delivery, "data", property(lambda self: {"sequence": int(self.id.rpartition("-")[2])})
    )
    good = [delivery("a", 0), delivery("b", 0), delivery("a", 1), delivery("a", 0), delivery("a", 2)]
    assert out_of_order(good) == []
    assert repeats(good) == 1
    assert out_of_order([delivery("a", 1), delivery("a", 0)]) == ["a: 0 came after 1"]
