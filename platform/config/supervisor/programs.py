"""The command lines of Farebox's own children. They can be told apart in `ps`: people look there first."""

import sys
from pathlib import Path

from config.engines.process import Program
from config.env import ENV, child_environment

# Below the supervisor's patience with this phase, so that the last charges are committed after the drain.
DRAIN_SECONDS = 6


def relay(number: int, listener: int) -> Program:
    """A server of web and relay on the inherited socket."""
    options = {
        "fd": str(listener),
        "loop": "uvloop",
        "http": "httptools",
        "lifespan": "on",
        "timeout-keep-alive": "75",
        "timeout-graceful-shutdown": str(DRAIN_SECONDS),
        "log-level": "warning",
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    flags = ["--no-server-header", "--no-access-log", "--no-use-colors"]
    return _python(f"relay.{number}", "uvicorn", "config.asgi:application", *arguments, *flags, fd=listener)


def worker() -> Program:
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    pool = ["--pool=threads", "--concurrency=4"]
    return _python("worker", "celery", "-A", "config", "worker", *pool, *quiet, "-l", "INFO")


def beat(run: Path) -> Program:
    return _python("beat", "celery", "-A", "config", "beat", f"--schedule={run / 'beat'}", "-l", "INFO")


def demo_vendor(listener: int) -> Program:
    """The built-in vendor behind `farebox-demo`."""
    return _python("demo", "relay.demo_vendor", "--fd", str(listener), fd=listener)


def _python(label: str, module: str, *arguments: str, fd: int | None = None) -> Program:
    return Program(
        label=label,
        argv=(sys.executable, "-m", module, *arguments),
        environment=child_environment(),
        cwd=ENV.root,
        pass_fds=() if fd is None else (fd,),
    )
