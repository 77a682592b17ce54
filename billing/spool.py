"""Finished work while the database is away: an append-only file per relay process, synced before it counts.

A line is one settlement batch under its id. It is settled under that id when the database is back, so a batch
whose commit was only thought lost is taken once. A file is locked by its writer for as long as it lives;
one without a writer is left over from a process that died, and whoever gets its lock may settle it.
"""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import orjson

SUFFIX = ".spool"


@dataclass(frozen=True, slots=True)
class SpooledBatch:
    """What `billing_settle` takes; `records` is its JSON array as text."""

    batch_id: UUID
    holder: UUID
    records: str


class Spool:
    """The file of one process; made when it is first needed. Raises OSError where the disk refuses."""

    def __init__(self, folder: Path, holder: UUID) -> None:
        self._path = folder / f"{holder}{SUFFIX}"
        self._descriptor: int | None = None

    @property
    def is_empty(self) -> bool:
        return self._descriptor is None

    def append(self, batch: SpooledBatch) -> None:
        """Returns when the batch is on disk. After an error the file is as it was before."""
        descriptor = self._open()
        end = os.lseek(descriptor, 0, os.SEEK_END)
        try:
            _write_all(descriptor, _line(batch))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise

    def batches(self) -> Iterator[SpooledBatch]:
        """By the descriptor: somebody may have removed the name of the file."""
        if self._descriptor is not None:
            size = os.fstat(self._descriptor).st_size
            yield from _read(os.pread(self._descriptor, size, 0))

    def clear(self) -> None:
        """Everything in it is committed."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            _sync_folder(self._path.parent)
        return self._descriptor


def take_leftovers(folder: Path) -> Iterator[tuple[Path, Iterator[SpooledBatch]]]:
    """Files of processes that died, each locked while it is yielded; unlink it once it is settled.

    Reading the batches raises ValueError where a line is damaged.
    """
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:  # another process has settled it
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists():  # its last holder may have settled it while we waited at the door
                yield path, _read(path.read_bytes())
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)


def _read(content: bytes) -> Iterator[SpooledBatch]:
    """Whole lines only: a last one without an end was never confirmed to anyone. Raises ValueError."""
    for line in content.split(b"\n")[:-1]:
        batch_id, holder, records = orjson.loads(line)
        yield SpooledBatch(UUID(batch_id), UUID(holder), records)


def _line(batch: SpooledBatch) -> bytes:
    return orjson.dumps([batch.batch_id, batch.holder, batch.records]) + b"\n"


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
