"""nginx in front of the vendor double: what it costs to stand in between and do nothing else."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.kernel import children

_START_S = 10.0
_STOP_S = 5.0
_CONFIGURATION = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    upstream vendor {{
        server 127.0.0.1:{vendor_port}; keepalive 128; keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://vendor; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    url: str
    worker: int  # the process that does the work


@contextmanager
def nginx_before(vendor_port: int, folder: Path) -> Iterator[Nginx | None]:
    """Running for as long as the context lasts; None where it is not installed. Raises RuntimeError."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        yield None
        return
    port = _free_port()
    folder.chmod(0o755)  # started by root, its worker is another user
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, vendor_port=vendor_port, port=port))
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen([program, "-c", str(configuration)], stderr=said)
    try:
        yield Nginx(f"http://127.0.0.1:{port}", _worker_of(process, port, folder / "said"))
    finally:
        process.terminate()
        process.wait(_STOP_S)


def _worker_of(process: "subprocess.Popen[bytes]", port: int, said: Path) -> int:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        workers = children(process.pid)
        if workers and _answers(port):
            return workers[0]
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"nginx did not start: {said.read_text(errors='replace')}")


def _answers(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
