"""Pages lose nothing and see nothing old, whatever goes away meanwhile. The full size: `tests/run gapless`."""

from __future__ import annotations

from chaos.gapless import Gapless, Size, backend_for, prepare

SIZE = Size(pages=100, in_chromium=2, cuts=15, hub_restarts=1, rabbitmq_restarts=1, seconds=15)


def test_every_page_ends_with_the_last_state_and_none_goes_back(halls, browser, tmp_path):
    backend = backend_for(tmp_path)
    try:
        environment = {"CROSSDOCK_HTTP__ALLOWED_ORIGINS": backend.url}
        hub = prepare(halls.hub({}, broker=halls.broker().start(), environment=environment))
        result = Gapless(hub, SIZE, browser, backend).run()
    finally:
        backend.end()
    print(result)
    assert result["arrived"] == SIZE.pages
    assert result["late"] == []
    assert result["faults"] == []
    assert result["sessions"] > 2 * SIZE.pages, "they were cut off"
