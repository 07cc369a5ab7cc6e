"""Holds the arrows between the workspace's crates, as docs/architecture states them.

Reads the manifests (`cargo metadata`) and the sources (`git grep`); knows nothing of what the crates do.
Run by itself it prints every broken arrow and exits 1.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HUB = {"model", "config", "bus", "store", "telemetry", "engine", "realtime", "api", "web"}

# A → B: A may depend on B. A crate that is not named here may depend on no other of ours until it is.
ARROWS: dict[str, set[str]] = {
    "model": set(),
    "config": {"model"},
    "bus": {"model"},
    "store": {"model"},
    "telemetry": {"model"},
    "engine": {"model", "config", "bus", "store", "telemetry"},
    "realtime": {"model", "engine", "config"},
    "api": {"model", "engine", "config", "telemetry"},
    "web": set(),
    "crossdock": HUB,
    "sdk": {"model", "bus", "telemetry"},
    "testkit": {"model", "bus", "store"},
    "mqtt-tests": {"model", "realtime"},
}
ADAPTER_ARROWS = {"sdk"}

# A library → the crates that may name it. The testkit and tests/ use client libraries directly.
KEEPERS: dict[str, set[str]] = {
    "lapin": {"bus", "testkit"},
    "sqlx": {"store", "sdk", "testkit"},
    "rumqttd": {"realtime"},
    # RabbitMQ's management API, the one client for servers that others name, the collector of traces, and the operator's
    # commands.
    "reqwest": {"bus", "engine", "telemetry", "crossdock", "testkit"},
    "opentelemetry": {"telemetry"},
    "opentelemetry_sdk": {"telemetry"},
    "axum": {"api", "web", "realtime", "crossdock", "sdk", "testkit", "mqtt-tests"},
}


@dataclass(frozen=True)
class Crate:
    """One member of the workspace: its short name, whether it is an adapter, and whom its manifest names."""

    name: str
    adapter: bool
    dependencies: frozenset[str]
    dev_dependencies: frozenset[str]


def short_name(package: str) -> str:
    return package.removeprefix("crossdock-")


def crates(metadata: dict) -> list[Crate]:
    """The workspace's members from the output of `cargo metadata --no-deps`."""
    found = []
    for package in metadata["packages"]:
        folder = Path(package["manifest_path"]).parent
        names: dict[bool, set[str]] = {False: set(), True: set()}
        for dependency in package["dependencies"]:
            names[dependency["kind"] == "dev"].add(dependency["name"])
        found.append(
            Crate(
                name=short_name(package["name"]),
                adapter=folder.parent.name == "adapters",
                dependencies=frozenset(names[False]),
                dev_dependencies=frozenset(names[True]),
            )
        )
    return found


def broken_arrows(members: list[Crate]) -> list[str]:
    """Every dependency between our own crates that no arrow allows. Any crate's tests may use the testkit."""
    ours = {member.name for member in members}
    faults = []
    for member in members:
        allowed = ADAPTER_ARROWS if member.adapter else ARROWS.get(member.name, set())
        for package in sorted(member.dependencies | member.dev_dependencies):
            target = short_name(package)
            if target not in ours or not package.startswith("crossdock") or target in allowed:
                continue
            if target == "testkit" and package not in member.dependencies:
                continue
            faults.append(f"{member.name} → {target}: its Cargo.toml names it, no arrow allows it")
    return faults


def kept_libraries(members: list[Crate]) -> list[str]:
    """Every manifest that names a library (or one of its family, as `sqlx-core`) kept for other crates."""
    faults = []
    for member in members:
        for package in sorted(member.dependencies | member.dev_dependencies):
            for library, keepers in KEEPERS.items():
                if member.name in keepers and not member.adapter:
                    continue
                if package == library or package.startswith(f"{library}-"):
                    faults.append(
                        f"{member.name} → {package}: only {', '.join(sorted(keepers))} may name {library}"
                    )
    return faults


def kept_names(sources: dict[str, str]) -> list[str]:
    """Every source line that reaches a kept library by a path (`bus::lapin::…` too). Sources by path."""
    faults = []
    for path, text in sorted(sources.items()):
        crate = crate_of(path)
        for number, line in enumerate(text.splitlines(), start=1):
            code = line.split("//", 1)[0]
            for library, keepers in KEEPERS.items():
                if crate not in keepers and re.search(rf"\b{library}(::|\s*;|\s+as\b)", code):
                    faults.append(f"{path}:{number}: {library} belongs to {', '.join(sorted(keepers))}")
    return faults


def crate_of(path: str) -> str:
    """`crates/bus/src/lib.rs` → `bus`; an adapter's path gives `adapters/<name>`, which keeps no library."""
    parts = Path(path).parts
    return "/".join(parts[1:3]) if parts[1] == "adapters" else parts[1]


def command(*arguments: str) -> str:
    return subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def tracked_sources() -> dict[str, str]:
    """The Rust sources under crates/ that git knows or could know and that mention a kept library."""
    pattern = "|".join(KEEPERS)
    listed = subprocess.run(
        ["git", "grep", "--untracked", "-lE", pattern, "--", "crates/*.rs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode > 1:
        raise RuntimeError(f"git grep: {listed.stderr.strip()}")
    return {path: (ROOT / path).read_text(encoding="utf-8") for path in listed.stdout.splitlines()}


def violations() -> list[str]:
    members = crates(json.loads(command("cargo", "metadata", "--no-deps", "--format-version", "1")))
    return broken_arrows(members) + kept_libraries(members) + kept_names(tracked_sources())


if __name__ == "__main__":
    faults = violations()
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)
