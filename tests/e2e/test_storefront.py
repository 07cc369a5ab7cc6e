"""docs/storefront.md: the package is made and installed as it says; its pages, plain, Svelte and React, are taken out of it,
built and opened in a real browser, at an origin of their own. They show what is, and follow."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from harness.documents import blocks
from harness.events import event
from harness.hub import REPOSITORY, Hub
from harness.node import NODE_MODULES
from harness.storefront import Backend, build_pages

GUIDE = REPOSITORY / "docs" / "storefront.md"
KINDS = ("plain", "svelte", "react")
LINES_MAX = 21
ON_ITS_WAY = "Order placed. Your number is on its way"
NPM_DEADLINE_S = 120
# What the guide's live.js is used for, in a shop that checks its types.
USED = """\
import { crossdock } from './live.js';

crossdock.stock('LDN1', 'MUG-330').subscribe(({ data, stale }) => console.log(data.on_hand + 1, stale));
// @ts-expect-error: a number is no text
crossdock.stock('LDN1', 'MUG-330').subscribe(({ data }) => console.log(data.on_hand.trim()));
"""


def examples() -> dict[str, str]:
    """The files that the guide shows, by name."""
    found = blocks(GUIDE.read_text(encoding="utf-8"))
    return {block.file: block.text for block in found if block.file}


@pytest.fixture(scope="module")
def backend(tmp_path_factory) -> Iterator[Backend]:
    folder: Path = tmp_path_factory.mktemp("storefront")
    made = Backend(folder / "dist")
    yield made
    made.end()


@pytest.fixture(scope="module")
def hub(shared_halls, broker, backend) -> Hub:
    environment = {"CROSSDOCK_HTTP__ALLOWED_ORIGINS": backend.url}
    hub = shared_halls.hub({}, broker=broker, environment=environment)
    shutil.copy(REPOSITORY / "config" / "state.toml", hub.config.parent)
    hub.start()
    backend.works_with(hub, "stock/#", "state/order/#")
    return hub


@pytest.fixture(scope="module")
def pages(hub, backend, tmp_path_factory) -> str:
    """The examples, built for this hub, each with an order of its own; gives their address."""
    folder = tmp_path_factory.mktemp("examples")
    for name, text in examples().items():
        kind = Path(name).parent.name
        text = text.replace("https://hub.example.com", hub.url).replace("R-1001", f"R-{kind}")
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    shutil.copytree(build_pages(folder), backend.folder, dirs_exist_ok=True)
    return backend.url


def test_each_is_short():
    files = examples()
    assert set(files) == {"live.js", "plain/index.html", "svelte/Shop.svelte", "react/Shop.jsx"}
    for name, text in files.items():
        assert len(text.splitlines()) <= LINES_MAX, name


def test_the_package_is_made_and_installed_as_the_guide_says(tmp_path):
    web, home, shop = tmp_path / "crates" / "web", tmp_path / "home", tmp_path / "shop"
    left_out = shutil.ignore_patterns("node_modules", "dist")
    shutil.copytree(REPOSITORY / "crates" / "web", web, ignore=left_out)
    shutil.copy(REPOSITORY / "LICENSE", tmp_path)
    for folder in (home, shop):
        folder.mkdir()

    def run(command: str, within: Path) -> None:
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=within,
            env=os.environ
            | {"HOME": str(home), "npm_config_offline": "true", "npm_config_update_notifier": "false"},
            capture_output=True,
            text=True,
            timeout=NPM_DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    text = GUIDE.read_text(encoding="utf-8")
    [build] = [block.text for block in blocks(text) if block.runs]
    # What `npm ci` would fetch is there: tests/run has installed it by the same lock file.
    assert "\nnpm ci\n" in build
    (web / "node_modules").symlink_to(REPOSITORY / "crates" / "web" / "node_modules")
    run(build.replace("\nnpm ci\n", "\n"), tmp_path)

    [install] = re.findall(r"`(npm install ~/\S+\.tgz mqtt)`", text)
    # MQTT.js as well, of the version that the tests have.
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    (shop / "package.json").write_text('{ "type": "module" }')
    run(install.removesuffix(" mqtt") + " --legacy-peer-deps", shop)

    (shop / "live.js").write_text(examples()["live.js"])
    (shop / "used.ts").write_text(USED)
    compiler = web / "node_modules" / ".bin" / "tsc"
    options = "--strict --noEmit --allowJs --checkJs --skipLibCheck --target es2022 --module nodenext"
    run(f"{compiler} {options} used.ts", shop)
    run(
        "node --input-type=module -e \"import 'mqtt'; import { crossdock } from './live.js'; crossdock.close()\"",
        shop,
    )


def level(on_hand: int) -> dict:
    data = {"sku": "MUG-330", "location": "LDN1", "on_hand": on_hand}
    return event("stock.level.v1", "/warehouse", subject="LDN1/MUG-330", data=data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_of_the_guide_shows_what_is_and_follows(hub, backend, pages, visit, kind):
    reference = f"R-{kind}"
    price = {"amount": 1199, "currency": "GBP"}
    line = {"sku": "MUG-330", "quantity": 1, "price": price}
    placed = {"order": reference, "lines": [line], "total": price}
    hub.must_accept(level(12), event("order.placed.v1", "/web", subject=reference, data=placed))
    at = visit(hub)
    at.page.goto(f"{pages}/{kind}/")
    expect(at.page.get_by_text("In stock: 12")).to_be_visible()
    expect(at.page.get_by_text(ON_ITS_WAY)).to_be_visible()
    numbered = {"order": reference, "number": f"SO-{kind}"}
    hub.must_accept(level(11), event("order.numbered.v1", "/erp", subject=reference, data=numbered))
    expect(at.page.get_by_text(f"Your order number: SO-{kind}")).to_be_visible()
    expect(at.page.get_by_text("In stock: 11")).to_be_visible()
    at.page.reload()
    expect(at.page.get_by_text(f"Your order number: SO-{kind}")).to_be_visible()
    expect(at.page.get_by_text("In stock: 11")).to_be_visible()
    assert set(backend.sessions) == {201}
    at.no_console_errors(but=r"/v1/state/|favicon")
