"""The arrows hold here, and a broken one would be reported."""

import pytest

from arrows.check import (
    ARROWS,
    KEEPERS,
    Crate,
    broken_arrows,
    crates,
    kept_libraries,
    kept_names,
    violations,
)


def workspace(*changed: Crate) -> list[Crate]:
    """A workspace in which every crate has all the arrows it may have, but for those given."""
    replaced = {crate.name: crate for crate in changed}
    members = [
        Crate(name, False, frozenset("crossdock-" + target for target in targets), frozenset())
        for name, targets in ARROWS.items()
    ]
    members.append(Crate("adapter-mail", True, frozenset({"crossdock-sdk"}), frozenset()))
    return [replaced.pop(member.name, member) for member in members] + list(replaced.values())


def test_the_workspace_holds_its_arrows():
    assert violations() == []


def test_all_allowed_arrows_pass():
    assert broken_arrows(workspace()) == []


@pytest.mark.parametrize(
    ("crate", "target"),
    [
        ("model", "bus"),
        ("bus", "store"),
        ("store", "engine"),
        ("api", "bus"),
        ("api", "store"),
        ("sdk", "engine"),
        ("web", "model"),
        ("realtime", "bus"),
        ("realtime", "store"),
        ("realtime", "api"),
        ("engine", "api"),
        ("config", "crossdock"),
    ],
)
def test_a_broken_arrow_is_reported(crate, target):
    package = target if target == "crossdock" else f"crossdock-{target}"
    faults = broken_arrows(workspace(Crate(crate, False, frozenset({package}), frozenset())))
    assert faults == [f"{crate} → {target}: its Cargo.toml names it, no arrow allows it"]


@pytest.mark.parametrize("target", ["engine", "store", "crossdock", "model", "bus"])
def test_an_adapter_may_name_the_sdk_only(target):
    package = target if target == "crossdock" else f"crossdock-{target}"
    adapter = Crate("adapter-mail", True, frozenset({"crossdock-sdk", package}), frozenset())
    assert len(broken_arrows(workspace(adapter))) == 1


def test_the_testkit_is_for_tests():
    in_tests = Crate("engine", False, frozenset(), frozenset({"crossdock-testkit"}))
    shipped = Crate("engine", False, frozenset({"crossdock-testkit"}), frozenset())
    assert broken_arrows(workspace(in_tests)) == []
    assert len(broken_arrows(workspace(shipped))) == 1


def test_a_dev_dependency_is_an_arrow_too():
    bus = Crate("bus", False, frozenset(), frozenset({"crossdock-store"}))
    assert len(broken_arrows(workspace(bus))) == 1


def test_a_crate_without_arrows_of_its_own_may_name_none():
    newcomer = Crate("newcomer", False, frozenset({"crossdock-model"}), frozenset())
    assert len(broken_arrows(workspace(newcomer))) == 1


@pytest.mark.parametrize("library", KEEPERS)
@pytest.mark.parametrize("suffix", ["", "-core"])
def test_a_kept_library_in_a_manifest_is_reported(library, suffix):
    stranger = Crate("model", False, frozenset({library + suffix}), frozenset())
    assert len(kept_libraries(workspace(stranger))) == 1
    keeper = Crate(min(KEEPERS[library]), False, frozenset({library + suffix}), frozenset())
    assert kept_libraries(workspace(keeper)) == []


def test_a_kept_library_in_a_source_is_reported_with_its_line():
    sources = {
        "crates/engine/src/gate.rs": "use crossdock_bus::names;\nuse crossdock_bus::lapin::Channel;\n",
        "crates/api/src/live.rs": "use rumqttd::local::LinkBuilder;\n",
        "crates/bus/src/broker.rs": "use lapin::Connection;\n",
        "crates/adapters/mail/src/main.rs": "let pool = sqlx::SqlitePool::connect();\n",
        "crates/api/src/lib.rs": "//! lapin::Channel is only named in a comment here\nuse axum::Router;\n",
    }
    faults = kept_names(sources)
    assert [fault.split(": ")[0] for fault in faults] == [
        "crates/adapters/mail/src/main.rs:1",
        "crates/api/src/live.rs:1",
        "crates/engine/src/gate.rs:2",
    ]


def test_manifests_are_read_from_cargo_metadata():
    metadata = {
        "packages": [
            {
                "name": "crossdock-adapter-mail",
                "manifest_path": "/x/crates/adapters/mail/Cargo.toml",
                "dependencies": [
                    {"name": "crossdock-sdk", "kind": None},
                    {"name": "crossdock-testkit", "kind": "dev"},
                    {"name": "cc", "kind": "build"},
                ],
            }
        ]
    }
    assert crates(metadata) == [
        Crate("adapter-mail", True, frozenset({"crossdock-sdk", "cc"}), frozenset({"crossdock-testkit"}))
    ]
