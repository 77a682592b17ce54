"""What the kernel's books say of a process: CPU seconds, memory, children. Linux only."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def cpu_seconds(pid: int) -> float:
    """User and system time of the process, all its threads, those that have ended included."""
    return _cpu_of(_PROC / str(pid) / "stat")


def main_thread_seconds(pid: int) -> float:
    """The same of its first thread alone: in a relay process, the event loop."""
    return _cpu_of(_PROC / str(pid) / "task" / str(pid) / "stat")


def buried_seconds(pid: int) -> float:
    """Of the children it has waited for, and theirs."""
    fields = _fields(_PROC / str(pid) / "stat")
    return (int(fields[13]) + int(fields[14])) / _TICKS


def parent(pid: int) -> int:
    return int(_fields(_PROC / str(pid) / "stat")[1])


def _cpu_of(stat: Path) -> float:
    fields = _fields(stat)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _fields(stat: Path) -> list[str]:
    """After the name, which may hold anything."""
    return stat.read_text().rsplit(")", 1)[1].split()


def memory_mb(pid: int, field: str) -> float:
    """`VmRSS` is what is resident now, `VmHWM` the most that ever was."""
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def children(pid: int) -> list[int]:
    """Of its first thread, which is who starts them here."""
    return [int(each) for each in (_PROC / str(pid) / "task" / str(pid) / "children").read_text().split()]
