"""How long it takes from the answer 202 to an event until a page hears the state that it made, both timed in one Chromium
page. Prints milliseconds as JSON, beside the limits; it judges nothing. A second at that rate goes before the first round: a
page, a hub and a broker that have just been started are slower.

    tests/run bench live --rate 200 --seconds 10
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from harness.broker import Broker
from harness.browser import Browser
from harness.hub import REPOSITORY, Hub
from harness.node import NODE_MODULES

RULES = REPOSITORY / "config" / "state.toml"
IN_PAGE = (REPOSITORY / "tests" / "node" / "live.js").read_text(encoding="utf-8").strip().removesuffix(";")
MQTT_JS = NODE_MODULES / "mqtt" / "dist" / "mqtt.min.js"
SCOPES = ("--scope", "browser-tokens:write", "--scope", "events:write")
KEY = ("api-key", "add", "bench", *SCOPES, "--topics", "stock/#")
LIMITS = {"p50_ms": 15, "p99_ms": 60}


def quantile(ordered: list[float], share: float) -> float:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 1)


def figures(took: list[float]) -> dict[str, float]:
    """Of one round; none where nothing was heard."""
    if not took:
        return {}
    ordered = sorted(took)
    quantiles = {f"p{share}_ms": quantile(ordered, share / 100) for share in (50, 90, 99)}
    return {**quantiles, "most_ms": round(ordered[-1], 1)}


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rate", type=int, default=200, help="events a second")
    options.add_argument("--seconds", type=int, default=10, help="how long each round sends")
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()

    broker = Broker(Path(tempfile.mkdtemp(prefix="crossdock-bench-"))).start()
    hub = Hub({}, broker=broker)
    hub.write_state(RULES.read_text(encoding="utf-8"))
    hub.start()
    browser = Browser()
    try:
        key = hub.must(*KEY).splitlines()[0]
        asked = {"topics": ["stock/#"], "subject": "bench"}
        token = hub.request("POST", "/v1/browser-tokens", key=key, json=asked).json()["token"]
        page = browser.unguarded_page(f"{hub.url}/sign-in")
        page.add_script_tag(path=MQTT_JS)
        rounds = []
        how = {"token": token, "key": key, "rate": given.rate}
        page.evaluate(IN_PAGE, {**how, "seconds": 1, "place": "WARM-UP"})
        for number in range(given.rounds):
            seen = page.evaluate(IN_PAGE, {**how, "seconds": given.seconds, "place": f"R{number}"})
            took = seen.pop("took")
            rounds.append({**seen, "heard": len(took), **figures(took)})
        print(json.dumps({"rate": given.rate, "limits": LIMITS, "rounds": rounds}, indent=2))
    finally:
        browser.end()
        hub.end()
        broker.kill()


if __name__ == "__main__":
    main()
