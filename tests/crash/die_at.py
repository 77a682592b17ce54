"""Processes that kill themselves at a named point.

Nothing in the product knows of it: the function is wrapped where its caller looks it up, and the process gets
SIGKILL, so that nothing of its own (no `finally`, no exit handler, no flush) runs afterwards. `arm` does that
in any process. As a program this starts servers, each in a fork of a process that has everything loaded.
"""

import ctypes
import functools
import inspect
import itertools
import json
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Point:
    """`at` is `module:name`, as its caller finds it. Of calls whose arguments say `having` the `hit`th."""

    at: str
    when: str  # before | after | halfway (only for a write: a part of the bytes is written)
    having: str = ""
    hit: int = 1

    @property
    def fields(self) -> dict[str, Any]:
        return asdict(self)


def arm(point: Point) -> None:
    """From now on this process ends at `point`."""
    owner, name = _find(point.at)
    setattr(owner, name, _deadly(getattr(owner, name), point))


def _find(at: str) -> tuple[Any, str]:
    module, _, path = at.partition(":")
    owner: Any = import_module(module)
    *holders, name = path.split(".")
    for holder in holders:
        owner = getattr(owner, holder)
    return owner, name


def _deadly(original: Callable[..., Any], point: Point) -> Callable[..., Any]:
    hits = itertools.count(1)

    def is_it(values: Any) -> bool:
        return point.having in repr(values) and next(hits) == point.hit

    @functools.wraps(original)
    def wrapped(*values: Any, **named: Any) -> Any:
        if not is_it((values, named)):
            return original(*values, **named)
        if point.when == "before":
            die()
        if point.when == "halfway":
            descriptor, data = values
            os.write(descriptor, data[: len(data) // 2])
            die()
        result = original(*values, **named)
        return _then_die(result) if inspect.isawaitable(result) else die()

    return wrapped


async def _then_die(result: Any) -> NoReturn:
    await result
    die()


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # it is delivered before this thread goes on, or any moment now
    raise AssertionError("a killed process does not go on")


def main() -> None:
    import django

    django.setup()
    import_module("config.asgi")
    fork_for_each_line()


def fork_for_each_line() -> None:
    """A process for each line of stdin, one after the other: its number is printed, and how it ended.

    Nobody may have connected to anything before: then a fork is as good as a start, and takes no time.
    """
    for line in sys.stdin:
        told = json.loads(line)
        if not (child := os.fork()):
            _live(told["point"], told["program"])
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _live(point: dict[str, Any] | None, program: list[str]) -> NoReturn:
    """`program` is a module and its arguments, or `-c` and code."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    os.dup2(2, 1)  # what the program prints is for its log
    if point:
        arm(Point(**point))
    sys.argv = program
    try:
        if program[0] == "-c":
            exec(program[1], {})  # noqa: S102 - a test's own words
        else:
            runpy.run_module(program[0], run_name="__main__", alter_sys=True)
    except Exception:  # noqa: BLE001 - told to whoever reads the log; a fork must not go on as its parent
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
