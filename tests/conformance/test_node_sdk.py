"""The helpers of the official Node SDK work with every vendor's models."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.desk import SECONDS, Desk
from tests.doubles.process import directive

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / ".venv" / "node"
PROGRAM = ROOT / "tests" / "node" / "helpers.mjs"


@pytest.fixture(autouse=True)
def node() -> None:
    if shutil.which("node") is None:
        pytest.skip("no Node here: the Node SDK is not tried")
    if not (PACKAGES / "node_modules" / "openai").is_dir():
        pytest.skip("the Node SDK is not installed (tests/install_node_sdk.sh)")


def helped(desk: Desk) -> dict[str, Any]:
    """What the helpers said, by name."""
    asked = {
        "stream": directive(chunks=6),
        "parse": [{"role": "user", "content": "Hello!"}],
        "tools": directive(**desk.vendor.manner.tools([("get_weather", {"city": "Oslo"})])),
    }
    done = subprocess.run(
        ["node", str(PROGRAM), desk.base_url, desk.customer.api_key, desk.vendor.model],
        input=json.dumps(asked),
        env={"PATH": os.environ["PATH"], "FAREBOX_NODE": str(PACKAGES)},
        capture_output=True,
        text=True,
        timeout=3 * SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: value for line in lines for name, value in line.items()}


def test_streams_schemas_and_tools(desk: Desk) -> None:
    said = helped(desk)
    assert said["stream"]["deltas"] == said["stream"]["content"] == "w0 w1 w2 w3 w4 w5 "
    assert said["stream"]["usage"]["completion_tokens"] >= 6
    assert said["parse"] == {"city": "w0", "days": 1}
    assert said["tools"]["calls"] == [{"city": "Oslo"}]
    assert said["tools"]["final"].startswith("w0 w1 ")
