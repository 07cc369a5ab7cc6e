"""A shop's own backend and pages, at an origin that is not the hub's: it serves a folder of pages that were built, and
exchanges its API key for a browser token at `/session`, as docs/storefront.md has it."""

from __future__ import annotations

import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from harness.hub import REPOSITORY, Hub

BUILD = REPOSITORY / "crates" / "web" / "client" / "tests" / "build-examples.mjs"
BUILD_DEADLINE_S = 120


def build_pages(folder: Path) -> Path:
    """Builds the pages in the folders of a folder; gives where they are then."""
    done = subprocess.run(
        ["node", str(BUILD), str(folder)],
        capture_output=True,
        text=True,
        timeout=BUILD_DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist"


class Backend:
    """Serves until it is ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.topics: list[str] = []
        self.hub: Hub | None = None
        self.key = ""
        # What it answered for each session, the latest last.
        self.sessions: list[int] = []
        handler = partial(_Handler, backend=self, directory=str(folder))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def works_with(self, hub: Hub, *topics: str) -> None:
        """Has a key of the hub made, with which it grants these topics."""
        body = {"name": "storefront", "scopes": ["browser-tokens:write"], "topics": list(topics)}
        answer = hub.request("POST", "/v1/api-keys", json=body)
        assert answer.status_code == 201, answer.text
        self.hub, self.key, self.topics = hub, answer.json()["key"], list(topics)

    def session(self, topics: list[str]) -> tuple[int, bytes]:
        """For a page that asks for these topics, or for all there are."""
        assert self.hub is not None
        body = {"topics": topics or self.topics, "subject": "customer-42"}
        answer = self.hub.request("POST", "/v1/browser-tokens", key=self.key, json=body)
        self.sessions.append(answer.status_code)
        return answer.status_code, answer.content

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments, backend: Backend, **options) -> None:
        self._backend = backend
        super().__init__(*arguments, **options)

    def do_POST(self) -> None:
        asked = urlsplit(self.path)
        if asked.path != "/session":
            self.send_error(404)
            return
        status, body = self._backend.session(parse_qs(asked.query).get("topic", []))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The test's output is its own."""
