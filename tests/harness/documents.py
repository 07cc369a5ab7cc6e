"""What a document tells its reader to do, taken out of it so that it can be done.

In Markdown: a fenced `sh` block is run as printed; `sh background` is started and left running until the document
ends; a block of a file's language after a line "File: `name`" is saved under that name; everything else, such as
`console`, is only shown. In `--help`: every `crossdock` line under "Examples:".
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`]*)$")
FILE = re.compile(r"^\s*File: `(?P<name>[^`]+)`")
SAVED = {"python", "toml", "json", "js", "html", "svelte", "jsx"}


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is (line from 1), its words after the fence, its text, the file it is."""

    line: int
    info: tuple[str, ...]
    text: str
    file: str | None

    @property
    def runs(self) -> bool:
        return self.info[:1] == ("sh",)

    @property
    def in_background(self) -> bool:
        return "background" in self.info

    @property
    def saved(self) -> bool:
        return self.file is not None and self.info[:1] != () and self.info[0] in SAVED


def blocks(markdown: str) -> list[Block]:
    found: list[Block] = []
    file: str | None = None
    opened: tuple[int, str, tuple[str, ...]] | None = None
    lines: list[str] = []
    for number, line in enumerate(markdown.splitlines(), start=1):
        fence = FENCE.match(line)
        if opened is None:
            if fence:
                opened, lines = (number, fence["indent"], tuple(fence["info"].split())), []
            elif said := FILE.match(line):
                file = said["name"]
            elif line.strip():
                file = None
        elif fence and not fence["info"].strip():
            found.append(Block(opened[0], opened[2], "\n".join(lines) + "\n", file))
            opened = file = None
        else:
            lines.append(line.removeprefix(opened[1]))
    if opened is not None:
        raise ValueError(f"the block opened in line {opened[0]} is never closed")
    return found


def script(markdown: str, name: str) -> str:
    """One bash script that does what the document says, in its order. It says on standard error which block it is
    at, ends at the first command that fails, and ends what it started in the background."""
    parts = ["set -e", "started=()"]
    parts.append(
        'trap \'for pid in "${started[@]}"; do kill -- -"$pid" 2>/dev/null || true; done; wait\' EXIT'
    )
    for block in blocks(markdown):
        if block.saved:
            assert block.file is not None
            parts.append(save(block.file, block.text))
        elif block.runs:
            parts.append(f"echo {shlex.quote(f'── {name}:{block.line}')} >&2")
            parts.append(
                in_a_group_of_its_own(block.text) if block.in_background else block.text.rstrip("\n")
            )
    return "\n".join(parts) + "\n"


def in_a_group_of_its_own(text: str) -> str:
    """So that it can be ended with all it started."""
    return f"set -m\n(\n{text}) &\nstarted+=($!)\nset +m"


def save(file: str, text: str) -> str:
    quoted = shlex.quote(file)
    return f"mkdir -p -- \"$(dirname -- {quoted})\"\ncat > {quoted} <<'END OF {Path(file).name}'\n{text}END OF {Path(file).name}"


def help_examples(text: str) -> list[str]:
    """The commands under "Examples:" in what `--help` prints."""
    found, inside = [], False
    for line in text.splitlines():
        if line.strip() == "Examples:":
            inside = True
        elif inside and line and not line.startswith(" "):
            inside = False
        elif inside and line.strip().removeprefix("$ ").startswith("crossdock "):
            found.append(line.strip().removeprefix("$ "))
    return found


def subcommands(text: str) -> list[str]:
    """The commands that `--help` lists."""
    found, inside = [], False
    for line in text.splitlines():
        if line.strip() == "Commands:":
            inside = True
        elif inside and not line.startswith("  "):
            inside = False
        elif inside and (word := re.match(r"^  ([a-z][a-z-]*)\b", line)) and word[1] != "help":
            found.append(word[1])
    return found
