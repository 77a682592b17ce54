"""`make bench`: what standing in between costs, beside nginx doing nothing but standing in between.

CPU is the relay process's own, all its threads, from the kernel's books. Every figure is taken from requests
that were answered whole and charged; the books are checked at the end.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from tests.doubles.process import VendorDouble  # noqa: E402 - the path comes first
from tests.installation import Installation  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
SECONDS = 4.0
PLAIN = ("--concurrency", "32")
STREAMS = ("--concurrency", "64", "--chunks", "200", "--delay-ms", "10")
LONE = ("--concurrency", "1")

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    keepalive_requests 1000000000;
    upstream vendor {{ server 127.0.0.1:{vendor_port}; keepalive 128; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://vendor; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


@dataclass
class Way:
    """One way to the vendor: where to ask, and whose CPU stands in between (None: nobody's)."""

    name: str
    url: str
    model: str
    key: str = "none"
    pid: int | None = None


@dataclass
class Figures:
    plain_us: float | None
    chunk_us: float | None
    requests_per_s: float
    latency_ms: dict[str, float]
    first_chunk_ms: float
    gap_ms: dict[str, float]
    resident_mb: float | None
    failures: int


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def ask(way: Way, *options: str, seconds: float = SECONDS) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name("load.py")), "--url", way.url]
    command += ["--key", way.key, "--model", way.model, "--seconds", str(seconds), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def measured(way: Way, unit: str, *options: str) -> tuple[float | None, dict[str, Any]]:
    """CPU µs of the process in between per `unit`, and what the client saw."""
    ask(way, *options, seconds=1.0)
    before = cpu_seconds(way.pid) if way.pid else 0.0
    seen = ask(way, *options)
    after = cpu_seconds(way.pid) if way.pid else 0.0
    return ((after - before) * 1e6 / max(1, seen[unit]) if way.pid else None), seen


def figures_of(way: Way) -> Figures:
    plain_us, plain = measured(way, "requests", *PLAIN)
    chunk_us, stream = measured(way, "chunks", *STREAMS)
    _, lone = measured(way, "requests", *LONE)
    return Figures(
        plain_us=plain_us,
        chunk_us=chunk_us,
        requests_per_s=plain["requests"] / SECONDS,
        latency_ms=lone["latency_ms"],
        first_chunk_ms=stream["first_chunk_ms"],
        gap_ms=stream["gap_ms"],
        resident_mb=resident_mb(way.pid) if way.pid else None,
        failures=plain["failures"] + stream["failures"] + lone["failures"],
    )


def nginx_figures(vendor: VendorDouble, folder: Path) -> Figures | None:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        print("nginx is not installed: its column stays empty (Debian: apt-get install nginx-light).")
        return None
    port = free_port()
    folder.chmod(0o755)  # its worker is another user when this runs as root
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, vendor_port=vendor.port, port=port))
    with subprocess.Popen([program, "-c", str(configuration)], stderr=subprocess.DEVNULL) as nginx:
        try:
            worker = _worker_of(nginx.pid)
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            return figures_of(Way("nginx", url, "gpt-4o-2024-08-06", pid=worker))
        finally:
            nginx.terminate()


def _worker_of(master: int) -> int:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        if children:
            time.sleep(0.2)
            return int(children[0])
        time.sleep(0.05)
    raise RuntimeError("nginx has no worker")


def farebox_figures(installation: Installation) -> Figures:
    customer = installation.create_customer(credit="100000")
    [pid] = installation.relay_pids()
    url = f"{installation.url}/v1/chat/completions"
    return figures_of(Way("Farebox", url, "gpt-4o", key=customer.api_key, pid=pid))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def loop_seconds() -> float:
    """A yardstick: machines differ, and the same one differs from hour to hour."""
    started = time.process_time()
    total = 0
    for number in range(3_000_000):
        total += number
    return time.process_time() - started


def print_table(farebox: Figures, nginx: Figures | None, direct: Figures) -> None:
    rows = [
        ("CPU per plain request, 32 at once, µs", "plain_us", 0),
        ("CPU per relayed chunk, 64 streams, µs", "chunk_us", 1),
        ("plain requests per second, 32 at once", "requests_per_s", 0),
        ("resident memory, MB", "resident_mb", 0),
        ("first chunk, 64 streams, ms", "first_chunk_ms", 1),
    ]
    print(f"\n{'':42}{'Farebox':>10}{'nginx':>10}{'direct':>10}")
    for title, name, digits in rows:
        values = [getattr(figures, name) if figures else None for figures in (farebox, nginx, direct)]
        print(f"{title:42}" + "".join(_cell(value, digits) for value in values))
    for title, name in (("latency, one at a time", "latency_ms"), ("gap between chunks (10 sent)", "gap_ms")):
        for share in ("p50", "p99"):
            values = [
                getattr(figures, name)[share] if figures else None for figures in (farebox, nginx, direct)
            ]
            print(f"{f'{title}, {share}, ms':42}" + "".join(_cell(value, 2) for value in values))
    added = farebox.latency_ms["p50"] - direct.latency_ms["p50"]
    print(f"{'added latency, one at a time, p50, ms':42}{added:>10.2f}")
    print(f"{'3 million turns of a Python loop, s':42}{loop_seconds():>10.2f}")


def _cell(value: float | None, digits: int) -> str:
    return f"{'-':>10}" if value is None else f"{value:>10.{digits}f}"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="farebox-bench-") as folder, Installation() as installation:
        vendor = installation.vendor
        direct_url = f"{vendor.base_url}/chat/completions"
        direct = figures_of(Way("direct", direct_url, "gpt-4o-2024-08-06"))
        nginx = nginx_figures(vendor, Path(folder))
        farebox = farebox_figures(installation)
        print_table(farebox, nginx, direct)
        books = installation.command("verify_books")
    print(f"{'books':42}{'balanced' if books['ok'] else 'DIFFER':>10}")
    print(f"{'answers that were not whole':42}{farebox.failures:>10}")
    return 0 if books["ok"] and not farebox.failures else 1


if __name__ == "__main__":
    sys.exit(main())
