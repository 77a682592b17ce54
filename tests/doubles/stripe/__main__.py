"""`python -m tests.doubles.stripe --port N --webhook-url URL`: the double for people to click through.

Its first line on stdout is `{"url": …, "api_key": …, "secret": …}`. It ends by Ctrl-C or SIGTERM. With
`--state` it goes on where it ended: what a shop remembers of Stripe must still be there.
"""

import argparse
import json
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

from tests.doubles.stripe.double import API_KEY, SECRET, StripeDouble

SAVE_EVERY_S = 0.5


def main() -> None:
    options = _options()
    double = StripeDouble(
        webhook_url=options.webhook_url,
        secret=options.webhook_secret,
        api_key=options.api_key,
        port=options.port,
        listener=None if options.fd is None else socket.socket(fileno=options.fd),
        seed=int.from_bytes(os.urandom(8)) if options.seed is None else options.seed,
    )
    if options.state is not None and options.state.exists():
        double.stripe.state.objects.update(json.loads(options.state.read_text()))
    double.unsettle(**dict(options.chaos))
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with double:
        print(json.dumps({"url": double.url, "api_key": double.api_key, "secret": double.secret}), flush=True)
        while not stopping.wait(SAVE_EVERY_S):
            _save(double, options.state)
        _save(double, options.state)


def _save(double: StripeDouble, place: Path | None) -> None:
    if place is None:
        return
    with double.stripe.lock:
        text = json.dumps(double.stripe.state.objects)
    if not place.exists() or place.read_text() != text:
        written = place.with_suffix(".new")
        written.write_text(text)
        written.replace(place)


def _options() -> Any:
    parser = argparse.ArgumentParser(description="A stand-in for Stripe; no money moves")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fd", type=int, help="a socket that listens already")
    parser.add_argument("--webhook-url", default="")
    parser.add_argument("--webhook-secret", default=SECRET)
    parser.add_argument("--api-key", default=API_KEY)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--seed", type=int)
    parser.add_argument(
        "--chaos",
        type=_share,
        nargs="*",
        default=[],
        metavar="NAME=SHARE",
        help="of webhooks.Unruliness and server.Trouble, such as duplicated=0.2 error_after=0.05",
    )
    return parser.parse_args()


def _share(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)


if __name__ == "__main__":
    main()
