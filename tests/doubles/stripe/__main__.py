"""`python -m tests.doubles.stripe --port N --webhook-url URL`: the double for people to click through.

Its first line on stdout is `{"url": …, "api_key": …, "secret": …}`. It ends with its input, or Ctrl-C.
"""

import argparse
import contextlib
import json
import sys

from tests.doubles.stripe.double import API_KEY, SECRET, StripeDouble


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for Stripe; no money moves")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--webhook-url", default="")
    parser.add_argument("--webhook-secret", default=SECRET)
    parser.add_argument("--api-key", default=API_KEY)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    double = StripeDouble(
        webhook_url=options.webhook_url,
        secret=options.webhook_secret,
        api_key=options.api_key,
        port=options.port,
        seed=options.seed,
    )
    with double, contextlib.suppress(KeyboardInterrupt):
        print(json.dumps({"url": double.url, "api_key": double.api_key, "secret": double.secret}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
