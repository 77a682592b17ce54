"""The command lines of Farebox's own children. They can be told apart in `ps`: people look there first."""

import sys
from dataclasses import replace
from pathlib import Path

from config.engines.errors import ConfigurationError
from config.engines.process import Program
from config.env import ENV, child_environment

# Below the supervisor's patience with this phase, so that the last charges are committed after the drain.
DRAIN_SECONDS = 6
ROOT_WARNING = "You're running the worker with superuser"


def relay(number: int, listener: int) -> Program:
    """A server of web and relay on the inherited socket."""
    options = {
        "fd": str(listener),
        "loop": "uvloop",
        "http": "httptools",
        "lifespan": "on",
        "timeout-keep-alive": "75",
        "timeout-graceful-shutdown": str(DRAIN_SECONDS),
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    flags = ["--no-server-header", "--no-access-log", "--no-use-colors"]
    return _python(f"relay.{number}", "uvicorn", "config.asgi:application", *arguments, *flags, fd=listener)


def worker() -> Program:
    alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return _celery("worker", "--pool=threads", "--concurrency=4", *alone)


def beat(run: Path) -> Program:
    return _celery("beat", f"--schedule={run / 'beat'}")


def _celery(role: str, *options: str) -> Program:
    """Quietly: no banner, and no warning about root, for only JSON is accepted from the broker."""
    program = _python(role, "celery", "--quiet", "-A", "config", role, "--loglevel=INFO", *options)
    return replace(program, environment={**program.environment, "PYTHONWARNINGS": f"ignore:{ROOT_WARNING}"})


def demo_vendor(listener: int) -> Program:
    """The built-in vendor behind `farebox-demo`."""
    return _python("demo", "relay.demo_vendor", "--fd", str(listener), fd=listener)


def stripe_double(listener: int, webhook_url: str) -> Program:
    """The stand-in for Stripe of `up --stripe-double`. It is part of the tests, so only a checkout has it.

    Raises ConfigurationError.
    """
    if not (ENV.root / "tests" / "doubles" / "stripe").is_dir():
        raise ConfigurationError("--stripe-double needs the tests/ folder of a checkout")
    state = ENV.home / "stripe-double.json"
    arguments = ["--fd", str(listener), "--webhook-url", webhook_url, "--state", str(state)]
    return _python("stripe", "tests.doubles.stripe", *arguments, fd=listener)


def _python(label: str, module: str, *arguments: str, fd: int | None = None) -> Program:
    return Program(
        label=label,
        argv=(sys.executable, "-m", module, *arguments),
        environment=child_environment(),
        cwd=ENV.root,
        pass_fds=() if fd is None else (fd,),
    )
